"""The official evaluators of video object segmentation and box tracking, written anew: their numbers, only sooner.

Folders of annotations and of predictions go in, in the layout each official tool takes; a dictionary of scores comes
out, which `report` writes as JSON, CSV or Markdown and `compare` sets against others. Start with `evaluate`; the rules
of a benchmark, the odd ones too, stand in the docstring of its function (`BENCHMARKS`).
"""

from sam2long.evaluation.benchmarks import BENCHMARKS, evaluate
from sam2long.evaluation.compare import compare
from sam2long.evaluation.measures import boundary_f, jaccard
from sam2long.evaluation.results import Result, rows

__all__ = ["BENCHMARKS", "Result", "boundary_f", "compare", "evaluate", "jaccard", "rows"]
