"""A person's session without a browser: showing, tracking, correcting, undoing, and opening it again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_support import BLUE, BRANCHING, RED, finished, held_behind, masks, same
from support import ROOT, build_golden

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.studio import Studio
from sam2long.studio.objects import checked_color, checked_name
from sam2long.studio.steps import Box, Click, Drawn, digest, restored, saved


def test_what_is_tracked_is_what_the_predictor_tracks(
    studio: Studio, branching: SAM2LongVideoPredictor, clip_folder: str
) -> None:
    first = studio.show(None, 0, RED)
    second = studio.show(studio.add_object().obj_id, 0, Box(80, 30, 125, 75))
    assert studio.track("forward", 0) == 0
    progress = finished(studio)
    assert (progress.done, progress.total, progress.newest) == (14, 14, 13)
    state = branching.init_state(clip_folder)
    branching.add_new_points_or_box(state, 0, first, points=[[26, 43]], labels=[1])
    branching.add_new_points_or_box(state, 0, second, box=[80, 30, 125, 75])
    expected = {
        t: {k: mask > 0 for k, mask in zip(ids, logits[:, 0].numpy(), strict=True)}
        for t, ids, logits in branching.propagate_in_video(state, progress=False)
    }
    assert same(masks(studio), expected)
    course = studio.courses([first])[0]
    assert sorted(course.scores) == list(range(1, 14))
    assert course.shown == (0,)
    assert course.known == frozenset(range(14))


def test_backward_and_both(studio: Studio) -> None:
    studio.show(None, 6, Click(60, 43))
    assert studio.track("backward", 3) == 6, "nothing is known of frame 3: from the one that was shown"
    assert finished(studio).total == 7
    assert studio.courses([1])[0].known == frozenset(range(7))
    studio.track("both", 6)
    assert finished(studio).total == 14
    assert studio.courses([1])[0].known == frozenset(range(14))


def test_stop_keeps_what_was_tracked_and_the_page_has_its_turn(studio: Studio) -> None:
    studio.show(None, 0, RED)
    with held_behind(studio, 6):
        studio.track("forward", 0)
        with pytest.raises(ValueError, match="press Stop"):
            studio.show(1, 0, BLUE)
        studio.rename(1, "disk")  # names may change meanwhile
        while (progress := studio.progress()) is not None and progress.done < 3:
            assert studio.picture(0).jpeg[:2] == b"\xff\xd8"
        studio.stop()
    progress = studio.wait(60)
    assert progress is not None
    assert progress.outcome == "stopped"
    known = studio.courses([1])[0].known
    assert 3 <= len(known) < 14
    assert known == frozenset(range(len(known)))
    studio.track("forward", max(known))
    finished(studio)
    assert studio.courses([1])[0].known == frozenset(range(14))


def test_undo_takes_back_marks_objects_names_and_removals(studio: Studio) -> None:
    studio.show(None, 0, RED)
    once = masks(studio)
    studio.show(1, 0, Click(40, 60, positive=False))
    studio.show(1, 0, Box(8, 25, 44, 62))
    assert not same(masks(studio), once)
    assert [studio.undo(), studio.undo()] == ["the last mark on Object 1"] * 2
    assert same(masks(studio), once), "as if the other marks had never been"
    studio.rename(1, "red disk")
    for red in (200, 100, 1):  # as a picker that is dragged
        studio.recolor(1, (red, 2, 3))
    studio.track("forward", 0)
    finished(studio)
    tracked = masks(studio)
    studio.remove_object(1)
    assert studio.objects() == []
    assert studio.undo() == "removing red disk"
    assert same(masks(studio), tracked), "with what was tracked"
    assert [studio.undo(), studio.undo()] == [
        "the colour of Object 1".replace("Object 1", "red disk"),
        "renaming Object 1",
    ]
    (of,) = studio.objects()
    assert (of.name, of.color == (1, 2, 3)) == ("Object 1", False)
    studio.undo()
    studio.undo()
    assert studio.objects() == []
    with pytest.raises(ValueError, match="nothing to undo"):
        studio.undo()


def test_a_number_is_given_again_after_undo_but_not_the_masks_of_the_one_before(
    studio: Studio, branching: SAM2LongVideoPredictor, clip_folder: str
) -> None:
    studio.show(None, 0, RED)
    studio.track("forward", 0)
    finished(studio)
    studio.undo()
    studio.undo()
    assert studio.objects() == []
    assert studio.show(None, 0, BLUE) == 1
    assert [of.name for of in studio.objects()] == ["Object 1"]
    before = masks(studio)
    studio.close()
    again = Studio(branching, studio.root)
    assert again.open(clip_folder)
    assert [t for t, known in masks(again).items() if known] == [0], "the saved state is of the red one"
    assert same(masks(again), before)
    again.show(1, 3, BLUE)
    again.close()


def test_a_correction_is_kept_and_taken_back(studio: Studio) -> None:
    studio.show(None, 0, RED)
    studio.track("forward", 0)
    finished(studio)
    tracked = masks(studio)
    given = np.zeros((96, 128), dtype=bool)
    given[20:60, 40:90] = True
    studio.show(1, 8, Drawn(given))
    corrected = masks(studio)
    assert (corrected[8][1] & given).sum() / (corrected[8][1] | given).sum() > 0.9
    studio.undo()
    assert same(masks(studio), tracked)
    studio.show(1, 8, Drawn(given))
    studio.track("forward", 8)
    finished(studio)
    assert np.array_equal(masks(studio)[8][1], corrected[8][1])
    assert not same(masks(studio), tracked)
    studio.clear_frame(1, 8)
    assert np.array_equal(masks(studio)[8][1], tracked[8][1])


def test_other_frames_are_corrected_after_the_first_was_shown_anew(studio: Studio) -> None:
    """SAM 2 fails where an object's only remembered frame was cleared and shown again, but not yet remembered."""
    studio.show(None, 0, RED)
    studio.show(1, 0, Click(40, 60, positive=False))
    studio.track("forward", 0)
    finished(studio)
    studio.undo()
    studio.show(1, 5, Click(50, 45))
    studio.show(1, 5, Click(52, 47))
    studio.track("forward", 0)
    finished(studio)
    studio.clear_frame(1, 0)
    with studio._looking() as desk:
        shown = studio.objects()[0].shown[5]
        desk._show_again(1, 5, shown[:1])  # as undoing the last of its marks would
    assert studio.objects()[0].shown == {5: shown[:1]}
    studio.track("both", 5)
    finished(studio)
    assert studio.courses([1])[0].known == frozenset(range(14))


