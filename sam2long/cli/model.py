"""Which model tracks: config, checkpoint, device and memory tree, checked before anything is loaded."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError
from sam2long.config import MemoryTreeConfig, load_memory_tree
from sam2long.model_choice import OFFICIAL_CONFIGS, ModelChoice, embedded_model, official_name
from sam2long.policies import NAMES, load_policy
from sam2long.weights_file import require_weights

if TYPE_CHECKING:
    from sam2long.runner.worker import TrackerSettings


def build_model(choice: ModelChoice | TrackerSettings) -> Any:
    """The predictor (`SAM2LongVideoPredictor`).

    Raises:
        UserError: if the checkpoint is damaged or belongs to another config.
    """
    try:
        return choice.build()
    except ValueError as error:
        raise UserError(str(error)) from error


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model (default: the small embedded one)")
    model.add_argument("--config", help="a sam2 config name or a path to a YAML; known for official checkpoints")
    model.add_argument(
        "--checkpoint",
        type=Path,
        help="weights, a file or an id such as facebook/sam2.1-hiera-large; `sam2long download` fetches SAM 2's",
    )
    model.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda where there is one)")
    model.add_argument(
        "--capture",
        action="store_true",
        help="replay what a frame launches on a GPU as CUDA graphs: the same masks",
    )
    tree = parser.add_argument_group("memory tree (default: the paper's settings)")
    tree.add_argument("--tree", metavar="NAME|FILE", help="named settings (paper, authors_command) or a YAML file")
    tree.add_argument("--policy", metavar="NAME", help=f"a rule beyond the paper: {', '.join(NAMES)}")
    tree.add_argument("--num-pathways", type=int, metavar="K", help="hypotheses kept per object; 1 is SAM 2 itself")
    tree.add_argument("--iou-threshold", type=float, metavar="X", help="predicted IoU a remembered frame must exceed")
    tree.add_argument(
        "--uncertainty-threshold", type=float, metavar="X", help="|occlusion score| up to which a frame is uncertain"
    )


def choose_model(args: argparse.Namespace) -> ModelChoice:
    """Read what `add_model_arguments` added.

    Raises:
        UserError: if a file is missing, a setting is not allowed or the device is not there.
    """
    config, checkpoint = _choose_files(args.config, args.checkpoint)
    tree = _choose_tree(args)
    check_device(args.device)
    if args.capture:
        _check_captures(args.device)
    try:
        policy = load_policy(args.policy)
    except (ValueError, ImportError) as error:
        raise UserError(f"--policy {args.policy}: {error}") from error
    return ModelChoice(config, checkpoint, tree, args.device, args.capture, args.policy and policy.name)


def _choose_files(config: str | None, checkpoint: Path | None) -> tuple[str, Path]:
    if checkpoint is None:
        if config is not None:
            raise UserError(f"--config {config} needs --checkpoint: weights to go with it")
        embedded = embedded_model()
        return embedded.config, embedded.checkpoint
    if not checkpoint.is_file():
        if len(checkpoint.parts) == 2 and checkpoint.parts[0] == "facebook":
            return _from_hub(config, checkpoint.as_posix())
        name = official_name(str(checkpoint))
        fetch = f"; fetch it with: sam2long download {name}, and give checkpoints/{name}.pt"
        raise UserError(f"no checkpoint {checkpoint}{fetch if name in OFFICIAL_CONFIGS else ''}")
    try:
        require_weights(checkpoint)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    if config is None:
        if checkpoint.stem not in OFFICIAL_CONFIGS:
            raise UserError(f"--checkpoint {checkpoint} needs --config: the name does not tell its architecture")
        return OFFICIAL_CONFIGS[checkpoint.stem], checkpoint
    _require_config(config)
    return config, checkpoint


def _require_config(config: str) -> None:
    from hydra.errors import HydraException

    from sam2long.model_config import compose_config, require_config

    try:
        require_config(config)
        compose_config(config)
    except (OSError, ValueError, HydraException) as error:
        raise UserError(f"--config: {error}") from error


def _from_hub(config: str | None, model_id: str) -> tuple[str, Path]:
    from sam2long.build import fetch_from_hub

    try:
        official, path = fetch_from_hub(model_id)
    except (ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    except OSError as error:  # huggingface_hub's are among them
        raise UserError(f"cannot fetch {model_id}: {error}", exit_status=1) from error
    return config or official, Path(path)


def _choose_tree(args: argparse.Namespace) -> MemoryTreeConfig:
    from yaml import YAMLError  # type: ignore[import-untyped]

    names = ("num_pathways", "iou_threshold", "uncertainty_threshold")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        return replace(load_memory_tree(args.tree), **given)
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(str(error)) from error


def _check_captures(device: str | None) -> None:
    import torch

    on_gpu = torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"
    if not on_gpu:
        raise UserError("--capture needs a CUDA device: leave it out, or name one with --device")


def check_device(name: str | None) -> None:
    if name is None:
        return
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such kind of device; use cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise UserError(f"--device {name}: PyTorch finds {found} CUDA devices")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UserError(f"--device {name}: PyTorch finds no MPS device")
    elif device.type != "cpu":
        raise UserError(f"--device {name}: use cpu, cuda, cuda:N or mps")
