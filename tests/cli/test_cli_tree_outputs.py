"""`sam2long track --events` and `--tree-figure`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tracked_runs import NUM_FRAMES, clip, read_strictly

from sam2long import TreeRecord
from sam2long.cli import main
from sam2long.cli.errors import UserError
from sam2long.cli.tree_outputs import TreeFiles, TreeWatch
from sam2long.views import tree_figure

CLICK = ["--point", "40,45", "--no-overlay"]
BRANCHY = ["--uncertainty-threshold", "100"]  # hypotheses compete all the time


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video"
    path.mkdir()
    for t, frame in enumerate(clip()):
        Image.fromarray(frame).save(path / f"{t:03d}.png")
    return path


def read(path: Path) -> list[TreeRecord]:
    return [TreeRecord.from_json(line) for line in path.read_text().splitlines()]


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_events_are_the_scores_and_more(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, events = tmp_path / "out", tmp_path / "out" / "events.jsonl"
    every = ["--frames", "0:7", "--every", "2"]
    assert main(["track", str(video), "-o", str(out), *CLICK, *BRANCHY, *every, "--events", str(events)]) == 0
    assert f"events   {events}" in capsys.readouterr().out
    told = read(events)
    assert [(record.kind, record.frame_idx) for record in told[:4]] == [
        ("prompted", 0),
        ("tracked", 2),
        ("tracked", 4),
        ("tracked", 6),
    ], "frames have the video's numbers"
    assert told[2].grows_from == 2
    decided = {decision.frame_idx: decision.hypothesis for record in told for decision in record.decided}
    ((of_object),) = read_strictly(out / "scores.json")["objects"]
    by_frame = {record.frame_idx: record for record in told if record.kind == "tracked"}
    for frame in of_object["frames"]:
        answer = by_frame[frame["frame"]].hypotheses[decided[frame["frame"]]]
        assert answer.cumulative_score == frame["cumulative_score"]
    assert decided.keys() == {2, 4, 6}


def test_a_figure_for_each_object(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    shown = [{"frame": 0, "obj_id": 3, "points": [[40, 45]]}, {"frame": 0, "obj_id": 7, "points": [[90, 55]]}]
    (tmp_path / "prompts.json").write_text(json.dumps(shown))
    options = ["--prompts", str(tmp_path / "prompts.json"), "--no-overlay", *BRANCHY]
    figure = ["--tree-figure", str(tmp_path / "tree.png")]
    assert main(["track", str(video), "-o", str(tmp_path / "out"), *options, *figure]) == 0
    printed = capsys.readouterr().out
    for name in ("tree-3.png", "tree-7.png"):
        assert f"tree     {tmp_path / name}" in printed
        with Image.open(tmp_path / name) as image:
            assert image.width == 2000
            assert len(image.convert("RGB").getcolors(10**6) or ()) > 1000, "pictures of what competed"
    assert main(["track", str(video), "-o", str(tmp_path / "other"), *options, *figure]) == 2
    assert "tree.png exists" in refused(capsys)


def test_a_run_that_is_gone_on_with_adds_to_its_events(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    pytest.importorskip("matplotlib")
    out, events = tmp_path / "out", tmp_path / "events.jsonl"
    assert main(["track", str(video), "-o", str(out), *CLICK, *BRANCHY, "--events", str(events)]) == 0
    first = events.read_text()
    events.write_text(first + first[:60])  # killed while it wrote
    correct = ["--correct", "--point", "58,45", "--frame", "3", "--no-overlay", *BRANCHY]
    files = ["--events", str(events), "--tree-figure", str(tmp_path / "tree.svg")]
    drawn, as_it_is = [], tree_figure.draw_tree
    monkeypatch.setattr(tree_figure, "draw_tree", lambda of, **more: (drawn.append(of), as_it_is(of, **more))[1])
    assert main(["track", str(video), "-o", str(out), *correct, *files]) == 0
    assert events.read_text().startswith(first)
    added = read(events)[len(first.splitlines()) :]
    assert [(record.kind, record.frame_idx) for record in added][:2] == [("prompted", 3), ("tracked", 4)]
    assert (tmp_path / "tree.svg").read_text().startswith("<?xml")
    (history,) = drawn
    assert list(history.steps) == [0, 1, 2, 3, 4, 5, 6], "of the whole run"
    assert [t for t, step in history.steps.items() if step.kind == "prompted"] == [0, 3]
    capsys.readouterr()
    events.write_text("what is this?\n")
    assert main(["track", str(video), "-o", str(out), *correct, *files]) == 2
    assert "events.jsonl, line 1: no record of a tree: what is this?" in refused(capsys)


def test_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    import sam2long.frames

    monkeypatch.setattr(sam2long.frames, "stream_frames", lambda _: iter(clip()))
    files = ["--events", str(tmp_path / "e.jsonl"), "--tree-figure", str(tmp_path / "tree.png")]
    shown = ["--point", "52,45", "--frame", "2", "--no-overlay"]
    assert main(["track", "-", "-o", str(tmp_path / "out"), *shown, *BRANCHY, *files]) == 0
    tracked = [record.frame_idx for record in read(tmp_path / "e.jsonl") if record.kind == "tracked"]
    assert tracked == list(range(3, NUM_FRAMES))
    assert (tmp_path / "tree.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--events", "e.jsonl", "--num-pathways", "1"], "--num-pathways 1 is SAM 2 itself and grows none"),
        (["--events", "nowhere/e.jsonl"], "give a file (not a folder), in a folder that exists"),
        (["--events", "."], "give a file (not a folder), in a folder that exists"),
        (["--tree-figure", "tree.jpg"], "give a file that ends with .png, .pdf, .svg"),
        (["--events", "there.jsonl"], "there.jsonl exists: give another file, or add --overwrite"),
    ],
)
def test_what_is_refused_before_work_begins(
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").touch()
    assert main(["track", str(video), "-o", "out", *CLICK, *options]) == 2
    assert message in refused(capsys)
    assert not Path("out").exists()


def test_without_matplotlib(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sam2long.cli.tree_outputs

    def nothing(name: str, *_: Any) -> None:
        assert name == "matplotlib"

    monkeypatch.setattr(sam2long.cli.tree_outputs, "find_spec", nothing)
    assert main(["track", str(video), "-o", str(tmp_path / "out"), *CLICK, "--tree-figure", "t.png"]) == 2
    assert "pip install matplotlib (extra sam2long[viz])" in refused(capsys)


def test_inputs_are_not_overwritten(tmp_path: Path) -> None:
    """Not even with --overwrite, which is about results."""
    video, folder = tmp_path / "in.mp4", tmp_path / "frames"
    video.write_bytes(b"a video")
    folder.mkdir()
    mask = tmp_path / "mask.png"
    cases = [
        (TreeFiles(events=video), video),
        (TreeFiles(figure=mask), mask),
        (TreeFiles(figure=folder / "1.png"), folder),
    ]
    for files, given in cases:
        with pytest.raises(UserError, match="is where the run reads from: give another file"):
            files.check(tmp_path / "out", [given], num_pathways=3, goes_on=False, overwrite=True)


def test_events_may_lie_in_a_new_runs_folder(tmp_path: Path) -> None:
    files = TreeFiles(events=tmp_path / "new" / "events.jsonl")
    files.check(tmp_path / "new", [], num_pathways=3, goes_on=False, overwrite=False)
    watch = TreeWatch(files, goes_on=False, in_video=lambda t: t)
    with watch:
        assert watch.listener(None, lambda: None) is not None
    assert (tmp_path / "new" / "events.jsonl").read_text() == ""
