"""Code that was written for SAM 2's own tracking step, which a tree does not call: found, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam2long.model.sam2_predictor import SAM2_FOLDER

# The steps of SAM 2 that the trees have their own of; prompts, and passes with one pathway, go through them.
STEPS = (
    "_run_single_frame_inference",
    "track_step",
    "_track_step",
    "_prepare_memory_conditioned_features",
    "_forward_sam_heads",
    "_encode_memory_in_output",
)
_KNOWN_FOLDERS = (str(SAM2_FOLDER.resolve()), str(Path(__file__).resolve().parents[1]))
_KNOWN_ROOTS = ("sam2", "sam2long", "torch", "builtins")


def overridden_steps(predictor: Any) -> list[str]:
    """Which of `STEPS` are neither sam2's nor ours: a subclass has them, or someone put them there."""
    return [name for name in STEPS if not all(_is_known(method) for method in _definitions(predictor, name))]


def _definitions(predictor: Any, name: str) -> list[Any]:
    """Everything of that name on the object and its classes: ours may hide a patch of sam2's."""
    holders = [vars(predictor), *(vars(cls) for cls in type(predictor).__mro__)]
    return [holder[name] for holder in holders if name in holder]


def _is_known(method: Any) -> bool:
    # By the file of its code: `functools.wraps` gives a patch the name and module of what it wraps.
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    return code is not None and str(Path(code.co_filename).resolve()).startswith(_KNOWN_FOLDERS)


def own_methods(cls: type) -> list[str]:
    """What a subclass of sam2's predictor defines itself, or a class between the two."""
    foreign = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in _KNOWN_ROOTS]
    names = {name: None for base in foreign for name, value in vars(base).items() if callable(value)}
    return [name for name in names if not (name.startswith("__") and name.endswith("__"))]


def bypassed(names: list[str]) -> str:
    """What to say of `overridden_steps`."""
    return (
        f"{', '.join(names)}: changed by this program, and not called while a memory tree tracks. With num_pathways=1 "
        "it is called as in SAM 2; for a rule of your own in the tree pass select= or choose_memory="
    )
