"""Many videos in one run: every video tracked once, written whole or not at all, whoever is killed on the way.

Tasks come in (which video, what is shown, where its results go: `tasks`), with the settings of the model; folders of
results and a `run.json` go out, and reports for a progress bar. `tracking` answers one video, `worker` runs one task,
`processes` spreads tasks over workers, `output` knows what is finished, `job` puts them together: start there.
"""

from sam2long.runner.job import Job, run_job

__all__ = ["Job", "run_job"]
