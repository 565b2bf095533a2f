"""What a loaded state holds: pending hypotheses, packed frames, prompts not yet used, objects that are gone."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from saving_jobs import BRANCHY, PAPER, Clip, assert_states_equal, start, take
from support import assert_same, moving_disks

from sam2long import SAM2LongVideoPredictor


def test_pending_hypotheses_are_loaded(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    state = start(predictor, disks, BRANCHY)
    generator = predictor.propagate_in_video(state)
    take(generator, 5)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    trees, loaded_trees = (
        {obj_id: track.tree for obj_id, track in s["sam2long"].propagation.tracks.items()} for s in (state, loaded)
    )
    num_hypotheses = 0
    for obj_id in (7, "hand"):
        pending, loaded_pending = trees[obj_id].pending, loaded_trees[obj_id].pending
        assert [frame.frame_idx for frame in loaded_pending] == [frame.frame_idx for frame in pending]
        for frame in pending:
            ours, theirs = (predictor.get_hypotheses(s, obj_id, frame.frame_idx) for s in (loaded, state))
            for a, b in zip(ours, theirs, strict=True):
                assert_same(
                    [getattr(a, name) for name in a.__dataclass_fields__],
                    [getattr(b, name) for name in b.__dataclass_fields__],
                )
            num_hypotheses += len(ours)
        # Sharing survives: slots point to nodes of the newest pending frame, not to copies of them.
        assert loaded_trees[obj_id].tips == loaded_pending[-1].nodes
        memories, loaded_memories = (
            {id(memory) for node in t[obj_id].tips for memory in node.remembered} for t in (trees, loaded_trees)
        )
        assert len(loaded_memories) == len(memories)
    assert num_hypotheses > 2, "nothing was pending: the test shows nothing"
    generator.close()  # type: ignore[attr-defined]


def test_objects_that_came_after_the_open_pass_stay_whole(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path
) -> None:
    """A loaded pass goes on with its own objects; the recent frames of the others are not forgotten."""
    state = predictor.init_state(disks[0])
    predictor.add_new_mask(state, 0, 7, disks[1][0, 0])
    suspended = predictor.propagate_in_video(state)
    take(suspended, 3)
    predictor.add_new_mask(state, 0, "late", disks[1][1, 0])
    take(predictor.propagate_in_video(state, max_frame_num_to_track=9))
    take(suspended, 1)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    assert {obj_id: len(frames) for obj_id, frames in loaded["sam2long"].recent.by_object().items()} == {
        obj_id: len(frames) for obj_id, frames in state["sam2long"].recent.by_object().items()
    }
    assert len(loaded["sam2long"].recent.by_object()["late"]) == 9


def test_an_object_that_was_removed_stays_removed_through_two_saves(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path
) -> None:
    state = start(predictor, disks, PAPER)
    take(predictor.propagate_in_video(state), 3)
    generator = predictor.propagate_in_video(state)
    take(generator, 3)
    predictor.remove_object(state, 7)
    predictor.add_new_mask(state, 0, 7, disks[1][1, 0])  # another object, whatever its id
    for _ in range(2):
        predictor.save_state(state, path)
        state = predictor.load_state(path, disks[0])
    with pytest.raises(RuntimeError, match="object 7 was removed while it was being tracked"):
        take(predictor.resume_propagation(state))


def test_a_file_of_version_1_is_still_read(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    """Written when every module lay in one folder: packed and whole frames, pending hypotheses that merge."""
    folder = Path(__file__).parent / "saved"
    path.write_bytes(lzma.decompress((folder / "version-1.safetensors.xz").read_bytes()))
    expected = np.load(folder / "version-1.npz")
    state = predictor.load_state(path, disks[0])
    assert state["obj_ids"] == [7, "hand"]
    assert len(state["sam2long"].propagation.pending("hand")) == 2
    answers = take(predictor.resume_propagation(state))
    assert [t for t, _, _ in answers] == expected["frames"].tolist() == list(range(11, 20))
    masks = np.concatenate([(logits > 0).numpy() for _, _, logits in answers])
    reference = np.unpackbits(expected["masks"], count=masks.size).reshape(expected["shape"]).astype(bool)
    assert masks.any(axis=(1, 2, 3)).all()
    assert np.mean(masks != reference) < 1e-4
    for obj_id in (7, "hand"):
        scores = predictor.get_scores(state, obj_id)
        ours = [[t, s.predicted_iou, s.occlusion_score, s.cumulative_score] for t, s in scores.items()]
        np.testing.assert_allclose(ours, expected[f"scores_{obj_id}"], atol=2e-3)


def test_compacted_frames(predictor: SAM2LongVideoPredictor, path: Path) -> None:
    """Frames that were packed stay packed, and a reverse pass comes back to them as if nothing had happened."""
    clip = moving_disks(45)
    never_saved, saved = (start(predictor, clip, PAPER) for _ in range(2))
    take(predictor.propagate_in_video(never_saved))
    generator = predictor.propagate_in_video(saved)
    take(generator, 40)
    predictor.save_state(saved, path)
    generator.close()  # type: ignore[attr-defined]
    loaded = predictor.load_state(path, clip[0])
    take(predictor.resume_propagation(loaded))
    packed = [frame for frame in loaded["output_dict_per_obj"][0]["non_cond_frame_outputs"].values() if frame.packed()]
    assert len(packed) > 5
    assert_states_equal(loaded, never_saved)
    with safe_open(path, "pt") as file:
        assert file.get_tensor("packed.sizes").shape[0] >= 5

    for state in (never_saved, loaded):
        predictor.add_new_mask(state, 10, 7, clip[1][1, 10])  # reads memories of frames that are packed
    passes = [take(predictor.propagate_in_video(s, start_frame_idx=12, reverse=True)) for s in (loaded, never_saved)]
    assert_same(*passes)
    predictor.save_state(loaded, path)  # now packed frames with features computed again are among them
    again = predictor.load_state(path, clip[0])
    assert_states_equal(again, never_saved)
    assert_same(*(take(predictor.propagate_in_video(state)) for state in (again, never_saved)))


def test_prompts_not_yet_consolidated(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    never_saved = start(predictor, disks, PAPER)
    predictor.save_state(never_saved, path)
    loaded = predictor.load_state(path, disks[0])
    assert any(loaded["temp_output_dict_per_obj"][1].values())
    for state in (loaded, never_saved):
        assert_states_equal(*(s | {"sam2long": predictor.session(s)} for s in (state, never_saved)))
        with pytest.raises(RuntimeError, match="no pass to resume"):
            predictor.resume_propagation(state)
    # A second click refines the mask of the first, which is among the temporary outputs.
    clicks = [
        predictor.add_new_points_or_box(s, 4, "hand", points=[[2.0, 2.0]], labels=[0], clear_old_points=False)
        for s in (loaded, never_saved)
    ]
    assert_same(*clicks)
    assert_same(*(take(predictor.propagate_in_video(s)) for s in (loaded, never_saved)))