def test_an_alternative_is_taken(studio: Studio) -> None:
    studio.show(None, 0, RED)
    studio.track("forward", 0)
    finished(studio)
    doubt = next(doubt for doubt in studio.doubtful(1) if doubt.num_alternatives > 1)
    t = doubt.frame_idx
    pictures = studio.alternatives(1, t)
    assert len(pictures) == doubt.num_alternatives
    other = next(k for k, picture in enumerate(pictures) if not picture.is_answer)
    before = masks(studio)[t][1]
    with studio._looking() as desk:
        wanted = (desk.alternatives(1, t)[other].video_res_masks[0, 0] > 0).numpy()
    studio.take(1, t, other)
    after = masks(studio)[t][1]
    assert (after & wanted).sum() >= (before & wanted).sum()
    assert [picture.is_answer for picture in studio.alternatives(1, t)] == [k == other for k in range(len(pictures))]
    studio.undo()
    assert np.array_equal(masks(studio)[t][1], before)
    with pytest.raises(ValueError, match="k=9"):
        studio.take(1, t, 9)


def test_a_session_is_opened_again(studio: Studio, branching: SAM2LongVideoPredictor, clip_folder: str) -> None:
    studio.show(None, 0, RED)
    studio.rename(1, "red <disk>")
    studio.track("forward", 0)
    finished(studio)
    studio.show(1, 5, Click(50, 45))  # after the state was saved
    studio.show(studio.add_object().obj_id, 3, BLUE)
    expected, root = masks(studio), studio.root
    again = Studio(branching, root)
    with pytest.raises(ValueError, match="open in another studio"):
        again.open(clip_folder)
    studio.close()
    assert [(info.video, info.num_objects) for info in again.sessions()] == [(clip_folder, 2)]
    assert again.open(clip_folder), "went on"
    assert [of.name for of in again.objects()] == ["red <disk>", "Object 2"]
    assert same(masks(again), expected)
    assert not again.can_go_on
    again.remove_object(1)
    again.open(clip_folder)  # once more
    again.close()
    third = Studio(branching, root)
    third.open(clip_folder)
    assert [of.obj_id for of in third.objects()] == [2]
    assert third.add_object().obj_id == 3, "numbers are not given twice"
    third.start_over()
    assert third.objects() == []
    assert masks(third) == {t: {} for t in range(14)}


