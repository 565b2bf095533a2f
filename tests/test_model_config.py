"""Where a model's config may come from, and another sam2 that lies in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support import GOLDEN

from sam2long import build_sam2long_video_predictor
from sam2long.model_config import compose_config

MINE = "# @package _global_\ndefaults: [base, _self_]\nmodel: {num_maskmem: 5}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text((GOLDEN / "model.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "old.yml").write_text(MINE)
    return tmp_path


@pytest.fixture
def callers_hydra(folder: Path) -> Iterator[None]:
    instance = GlobalHydra.instance()
    before = instance.hydra
    instance.clear()
    with initialize_config_dir(config_dir=str(folder), version_base="1.2"):
        yield
    GlobalHydra.instance().hydra = before


def test_suffixes_may_be_left_out_or_be_yml(folder: Path) -> None:
    for name in ("mine", "mine.yaml", "old.yml", "old"):
        ours = build_sam2long_video_predictor(
            folder / name, device="cpu", hydra_overrides_extra=["++model.non_overlap_masks=true"]
        )
        assert (ours.num_maskmem, ours.non_overlap_masks) == (5, True), name
    for name in ("configs/sam2.1/sam2.1_hiera_t", "sam2_hiera_t.yaml", "sam2_hiera_t"):
        assert compose_config(name).model.image_size == 1024
    assert compose_config("demo") == compose_config("demo.yaml")


def test_a_config_that_is_composed_already(folder: Path) -> None:
    whole = OmegaConf.load(GOLDEN / "model.yaml")
    whole.size = 7
    whole.model.num_maskmem = "${size}"
    for config in (
        whole,
        OmegaConf.to_container(whole),
        {"model": OmegaConf.to_container(whole, resolve=True)["model"]},
    ):
        assert build_sam2long_video_predictor(config, device="cpu").num_maskmem == 7
    whole.model.num_maskmem = 4
    ours = build_sam2long_video_predictor(whole.model, device="cpu", hydra_overrides_extra=["++model.fill_hole_area=3"])
    assert (ours.num_maskmem, ours.fill_hole_area) == (4, 8)
    assert "sam_mask_decoder_extra_args" not in whole.model, "the given config is left as it was"


def test_a_name_that_the_applications_hydra_finds(callers_hydra: None) -> None:
    assert build_sam2long_video_predictor("mine", device="cpu").num_maskmem == 5
    assert compose_config("configs/sam2.1/sam2.1_hiera_t.yaml").model.image_size == 1024, "sam2's own as before"
    with pytest.raises(FileNotFoundError, match="no config 'yours'"):
        build_sam2long_video_predictor("yours")
    assert compose(config_name="mine").model.num_maskmem == 5, "the application's Hydra is left as it was"


def test_configs_that_are_none() -> None:
    with pytest.raises(ValueError, match="the given config describes no model"):
        build_sam2long_video_predictor({"image_size": 3})


@pytest.mark.parametrize(
    "first", ["import sam2long.build", "from sam2long import SAM2LongVideoPredictor", "import sam2long.model.holes"]
)
def test_another_sam2_first_on_the_path_is_named(first: str, tmp_path: Path) -> None:
    """Grounded-SAM-2 and real-time forks carry an older `sam2` folder, which lies in the working directory."""
    fork = tmp_path / "sam2"
    fork.mkdir()
    (fork / "__init__.py").write_text("")
    (fork / "build_sam.py").write_text("HF_MODEL_ID_TO_FILENAMES = {}\n")
    (fork / "sam2_video_predictor.py").write_text("class SAM2VideoPredictor: ...\n")
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))}
    done = subprocess.run([sys.executable, "-c", first], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs sam2 >= 1.1, found another one at" in done.stderr.splitlines()[-1]
    assert str(fork) in done.stderr.splitlines()[-1]
