"""The studio: a page on which a person shows objects in a video, watches them being tracked, corrects and exports.

What the person does comes in by way of `studio.Studio`, which knows nothing of the page; `page` is the thin layer of
Gradio over it (extra `studio`). A `desk.Desk` holds the work on one video, `tracking` runs the passes in a thread,
`folder` keeps all of it on disk. Start with `studio.Studio`.
"""

from sam2long.studio.studio import Studio

__all__ = ["Studio"]
