"""Builders: a predictor from a config name, a YAML of the user's, or a Hugging Face id."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from sam2long.config import MemoryTreeLike, load_memory_tree
from sam2long.model.captures import check_device_captures
from sam2long.model.sam2_predictor import OFFICIAL_MODELS
from sam2long.model_config import ModelConfigLike, compose_config, require_image_size, set_image_size
from sam2long.policies import PolicyLike, load_policy
from sam2long.precision import computing_in
from sam2long.predictor import SAM2LongVideoPredictor
from sam2long.weights_file import require_weights

logger = logging.getLogger(__name__)

# What `apply_postprocessing` means in sam2's `build_sam2_video_predictor`.
_POSTPROCESSING = (
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
    "++model.binarize_mask_from_pts_for_mem_enc=true",
    "++model.fill_hole_area=8",
)


def build_sam2long_video_predictor(
    config_file: ModelConfigLike,
    ckpt_path: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    memory_tree: MemoryTreeLike = None,
    max_pending_frames: int | None = None,
    capture: bool | None = None,
    policy: PolicyLike = None,
    image_size: int | None = None,
    precision: str | None = None,
) -> SAM2LongVideoPredictor:
    """Build a predictor; the counterpart of sam2's `build_sam2_video_predictor`.

    Args:
        config_file: a config name of sam2 ("configs/sam2.1/sam2.1_hiera_l.yaml"), a path to a YAML of your own
            (Hydra defaults lists work), the name of an embedded config ("demo"), a name that the application's own
            Hydra finds, or a config that is composed already (a `DictConfig` or dict, whole or its `model`).
        ckpt_path: a checkpoint, {"model": state dict}; None leaves random weights.
        device: None takes CUDA where there is one, else the CPU.
        mode: "eval" or "train".
        hydra_overrides_extra: Hydra overrides, for example ["++model.non_overlap_masks=true"].
        apply_postprocessing: SAM 2's demo post-processing (hole filling, stability fallback, binarised clicks);
            its values win over `hydra_overrides_extra`, as they do in sam2.
        vos_optimized: compile all components.
        memory_tree: settings of the tree: a `MemoryTreeConfig`, a name, a path, or None for the paper's.
        max_pending_frames, capture, policy, precision: see `SAM2LongVideoPredictor`.
        image_size: pixels, a multiple of 32, that frames are resized to, both ways; None takes the config's.

    Raises:
        FileNotFoundError: if the config or the checkpoint does not exist.
        ValueError: if a setting is not allowed.
        RuntimeError: if the checkpoint does not fit the model.
    """
    tree_config = load_memory_tree(memory_tree)  # bad settings stop here, before any weight is loaded
    require_image_size(image_size)
    _check(mode, ckpt_path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    computing_in(device, precision)  # refuses what cannot be
    if capture:
        check_device_captures(device)
    overrides = _overrides(hydra_overrides_extra, apply_postprocessing, vos_optimized)
    # As plain values: Hydra would turn the object into a config of its own.
    settings: dict[str, Any] = {"memory_tree": asdict(tree_config)} if memory_tree is not None else {}
    given = {"max_pending_frames": max_pending_frames, "capture": capture}
    settings |= {name: value for name, value in given.items() if value is not None}
    rule = load_policy(policy)
    model = _instantiate(config_file, overrides, settings, image_size)
    if policy is not None:
        model.policy = rule
    model.precision = precision
    if ckpt_path is not None:
        load_checkpoint(model, ckpt_path)
    model = model.to(device)
    return model.eval() if mode == "eval" else model.train()


def _check(mode: str, ckpt_path: str | PathLike[str] | None) -> None:
    if mode not in ("eval", "train"):
        raise ValueError(f"mode must be 'eval' or 'train', got {mode!r}")
    if ckpt_path is None:
        return
    if not Path(ckpt_path).is_file():
        raise FileNotFoundError(f"no checkpoint at {str(ckpt_path)!r}; `sam2long download` fetches SAM 2's")
    require_weights(ckpt_path)


def _overrides(extra: Iterable[str], apply_postprocessing: bool, vos_optimized: bool) -> list[str]:
    """Hydra overrides in the order in which sam2's builder gives them: later ones win."""
    target = "SAM2LongVideoPredictorVOS" if vos_optimized else "SAM2LongVideoPredictor"
    overrides = [f"++model._target_=sam2long.{target}"]
    if vos_optimized:
        overrides.append("++model.compile_image_encoder=True")
    return [*overrides, *extra, *(_POSTPROCESSING if apply_postprocessing else ())]


def _instantiate(
    config_file: ModelConfigLike, overrides: Sequence[str], settings: dict[str, Any], image_size: int | None
) -> Any:
    cfg = compose_config(config_file, overrides)
    OmegaConf.resolve(cfg)
    if image_size is not None:
        set_image_size(cfg.model, image_size)
    try:
        return instantiate(cfg.model, _recursive_=True, **settings)
    except InstantiationException as error:
        # Hydra wraps what a constructor raises; a setting that is refused reaches the caller as it was said
        refusal = error.__cause__
        if isinstance(refusal, ValueError):
            raise refusal from None
        reason = str(refusal) or "an assertion of its own fails (see above)"
        named = config_file if isinstance(config_file, (str, PathLike)) else "the given config"
        raise ValueError(f"sam2 cannot build this model from {named} with {list(overrides)}: {reason}") from refusal


def build_sam2long_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2LongVideoPredictor:
    """Build a predictor with an official checkpoint from the Hugging Face hub (extra `hub`).

    Args:
        model_id: one of the eight official ids, for example "facebook/sam2.1-hiera-large".
        **kwargs: passed to `build_sam2long_video_predictor`.

    Raises:
        ValueError: if the id is not known.
        ImportError: if `huggingface_hub` is not installed.
    """
    config_name, ckpt_path = fetch_from_hub(model_id)
    return build_sam2long_video_predictor(config_name, ckpt_path, **kwargs)


def fetch_from_hub(model_id: str) -> tuple[str, str]:
    """The config name and the checkpoint's path, downloaded unless it was before; see the function above."""
    if model_id not in OFFICIAL_MODELS:
        raise ValueError(f"unknown model id {model_id!r}; known: {sorted(OFFICIAL_MODELS)}")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError("the hub needs huggingface_hub: pip install huggingface_hub (extra sam2long[hub])") from error
    config_name, checkpoint_name = OFFICIAL_MODELS[model_id]
    return config_name, hf_hub_download(repo_id=model_id, filename=checkpoint_name)


def load_checkpoint(model: torch.nn.Module, ckpt_path: str | PathLike[str]) -> None:
    """Load {"model": state dict} strictly.

    Raises:
        ValueError: if the file is not such a checkpoint.
        RuntimeError: if its tensors do not fit the model, naming them.
    """
    try:
        checkpoint = torch.load(ckpt_path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:  # PyTorch's words speak of its own arguments
        raise ValueError(
            f"{str(ckpt_path)!r} is no file of tensors that PyTorch can read: it is cut off, damaged, or holds "
            "other objects"
        ) from error
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise ValueError(f"{str(ckpt_path)!r} is not a SAM 2 checkpoint: it has no 'model' entry")
    model.load_state_dict(checkpoint["model"], strict=True)
    logger.info("loaded checkpoint %s", ckpt_path)