def test_another_policy_goes_on_with_a_session_and_the_papers_leaves_it_its_own(
    studio: Studio, branching: SAM2LongVideoPredictor, clip_folder: str
) -> None:
    def opened(predictor: SAM2LongVideoPredictor) -> tuple[Studio, str]:
        again = Studio(predictor, studio.root)
        again.open(clip_folder)
        with again._looking() as desk:
            return again, predictor.session(desk.state).policy.name

    def tracked(one: Studio) -> None:
        one.track("forward", 0)
        assert finished(one).newest == 13
        one.close()

    studio.show(None, 0, RED)
    tracked(studio)
    moving = SAM2LongVideoPredictor.from_sam2(branching, memory_tree=BRANCHING, policy="motion")
    again, name = opened(moving)
    assert name == "motion"
    tracked(again)
    third, name = opened(branching)
    assert name == "motion", "nothing else was asked for"
    tracked(third)


_KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support import build_golden
from studio_support import BRANCHING
from sam2long.studio import Studio
from sam2long.studio.steps import Click
predictor = build_golden(memory_tree=BRANCHING, max_pending_frames=2)
save, times = predictor.save_state, 0
def save_some(*args):
    global times
    save(*args)
    times += 1
    if times == 2:
        print("saved", flush=True)
    if times > 2:
        time.sleep(600)
