"""From whatever names a model to its composed config."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from sam2long.model.sam2_predictor import OFFICIAL_MODELS, SAM2_FOLDER
from sam2long.resources import resource_dir

ModelConfigLike = str | PathLike[str] | Mapping[Any, Any]  # a DictConfig is a Mapping
_SUFFIXES = ("", ".yaml", ".yml")


def compose_config(config: ModelConfigLike, overrides: Iterable[str] = ()) -> DictConfig:
    """The config of a model, with `overrides` of Hydra's.

    Args:
        config: what `build_sam2long_video_predictor` takes as `config_file`.

    Raises:
        FileNotFoundError: listing the names that are known.
        ValueError: if it describes no model.
    """
    name = config if isinstance(config, (str, PathLike)) else "the given config"
    try:
        if isinstance(config, Mapping):
            cfg = _compose_given(config, overrides)
        elif (found := find_config(config)) is not None:
            cfg = _compose_file(*found, overrides)
        else:
            cfg = _compose_as_caller(str(config), overrides)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is no YAML: {error}") from error
    model = cfg.get("model")
    if not isinstance(model, DictConfig) or "image_encoder" not in model:
        raise ValueError(f"{name} describes no model (model.image_encoder); see configs/demo.yaml")
    return cfg


_PIXELS = 32  # a feature of the coarsest level of SAM 2's image encoder


def require_image_size(image_size: int | None) -> None:
    """Raises ValueError unless frames of this size give whole features at every level; None is the config's own."""
    if image_size is None:
        return
    is_count = isinstance(image_size, Integral) and not isinstance(image_size, bool)
    if not is_count or image_size < _PIXELS or image_size % _PIXELS:
        raise ValueError(f"image_size {image_size!r} must be a multiple of {_PIXELS}")


def set_image_size(model: DictConfig, image_size: int) -> None:
    """Change the size that frames are resized to, with what depends on it in a model's config."""
    model.image_size = int(image_size)
    side = int(image_size) // model.get("backbone_stride", 16)
    # SAM 2's rotary encodings are made for this grid, and made again wherever another one comes.
    for attention in OmegaConf.select(model, "memory_attention.layer", default={}).values():
        if isinstance(attention, DictConfig) and "feat_sizes" in attention:
            attention.feat_sizes = [side, side]


def require_config(config: str | PathLike[str]) -> None:
    """Raises FileNotFoundError, listing the names that are known, if there is no such config."""
    if find_config(config) is None:
        raise _unknown(str(config))


def find_config(config: str | PathLike[str]) -> tuple[Path, str] | None:
    """Where a config lies, as (folder for Hydra to search, name in it): sam2's own, a path, or an embedded one.

    The suffix may be left out. None if it is nowhere: then a Hydra of the caller's may know it.
    """
    name = str(config)
    for suffix in _SUFFIXES:
        if name.startswith("configs/") and (SAM2_FOLDER / (name + suffix)).is_file():
            return SAM2_FOLDER, name + suffix
        if (path := Path(name + suffix)).is_file():
            return path.resolve().parent, path.name
    embedded = resource_dir("configs") / f"{Path(name).name.removesuffix('.yaml')}.yaml"
    if Path(name).parent == Path() and embedded.is_file():
        return embedded.parent, embedded.name
    for suffix in _SUFFIXES:
        if (SAM2_FOLDER / (name + suffix)).is_file():
            return SAM2_FOLDER, name + suffix
    return None


def _unknown(name: str) -> FileNotFoundError:
    known = sorted({config for config, _ in OFFICIAL_MODELS.values()})
    known += sorted(entry.stem for entry in resource_dir("configs").glob("*.yaml"))
    return FileNotFoundError(f"no config {name!r}: give a path to a YAML file or one of {known}")


def _compose_file(folder: Path, name: str, overrides: Iterable[str]) -> DictConfig:
    """Compose a config in a Hydra of our own.

    Importing sam2 binds the global Hydra's search path to sam2's package (or leaves an application's own in
    place), so neither a user's YAML nor, in a Hydra application, sam2's would be found there.
    """
    if not name.endswith(".yaml"):  # Hydra reads no other suffix
        return _compose_text((folder / name).read_text(encoding="utf-8-sig"), [*overrides, _searching(folder)])
    instance = GlobalHydra.instance()
    before = instance.hydra
    instance.clear()
    try:
        with initialize_config_dir(config_dir=str(folder), version_base="1.2"):
            return compose(config_name=name, overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = before


def _searching(folder: Path) -> str:
    """The override by which the config's own defaults list finds its neighbours."""
    return f"hydra.searchpath=['file://{folder}']"


def _compose_text(text: str, overrides: Iterable[str]) -> DictConfig:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "given.yaml").write_text(text, encoding="utf-8")
        return _compose_file(Path(folder), "given.yaml", overrides)


def _compose_given(config: Mapping[Any, Any], overrides: Iterable[str]) -> DictConfig:
    """A config that is one already: a whole one, or its `model`."""
    if "model" in config:
        whole = config
    else:  # part of a larger config, to which its values may refer
        whole = {"model": OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config}
    # `_global_`: Hydra would otherwise take the file's folder for a package
    return _compose_text("# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.create(whole)), overrides)


def _compose_as_caller(name: str, overrides: Iterable[str]) -> DictConfig:
    """Compose a config that the application's own Hydra finds, as sam2's builder would."""
    if not GlobalHydra.instance().is_initialized():
        raise _unknown(name)
    try:
        return compose(config_name=name, overrides=list(overrides))
    except MissingConfigException as error:
        if error.missing_cfg_file != name:  # found, but a part of it is missing
            raise
        raise _unknown(name) from None
    except ConfigCompositionException as error:
        raise ValueError(f"the config {name!r} cannot be composed: {error}") from error
