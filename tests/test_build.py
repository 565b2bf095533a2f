"""Builders: names, paths, overrides, checkpoints, and the eight official models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hydra import compose
from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES, build_sam2_video_predictor
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import GOLDEN, build_golden

import sam2long
from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.search.selection import Candidate

OFFICIAL = sorted(HF_MODEL_ID_TO_FILENAMES)


@pytest.mark.parametrize("model_id", OFFICIAL)
def test_official_models_build_and_load_strictly(
    model_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sam2's freshly built weights, saved as a checkpoint, load through `from_pretrained` (all but the download)."""
    config, checkpoint = HF_MODEL_ID_TO_FILENAMES[model_id]
    torch.manual_seed(0)
    theirs = build_sam2_video_predictor(config, device="cpu", vos_optimized=False)
    path = tmp_path / checkpoint
    torch.save({"model": theirs.state_dict()}, path)
    asked: list[dict[str, Any]] = []

    def download(**kwargs: Any) -> str:
        asked.append(kwargs)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    ours = SAM2LongVideoPredictor.from_pretrained(model_id, device="cpu", memory_tree="authors_command")
    assert asked == [{"repo_id": model_id, "filename": checkpoint}]
    assert type(ours) is SAM2LongVideoPredictor
    assert not ours.training
    assert ours.memory_tree.iou_threshold == 0.1
    assert ours.fill_hole_area == theirs.fill_hole_area == 8
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    path.unlink()


def test_unknown_hub_id_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"facebook/sam2-hiera-huge.*facebook/sam2-hiera-large"):
        SAM2LongVideoPredictor.from_pretrained("facebook/sam2-hiera-huge")


def test_hydra_override_alone_swaps_the_class() -> None:
    ours = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        device="cpu",
        hydra_overrides_extra=[
            "++model._target_=sam2long.SAM2LongVideoPredictor",
            "+model.memory_tree=authors_command",
        ],
    )
    assert type(ours) is SAM2LongVideoPredictor
    assert ours.memory_tree == MemoryTreeConfig(iou_threshold=0.1)


def test_user_yaml_with_defaults_list(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text((GOLDEN / "model.yaml").read_text())
    (tmp_path / "mine.yaml").write_text("# @package _global_\ndefaults: [base, _self_]\nmodel: {num_maskmem: 5}\n")
    ours = build_sam2long_video_predictor(tmp_path / "mine.yaml", device="cpu")
    assert type(ours) is SAM2LongVideoPredictor
    assert ours.num_maskmem == 5
    assert "model" in compose(config_name="configs/sam2.1/sam2.1_hiera_t.yaml"), "sam2's own Hydra is left as it was"


def test_same_model_as_sam2s_builder() -> None:
    extra = ["++model.non_overlap_masks=true", "++model.fill_hole_area=3"]
    name = "configs/sam2.1/sam2.1_hiera_t.yaml"
    ours = build_sam2long_video_predictor(name, device="cpu", hydra_overrides_extra=extra)
    theirs = build_sam2_video_predictor(name, device="cpu", hydra_overrides_extra=list(extra))
    for option in (
        "non_overlap_masks",
        "fill_hole_area",
        "binarize_mask_from_pts_for_mem_enc",
        "sam_mask_decoder_extra_args",
    ):
        assert getattr(ours, option) == getattr(theirs, option)
    plain = build_sam2long_video_predictor(name, device="cpu", hydra_overrides_extra=extra, apply_postprocessing=False)
    assert plain.fill_hole_area == 3


def test_embedded_default_loads() -> None:
    checkpoint = Path(sam2long.__file__).parent.parent / "checkpoints" / "demo.pt"
    assert checkpoint.stat().st_size < 10e6
    ours = build_sam2long_video_predictor("demo", checkpoint, device="cpu")
    assert next(ours.parameters()).dtype == torch.float32


def test_mistakes_are_named(tmp_path: Path) -> None:
    golden = GOLDEN / "model.yaml"
    with pytest.raises(FileNotFoundError, match=r"no config 'sam2.1_hiera_x.yaml'.*sam2.1_hiera_t.yaml"):
        build_sam2long_video_predictor("sam2.1_hiera_x.yaml")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        build_sam2long_video_predictor(golden, tmp_path / "nowhere.pt")
    with pytest.raises(TypeError, match="ckpt"):
        build_sam2long_video_predictor(golden, ckpt="x")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="mode"):
        build_sam2long_video_predictor(golden, mode="test")
    torch.save({"state": {}}, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="no 'model' entry"):
        build_sam2long_video_predictor(golden, tmp_path / "odd.pt", device="cpu")
    torch.save({"model": {"no_mem_embed": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(RuntimeError, match="no_mem_embed"):
        build_sam2long_video_predictor(golden, tmp_path / "other.pt", device="cpu")
    (tmp_path / "empty.yaml").write_text("a: 1\n")
    with pytest.raises(ValueError, match="describes no model"):
        build_sam2long_video_predictor(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("override", "option"),
    [
        ("++model.num_maskmem=0", "num_maskmem"),
        ("++model.multimask_output_for_tracking=false", "multimask_output_for_tracking"),
        ("++model.memory_temporal_stride_for_eval=2", "memory_temporal_stride_for_eval"),
    ],
)
def test_options_without_meaning_for_a_tree_are_refused(override: str, option: str) -> None:
    with pytest.raises(ValueError, match=option):
        build_golden(ckpt_path=None, hydra_overrides_extra=[override])


def test_vanilla_class_is_untouched() -> None:
    assert issubclass(SAM2LongVideoPredictor, SAM2VideoPredictor)
    assert SAM2VideoPredictor.propagate_in_video.__module__ == "sam2.sam2_video_predictor"


def test_what_sam2_itself_refuses_is_named() -> None:
    """sam2 fails on it with an error of torch's, or an assertion without a word."""
    with pytest.raises(ValueError, match=r"sam2 cannot build this model .*num_maskmem=-1"):
        build_golden(ckpt_path=None, hydra_overrides_extra=["++model.num_maskmem=-1"])


def test_settings_of_builders_reach_the_predictor() -> None:
    assert build_golden(max_pending_frames=3).max_pending_frames == 3
    with pytest.raises(ValueError, match="max_pending_frames must be None or an integer >= 0"):
        build_golden(max_pending_frames=-1)

    def first(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
        return list(candidates[: config.num_pathways])

    ours = SAM2LongVideoPredictor.from_sam2(build_golden(), max_pending_frames=2, encode_ahead=1, select=first)
    assert (ours.max_pending_frames, ours.encode_ahead, ours.select) == (2, 1, first)
