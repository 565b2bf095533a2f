"""`sam2long track --resume` and `--correct` where something went wrong before: nothing is lost, mixed up or stale."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tracked_runs import clip, read_masks, read_strictly

import sam2long.cli.overlay_video
from sam2long.cli import main
from sam2long.cli.outputs import ResultFolder

pytest.importorskip("safetensors")

BOX = ["--box", "40,25,90,65"]
CORRECTION = ["--correct", "--point", "64,45", "--frame", "3"]


class StoppedError(BaseException):
    """Stands for kill -9."""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "video", clip(6))


def folder_of(folder: Path, frames: Any) -> Path:
    folder.mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t}.png")
    return folder


def track(video: Path, out: Path, *options: str) -> int:
    return main(["track", str(video), "-o", str(out), *options])


def stop_after_masks(patch: pytest.MonkeyPatch, num_masks: int) -> None:
    written, write_mask = 0, ResultFolder.write_mask

    def write_and_stop(self: ResultFolder, name: str, ids: Any) -> None:
        nonlocal written
        write_mask(self, name, ids)
        written += 1
        if written == num_masks:
            raise StoppedError

    patch.setattr(ResultFolder, "write_mask", write_and_stop)


def assert_same_masks(out: Path, expected: Path) -> None:
    got, wanted = read_masks(out), read_masks(expected)
    assert got.keys() == wanted.keys()
    assert all(np.array_equal(got[name], wanted[name]) for name in wanted)


@pytest.fixture
def overlays(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], Fraction | None]]:
    """What overlays were drawn: the frames of their prompts, their pace. The file itself holds nothing."""
    drawn: list[tuple[list[int], Fraction | None]] = []

    def write(source: Any, results: ResultFolder, prompts: Any, fps: Fraction | None, progress: Any) -> None:
        drawn.append(([prompt.frame_idx for prompt in prompts], fps))
        results.overlay.write_bytes(b"overlay")

    monkeypatch.setattr(sam2long.cli.overlay_video, "write_overlay", write)
    return drawn


def test_an_overlay_shows_the_last_correction(
    video: Path, tmp_path: Path, overlays: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction that stops at any moment after its masks leaves a stale overlay, which --resume draws anew."""
    out = tmp_path / "out"
    assert track(video, out, *BOX) == 0
    assert track(video, out, "--resume") == 0
    assert overlays == [([0], None)]
    with monkeypatch.context() as patch:
        stop_after_masks(patch, 2)
        with pytest.raises(StoppedError):
            track(video, out, *CORRECTION)
    assert track(video, out, "--resume") == 0
    assert track(video, out, "--resume") == 0
    assert overlays[1:] == [([0, 3], None)]
    assert track(video, out, "--resume", "--fps", "5") == 0
    assert track(video, out, "--resume", "--fps", "5") == 0
    assert track(video, out, "--resume") == 0
    assert overlays[2:] == [([0, 3], Fraction(5))]


@pytest.mark.parametrize(
    "second", [CORRECTION, ["--correct", *["--box", "70,40,100,70", "--frame", "4", "--obj-id", "2"]]]
)
def test_a_correction_that_saved_nothing_joins_the_next(
    second: list[str], video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given again it goes on; another one is made together with it."""
    for name in ("out", "whole"):
        assert track(video, tmp_path / name, *BOX, "--no-overlay") == 0
    with monkeypatch.context() as patch:
        stop_after_masks(patch, 1)
        with pytest.raises(StoppedError):
            track(video, tmp_path / "out", *CORRECTION, "--no-overlay")
    assert track(video, tmp_path / "out", *second, "--no-overlay") == 0
    shown = [{"frame": 3, "obj_id": 1, "points": [[64, 45]], "labels": [1]}]
    shown += [{"frame": 4, "obj_id": 2, "box": [70, 40, 100, 70]}] if second is not CORRECTION else []
    (tmp_path / "both.json").write_text(json.dumps(shown))
    assert track(video, tmp_path / "whole", "--correct", "--prompts", str(tmp_path / "both.json"), "--no-overlay") == 0
    assert_same_masks(tmp_path / "out", tmp_path / "whole")
    (correction,) = read_strictly(tmp_path / "out" / "run.json")["corrections"]
    assert [entry["frame"] for entry in correction["prompts"]] == [entry["frame"] for entry in shown]


@pytest.mark.parametrize(
    ("broken", "options"),
    [
        (0, [*BOX, "--overwrite"]),
        (0, [*BOX, "--frame", "2", "--overwrite", "--prompts"]),
        (3, CORRECTION),
        (0, [*BOX, "--preview"]),
    ],
    ids=["overwrite", "a second prompt", "correct", "preview"],
)
def test_a_prompted_frame_that_cannot_be_read_changes_nothing(
    broken: int, options: list[str], video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert track(video, out, *BOX, "--no-overlay") == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (video / f"{broken}.png").write_bytes((video / f"{broken}.png").read_bytes()[:200])
    if options[-1] == "--prompts":
        entries = [{"frame": t, "obj_id": t + 1, "box": [40, 25, 90, 65]} for t in (2, 0)]
        (tmp_path / "two.json").write_text(json.dumps(entries))
        options = ["--overwrite", "--prompts", str(tmp_path / "two.json")]
    capsys.readouterr()
    assert track(video, out, *options, "--no-overlay") == 2
    error = capsys.readouterr().err
    assert f"sam2long: error: frame {broken} of " in error
    assert "what was tracked before" not in error
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_video_of_the_same_size_is_refused(
    finished: bool, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    other = folder_of(tmp_path / "other", clip(6)[::-1])
    with monkeypatch.context() as patch:
        if not finished:
            stop_after_masks(patch, 2)
            with pytest.raises(StoppedError):
                track(video, out, *BOX, "--no-overlay")
        else:
            assert track(video, out, *BOX, "--no-overlay") == 0
    before = read_masks(out)
    for going in (["--resume"], CORRECTION)[: 1 + finished]:
        assert track(other, out, *going, "--no-overlay") == 2
        assert "made of another video: its frame 0 was another picture" in capsys.readouterr().err
    assert all(np.array_equal(mask, before[name]) for name, mask in read_masks(out).items())


@pytest.mark.parametrize("lost", ["gone", "changed"])
def test_a_mask_file_is_needed_no_more_once_a_state_holds_it(
    lost: str, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.pad(np.full((30, 40), 255, np.uint8), ((30, 37), (50, 39)))).save(mask)
    for name, num_masks in (("saved", 4), ("unsaved", 4), ("whole", 100)):
        with monkeypatch.context() as patch:
            stop_after_masks(patch, num_masks)
            seconds = "0" if name == "unsaved" else "0.000001"
            try:
                assert track(video, tmp_path / name, "--mask", str(mask), "--save-every", seconds, "--no-overlay") == 0
            except StoppedError:
                assert num_masks == 4
    if lost == "gone":
        shutil.move(mask, tmp_path / "moved.png")
    else:
        Image.open(mask).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    assert track(video, tmp_path / "unsaved", "--resume", "--no-overlay") == 2
    assert "is gone, or is not what it was, and no state was saved" in capsys.readouterr().err
    assert len(read_masks(tmp_path / "unsaved")) == 4
    assert track(video, tmp_path / "saved", "--resume", "--no-overlay") == 0
    assert_same_masks(tmp_path / "saved", tmp_path / "whole")
    assert track(video, tmp_path / "whole", *CORRECTION, "--no-overlay") == 0
