"""The training rollout is SAM 2's own tracking, and one step of it learns something."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import sam2long
from sam2long.synthetic import render, sample_scene
from sam2long.synthetic.textures import ResidentBank

ROOT = Path(sam2long.__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="tools/ is not installed with the package")
sys.path.insert(0, str(ROOT / "tools"))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return sam2long.build_sam2long_video_predictor(
        ROOT / "configs" / "demo.yaml", ROOT / "checkpoints" / "demo.pt", device="cpu", apply_postprocessing=False
    )


def test_rollout_tracks_as_the_predictor_does(model: sam2long.SAM2LongVideoPredictor) -> None:
    from demo_heads import held_out_batch
    from demo_rollout import Rollout

    num_frames = 17  # pointers are dated alike only from 16 frames on: SAM 2 dates them by the length of the video
    clip = render(sample_scene("distractor", 7, num_frames=num_frames, split="val"), model.image_size)
    state = model.init_state(clip.frames, memory_tree=sam2long.MemoryTreeConfig(num_pathways=1))
    model.add_new_mask(state, 0, 1, clip.masks[0, 0])
    expected = {t: logits[0, 0].numpy() for t, _, logits in model.propagate_in_video(state)}
    batch = held_out_batch("distractor", range(7, 8), num_frames, model.image_size, "val", CPU)
    assert np.array_equal(batch.target[0].numpy(), clip.masks[:, 0])
    with torch.no_grad():
        outputs = Rollout(model)(batch)
    for t, groups in enumerate(outputs[1:], start=1):
        ((_, output),) = groups
        chosen = output.logits[0, int(output.ious[0].argmax())].numpy()
        logits = np.where(output.score[0].numpy() > 0, chosen, -1024.0)
        assert np.abs(logits - expected[t]).max() < 1e-2


def test_frames_of_a_burn_in_are_tracked_alike_and_teach_nothing(model: sam2long.SAM2LongVideoPredictor) -> None:
    from dataclasses import replace

    from demo_heads import held_out_batch
    from demo_rollout import Rollout

    batch = held_out_batch("easy", range(3, 5), 7, model.image_size, "val", CPU)
    rollout = Rollout(model)
    with torch.no_grad():
        expected = rollout(batch)
    features = rollout.encode(batch.frames.requires_grad_(True), burn_in=4)
    outputs = rollout(replace(batch, burn_in=4), features)
    assert [len(groups) for groups in outputs] == [0, 0, 0, 0, 0, 1, 1]  # a given mask is no output
    for t in (5, 6):
        assert torch.allclose(outputs[t][0][1].logits, expected[t][0][1].logits, atol=1e-3)
    outputs[6][0][1].logits.sum().backward()
    taught = batch.frames.grad.abs().sum((0, 2, 3, 4)) > 0
    assert taught.tolist() == [True, False, False, False, False, True, True]


def test_a_batch_is_prompted_where_its_object_is() -> None:
    from demo_data import CURRICULUM, SceneStream, make_batch

    stage = CURRICULUM[-1]
    scenes = next(iter(SceneStream(stage, 10, 5)))
    batch = make_batch(scenes, 64, ResidentBank("train", CPU, size=8), stage, CPU)
    assert batch.frames.shape == (10, stage.num_frames, 3, 64, 64)
    assert (batch.num_masked, batch.num_clicked) == (6, 2)
    assert batch.target[:, 0].flatten(1).any(1).all()
    for clip in (6, 7):
        x, y = batch.points[clip, 0].long().tolist()
        assert batch.labels[clip].tolist() == [1, -1]
        assert batch.target[clip, 0, y, x]
    for clip in (8, 9):
        rows, columns = np.nonzero(batch.target[clip, 0].numpy())
        (x0, y0), (x1, y1) = batch.points[clip].tolist()
        assert batch.labels[clip].tolist() == [2, 3]
        slack = 0.25 * max(np.ptp(rows), np.ptp(columns)) + 1
        assert np.allclose([x0, x1, y0, y1], [columns.min(), columns.max(), rows.min(), rows.max()], atol=slack)
    assert not (batch.target & batch.double).any()


def test_streams_of_workers_and_steps_never_share_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    import demo_data

    drawn: list[int] = []
    monkeypatch.setattr(demo_data, "training_scene", lambda seed, suite, num_frames: drawn.append(seed))
    monkeypatch.setattr(demo_data, "pack", lambda scenes, layers: scenes)

    class Worker:
        num_workers = 3

        def __init__(self, number: int) -> None:
            self.id = number

    for number in range(3):
        worker = Worker(number)
        monkeypatch.setattr(demo_data, "get_worker_info", lambda worker=worker: worker)
        stream = iter(demo_data.SceneStream(demo_data.CURRICULUM[0], 4, 1000))
        for _ in range(5):
            next(stream)
    assert sorted(drawn) == list(range(1000, 1000 + 3 * 5 * 4))


def test_losses_say_what_they_mean() -> None:
    from demo_losses import frame_losses
    from demo_rollout import FrameOutput

    target = torch.zeros(2, 16, 16, dtype=torch.bool)
    target[0, 4:12, 4:12] = True  # the second clip's object is away
    double = torch.zeros_like(target)
    visibility = torch.tensor([1.0, 0.0])
    right = torch.where(target, 12.0, -12.0)
    wrong = torch.full_like(right, -12.0)
    logits = torch.stack([wrong, right, wrong], 1)
    ious = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    score = torch.tensor([9.0, -9.0])
    good = frame_losses(FrameOutput(logits, ious, score, torch.zeros(2).long()), target, double, visibility)
    assert max(float(value) for value in good.values()) < 0.01
    # A mask where there is no object is worth nothing, so a sure IoU is wrong there, and so is the score.
    hallucinated = frame_losses(
        FrameOutput(logits, ious, torch.tensor([9.0, 9.0]), torch.zeros(2).long()), target, double, visibility
    )
    assert float(hallucinated["iou"]) == pytest.approx(0.5, abs=0.01)
    assert float(hallucinated["score"]) > 4
    # Of the masks left over, one is drawn to the look-alike.
    double[0, 0:3, 0:8] = True
    second = torch.where(double, 12.0, -12.0)
    drawn = FrameOutput(torch.stack([second, right, wrong], 1), ious, score, torch.zeros(2).long())
    missed = frame_losses(FrameOutput(logits, ious, score, torch.zeros(2).long()), target, double, visibility)
    assert float(frame_losses(drawn, target, double, visibility)["alternative"]) < 0.01 < float(missed["alternative"])


def test_heads_learn_and_nothing_else_does() -> None:
    """A score head that calls everything visible learns from whole clips when the object is away."""
    from demo_head_fit import Decoded, fit, head_losses, track
    from demo_model import CONFIG, build_model

    model = build_model(CONFIG, CPU, ROOT / "checkpoints" / "demo.pt").eval().requires_grad_(False)
    decoder = model.sam_mask_decoder
    decoded = track(model, "reappear", 0, 24, CPU)
    with torch.no_grad():
        decoder.pred_obj_score_head.layers[-1].bias += 8.0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # 23 frames from the mask, 24 from a click, one with a box; only three masks' IoUs or the single one's are known
    assert decoded.true.shape == (48, 4)
    assert decoded.true.isnan().sum(1).tolist() == [1] * 47 + [3]
    assert decoded.true.nan_to_num().max() > 0.7
    assert (decoded.visibility == 0).any()
    heads = [decoder.iou_prediction_head, decoder.pred_obj_score_head]
    with torch.no_grad():
        worse = head_losses(heads, decoded)
    fit(model, decoded, epochs=100, seed=0)
    with torch.no_grad():
        better = head_losses(heads, decoded)
    assert better["score"] < 0.5 * worse["score"]
    assert better["iou"] < worse["iou"]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("iou_prediction_head" in name or "pred_obj_score_head" in name for name in changed)
    assert len(Decoded.cat([decoded, decoded]).visibility) == 96


def test_the_head_figures_are_of_the_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from demo_heads import COLUMNS, main, summarise

    # Four frames of one clip: right; on the look-alike, trusted; away and said so; away and answered by a mask.
    records = {
        "ious": np.array([[[0.9, 0.1, 0.2]], [[0.8, 0.7, 0.1]], [[0.5, 0.4, 0.3]], [[0.6, 0.1, 0.2]]]),
        "true": np.array([[[0.8, 0.0, 0.1]], [[0.0, 0.6, 0.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]),
        "double": np.array([[[0.0, 0.0, 0.0]], [[0.9, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.7, 0.0, 0.0]]]),
        "score": np.array([[5.0], [3.0], [-4.0], [4.0]]),
        "visibility": np.array([[1.0], [1.0], [0.0], [0.0]]),
        "pairs": np.zeros((4, 1)),
    }
    figures = summarise(records)
    assert figures["mean_iou"] == pytest.approx(0.4)
    assert figures["oracle_iou"] == pytest.approx(0.7)
    assert figures["answer_iou"] == pytest.approx((0.8 + 0 + 1 + 0) / 4)
    assert (figures["predicted_on_object"], figures["predicted_on_double"]) == pytest.approx((0.9, 0.7))  # 0.8 and 0.6
    assert figures["score_auc"] == pytest.approx(3 / 4)  # of four pairs only (3, 4) is the wrong way round
    assert figures["absent_with_positive_score"] == pytest.approx(0.5)
    checkpoint = str(ROOT / "checkpoints" / "demo.pt")
    main([checkpoint, "--clips", "1", "--frames", "3", "--device", "cpu", "-o", str(tmp_path / "heads.json")])
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [*sam2long.synthetic.SUITES, "all"]
    assert all(line.count("|") == len(COLUMNS) + 2 for line in lines)
    assert json.loads((tmp_path / "heads.json").read_text())["easy"]["mean_iou"] > 0.5


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--minutes", "0"], "--minutes 0 must be above 0"),
        (["--batch-scale", "nan"], "--batch-scale nan must be above 0"),
        (["--heads-clips", "-1"], "--heads-clips -1 must be 0 or more"),
        (["--photographs", "25"], "a share: give a number from 0 to 1"),
        (["--resume", "nowhere"], "no state.pt in it; give the --out folder of an earlier run"),
        (["--config", "nowhere.yaml"], "no such file"),
        (["--device", "gpu"], "--device gpu: "),
        (["--graphed"], "needs a CUDA device, not cpu"),
        (["--start", "no/demo.pt"], "--start no/demo.pt: no such file"),
        (["--start", "demo.pt", "--resume", str(ROOT / "tools")], "no state.pt in it"),
    ],
)
def test_bad_options_of_the_training_are_named(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from demo_options import parse

    with pytest.raises(SystemExit) as stopped:
        parse(["--device", "cpu", *options], "")
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.slow
def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    from train_demo import main

    common = ["--device", "cpu", "--batch-scale", "0.04", "--workers", "0", "--textures", "8", "--heads-clips", "0"]
    common += ["--config", str(ROOT / "tests" / "golden" / "model.yaml"), "--log-every", "1", "--out", str(tmp_path)]
    main([*common, "--minutes", "1", "--stop-after", "0.1"])
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] >= 1
    assert 0 < state["trained_s"] < 60
    main([*common, "--minutes", "1", "--stop-after", "0.1", "--resume", str(tmp_path)])
    resumed = torch.load(tmp_path / "state.pt", weights_only=True)
    assert resumed["step"] > state["step"]
    assert resumed["trained_s"] > state["trained_s"]
    weights = torch.load(tmp_path / "demo.pt", weights_only=True)["model"]
    assert all(value.dtype == torch.float16 for value in weights.values())
    assert math.isfinite(sum(float(value.float().sum()) for value in weights.values()))
    assert (tmp_path / "curves.png").stat().st_size > 1000
    further = tmp_path / "further"
    begun = ["--start", str(tmp_path / "demo.pt"), "--curriculum", "long", "--minutes", "0.05", "--lr", "1e-9"]
    main([*common, *begun, "--out", str(further)])
    after = torch.load(further / "demo.pt", weights_only=True)["model"]
    assert all(torch.allclose(after[name], weights[name], atol=1e-3) for name in weights)