predictor.save_state = save_some
studio = Studio(predictor, Path(sys.argv[3]), save_every=0)
studio.open(sys.argv[2])
studio.show(None, 0, Click(26, 43))
studio.track("forward", 0)
studio.wait()
"""


def test_a_killed_studio_goes_on_where_it_was(tmp_path: Path, clip_folder: str) -> None:
    root, tests = tmp_path / "sessions", ROOT / "tests"
    command = [sys.executable, "-c", _KILLED, str(tests), clip_folder, str(root)]
    path = f"{ROOT}:{tests}:{tests / 'studio'}"
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": path, "TQDM_DISABLE": "1"}, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "saved\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    again = Studio(build_golden(memory_tree=BRANCHING, max_pending_frames=2), root)
    assert again.open(clip_folder)
    assert again.can_go_on
    known = again.courses([1])[0].known
    assert 1 <= len(known) < 14
    again.go_on()
    finished(again)
    unbroken = Studio(build_golden(memory_tree=BRANCHING, max_pending_frames=2), tmp_path / "other")
    unbroken.open(clip_folder)
    unbroken.show(None, 0, RED)
    unbroken.track("forward", 0)
    finished(unbroken)
    assert same(masks(again), masks(unbroken))


def test_sam2_itself_tracks_with_one_pathway(tmp_path: Path, clip_folder: str) -> None:
    studio = Studio(build_golden(memory_tree=MemoryTreeConfig(num_pathways=1)), tmp_path)
    studio.open(clip_folder)
    studio.show(None, 0, RED)
    with held_behind(studio, 6):
        studio.track("forward", 0)
        while (progress := studio.progress()) is not None and progress.done < 3:
            studio.picture(0)
        studio.stop()
    progress = studio.wait(60)
    assert progress is not None
    assert progress.outcome == "stopped"
    studio.track("both", 0)
    finished(studio)
    (course,) = studio.courses([1])
    assert course.known == frozenset(range(14))
    assert (dict(course.scores), dict(course.doubtful)) == ({}, {})
    tracked = masks(studio)
    studio.close()
    studio.open(clip_folder)
    assert same(masks(studio), tracked)


def test_a_pass_that_fails_says_why_and_keeps_what_it_had(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.show(None, 0, RED)
    with studio._looking() as desk:
        reader = type(desk.source)
        read = reader._read

        def broken(source: Any, frame_idx: int) -> Any:
            if frame_idx == 9:
                raise OSError("the disk is gone")
            return read(source, frame_idx)

        monkeypatch.setattr(reader, "_read", broken)
    studio.track("forward", 0)
    progress = studio.wait(60)
    assert progress is not None
    assert (progress.outcome, progress.error) == ("failed", "the disk is gone")
    assert studio.courses([1])[0].known == frozenset(range(9))
    assert "the disk is gone" in studio.picture(9).caption
    assert not studio.is_tracking


def test_what_cannot_be_done_is_said(studio: Studio, branching: SAM2LongVideoPredictor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Show an object first"):
        studio.track("forward", 0)
    with pytest.raises(ValueError, match="outside the picture"):
        studio.show(None, 0, Click(500, 10))
    assert studio.objects() == [], "no object comes of it"
    studio.show(None, 0, RED)
    with pytest.raises(ValueError, match="before the first frame"):
        studio.track("backward", 0)
    with pytest.raises(ValueError, match="box is empty"):
        studio.show(1, 0, Box.between((10, 10), (10, 40)))
    with pytest.raises(ValueError, match="3 x 2 pixels, the video 128 x 96"):
        studio.show(1, 0, Drawn(np.ones((2, 3), dtype=bool)))
    with pytest.raises(ValueError, match="no object 7"):
        studio.rename(7, "x")
    studio.add_object()
    with pytest.raises(ValueError, match="Object 2 is not shown anywhere"):
        studio.track("forward", 0)
    with pytest.raises(ValueError, match="Another object"):
        studio.rename(2, "Object 1")
    with pytest.raises(ValueError, match="tracking to go on with"):
        studio.go_on()
    with pytest.raises(ValueError, match="Open a video"):
        Studio(branching, tmp_path).picture(0)


def test_names_and_colours() -> None:
    assert checked_name("  left\n mouse ") == "left mouse"
    for text in ("", " \n", "x" * 61):
        with pytest.raises(ValueError, match="name"):
            checked_name(text)
    assert checked_color("#ff8000") == (255, 128, 0)
    assert checked_color("rgba(255, 128.4, 0, 1)") == (255, 128, 0)
    with pytest.raises(ValueError, match="no colour"):
        checked_color("red; } body {")


def test_steps_travel_as_json() -> None:
    mask = np.zeros((5, 9), dtype=bool)
    mask[1:3, 2:8] = True
    steps = (Click(1.5, 2, positive=False), Box(0, 1, 2, 3), Drawn(mask))
    click, box, drawn = restored(saved(steps))
    assert (click, box) == steps[:2]
    assert isinstance(drawn, Drawn)
    assert np.array_equal(drawn.mask, mask)
    assert digest(restored(saved(steps))) == digest(steps) != digest(steps[:2])
    assert digest([Click(1, 2)]) == digest([Click(1.0, 2.0)])
