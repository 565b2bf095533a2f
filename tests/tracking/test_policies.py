"""Policies on the real model: what they change, and that nothing of them is lost or leaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, track
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from support import assert_same, build_golden, captured_golden, moving_disks

from sam2long import SAM2LongVideoPredictor
from sam2long.model.evidence import appearance, maskness
from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_bank import MemoryBank
from sam2long.policies import POLICIES
from sam2long.policies.forgetting import DecayingScores
from sam2long.search.picking import Pick
from sam2long.search.policy import PAPER, Memory, Policy, Situation
from sam2long.search.selection import Candidate, choose_memory, select_one


def start(predictor: SAM2LongVideoPredictor, clip: Clip, num_objects: int = 1, **settings: Any) -> State:
    state = predictor.init_state(clip[0], **{"memory_tree": BRANCHING, **settings})
    for obj_idx in range(num_objects):
        predictor.add_new_mask(state, 0, obj_idx + 1, clip[1][obj_idx, 0])
    return state


# -- evidence --------------------------------------------------------------------------------------------------------


def test_maskness_and_appearance_on_literal_values() -> None:
    logits = torch.tensor([[[2.0, -1.0], [0.5, -3.0]], [[-1.0, -1.0], [-1.0, -1.0]]])[None]
    masks = logits > 0
    inside = (torch.tensor([2.0, 0.5]).sigmoid()).mean().item()
    assert maskness(logits, masks)[0].tolist() == pytest.approx([inside, 0.0])
    # (HW, 1, C); cells 0 and 2 are under the mask. Over the frame both coarse channels have mean 4 and one deviation,
    # and under the mask means 3 and 5; the fine channel is twice its mean there.
    coarse = torch.tensor([[1.0, 7.0], [3.0, 5.0], [5.0, 3.0], [7.0, 1.0]])[:, None]
    fine = torch.tensor([[2.0], [0.0], [2.0], [0.0]])[:, None]
    looks = appearance(masks, ImageFeatures([fine, coarse], [], [(2, 2), (2, 2)]))
    half = math.sqrt(0.5)
    assert looks[0, 0].tolist() == pytest.approx([-half, half, 1.0], abs=1e-5), "each level's part has length 1"
    assert looks[0, 1].tolist() == [0.0, 0.0, 0.0], "an empty mask looks like nothing"


def test_policies_get_the_evidence_they_want_and_no_other(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    seen: list[Candidate] = []

    def look(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        seen.extend(candidates)
        return candidates

    for wants in (frozenset[Any](), frozenset({"masks", "maskness", "appearance"})):
        seen.clear()
        masks = track(predictor, start(predictor, clip, policy=Policy("looking", wants, propose=look)))
        assert_same(masks, track(predictor, start(predictor, clip)))
        evidence = seen[-1].evidence
        assert (evidence.mask is None) is (evidence.maskness is None) is (evidence.appearance is None) is (not wants)
        if evidence.mask is not None and evidence.maskness is not None and evidence.appearance is not None:
            side = predictor.image_size // 4
            assert (evidence.mask.shape, evidence.mask.dtype) == ((side, side), np.bool_)
            assert 0.5 <= evidence.maskness <= 1.0
            fine = predictor.sam_mask_decoder.conv_s0.out_channels
            assert evidence.appearance.shape == (predictor.hidden_dim + fine,)
            assert np.isfinite(evidence.appearance).all()


# -- every policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
def test_a_pass_is_whole_saved_resumed_and_taken_frame_by_frame(
    name: str, predictor: SAM2LongVideoPredictor, clip: Clip, path: Path
) -> None:
    state = start(predictor, clip, num_objects=2, policy=name)
    expected = track(predictor, state)
    assert list(expected) == list(range(NUM_FRAMES))
    assert all(torch.isfinite(masks).all() for masks in expected.values())

    saved = start(predictor, clip, num_objects=2, policy=name)
    passing = predictor.propagate_in_video(saved)
    first = {t: masks.clone() for t, _, masks in (next(passing) for _ in range(5))}
    predictor.save_state(saved, path)
    passing.close()
    loaded = predictor.load_state(path, clip[0])
    assert loaded["sam2long"].policy is POLICIES[name]
    rest = {t: masks.clone() for t, _, masks in predictor.resume_propagation(loaded)}
    assert_same(first | rest, expected)

    single = start(predictor, clip, num_objects=2, policy=name)
    one_by_one: dict[int, torch.Tensor] = {}
    for t in range(NUM_FRAMES):
        one_by_one |= track(predictor, single, start_frame_idx=t, max_frame_num_to_track=0)
    assert list(one_by_one) == list(range(NUM_FRAMES))


@pytest.mark.parametrize("name", ["distractor", "motion", "reappearance"])
def test_notes_of_objects_do_not_mix(name: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    both = start(predictor, clip, num_objects=2, policy=name)
    track(predictor, both)
    alone = start(predictor, clip, policy=name)
    track(predictor, alone)
    together, single = (predictor.get_scores(state, 1) for state in (both, alone))
    assert len(single) == NUM_FRAMES - 1
    for t, scores in single.items():
        assert len(scores.note) == len(together[t].note) > 0
        assert together[t].note == pytest.approx(scores.note, rel=1e-2, abs=1e-2)


def test_policies_by_every_door(predictor: SAM2LongVideoPredictor, clip: Clip, path: Path) -> None:
    built = build_golden(policy="motion")
    assert built.policy is POLICIES["motion"]
    assert SAM2LongVideoPredictor.from_sam2(built, policy="stride").policy is POLICIES["stride"]
    assert SAM2LongVideoPredictor.from_sam2(built).policy is PAPER
    assert built.session(built.init_state(clip[0])).policy is POLICIES["motion"]
    stream = built.init_stream(clip[0][0], policy="absence")
    assert built.session(stream).policy is POLICIES["absence"]
    predictor.save_state(start(predictor, clip), path)
    doors: tuple[Callable[[Any], Any], ...] = (
        lambda policy: build_golden(policy=policy),
        lambda policy: SAM2LongVideoPredictor.from_sam2(built, policy=policy),
        lambda policy: predictor.init_state(clip[0], policy=policy),
        lambda policy: predictor.init_stream(clip[0][0], policy=policy),
        lambda policy: predictor.load_state(path, clip[0], policy=policy),
    )
    for door in doors:
        with pytest.raises(ValueError, match="unknown policy 'best'"):
            door("best")
        for odd, named in ((3, "policy=3"), (["distractor"], r"policy=\['distractor'\]"), (Policy, "policy=<class ")):
            with pytest.raises(ValueError, match=rf"{named}.*: give one name of .*'motion'.*, or a sam2long.*Policy"):
                door(odd)


def test_functions_of_the_users_replace_parts_of_a_policy(clip: Clip) -> None:
    ours = build_golden()
    ours.select, ours.choose_memory = select_one, lambda remembered, newest, config, capacity: (newest,)
    policy = POLICIES["reappearance"].with_functions(ours.select, ours.choose_memory)
    assert policy.select is select_one
    assert policy.remember(Memory(), "newest", BRANCHING, 3).recent == ("newest",)
    assert POLICIES["stride"].with_functions(PAPER.select, choose_memory) is POLICIES["stride"]
    state = start(ours, clip, policy="reappearance")
    track(ours, state)
    assert {scores.distinct_pathways for scores in ours.get_scores(state, 1).values()} == {1}


def test_captured_steps_give_the_eager_results(clip: Clip) -> None:
    for name in ("absence", "distractor"):
        eager, captured = build_golden(), captured_golden()
        expected = track(eager, start(eager, clip, policy=name))
        masks = track(captured, start(captured, clip, policy=name))
        if name == "absence":
            assert_same(masks, expected)
        for t in expected:  # pathways with different numbers of anchors are decoded apart, which rounds otherwise
            torch.testing.assert_close(masks[t], expected[t], rtol=0, atol=1e-3)


# -- presence --------------------------------------------------------------------------------------------------------


def test_what_is_said_to_be_absent_is_empty_and_not_remembered(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    def gone_on_frame_six(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        if situation.frame_idx != 6:
            return candidates
        return [replace(c, occlusion_score=-2.5) for c in candidates]

    state = start(predictor, clip, policy=Policy("gone", propose=gone_on_frame_six))
    masks = track(predictor, state)
    plain = track(predictor, start(predictor, clip))
    assert all(torch.equal(masks[t], plain[t]) for t in range(6))
    assert not (masks[6] > 0).any()
    assert (plain[6] > 0).any(), "else this shows nothing"
    frame = state["output_dict_per_obj"][0]["non_cond_frame_outputs"][6]
    assert (frame["pred_masks"] == NO_OBJ_SCORE).all()
    assert float(frame["object_score_logits"]) == -2.5
    assert torch.equal(frame["obj_ptr"], predictor.no_obj_ptr)
    assert predictor.get_scores(state, 1)[6].occlusion_score == -2.5
    assert not torch.equal(masks[7], plain[7]), "the memory is another"


@torch.inference_mode()
def test_what_is_said_to_show_has_the_decoders_mask(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    predictor.propagate_in_video_preflight(state)
    features = predictor.image_features(state, 1)
    bank = MemoryBank(predictor, 8, (1.0, 1.0))
    spatial_pos = state["constants"]["maskmem_pos_enc"][-1]
    model = predictor.hypothesis_model(bank, spatial_pos, 8)
    generator = predictor.propagate_in_video(state)
    next(generator)
    pathway = predictor.session(state).propagation.tracks[1].past.memories.of_pathway(1, ())  # type: ignore[union-attr]
    proposals = model.propose(features, [pathway])
    decoded = proposals.decoded
    decoded.object_score_logits = torch.full_like(decoded.object_score_logits, -4.0)
    decoded.mask_logits = torch.full_like(decoded.mask_logits, NO_OBJ_SCORE)
    absent, shown = (Pick(0, 1, 0.0, 0.8, score, visible) for score, visible in ((-4.0, None), (0.5, True)))
    hidden, visible = model.remember(1, features, proposals, [absent, shown])
    assert (hidden.mask_logits == NO_OBJ_SCORE).all()
    assert torch.equal(visible.mask_logits, decoded.raw_logits[:, 1:2].float())
    assert (float(hidden.object_score_logits), float(visible.object_score_logits)) == (-4.0, 0.5)
    assert torch.equal(hidden.memory.obj_ptr, predictor.no_obj_ptr)
    assert not torch.equal(visible.memory.obj_ptr, predictor.no_obj_ptr)


def test_notes_of_a_long_past_are_saved(predictor: SAM2LongVideoPredictor, path: Path) -> None:
    clip = moving_disks(40)
    state = start(predictor, clip, policy="distractor")
    track(predictor, state)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, clip[0])
    assert state["output_dict_per_obj"][0]["non_cond_frame_outputs"][1].packed() is not None, "the past is packed"
    assert predictor.get_scores(loaded, 1) == predictor.get_scores(state, 1)
    assert all(len(scores.note) == 2 for scores in predictor.get_scores(loaded, 1).values())


def test_a_policy_of_ones_own_is_not_taken_for_a_listed_one(
    predictor: SAM2LongVideoPredictor, clip: Clip, path: Path
) -> None:
    for own in (
        Policy(weigh=DecayingScores(0.2)),
        Policy("forgetting", weigh=DecayingScores(0.2)),
        Policy("mine", weigh=DecayingScores(0.2)),
    ):
        state = start(predictor, clip, policy=own)
        track(predictor, state)
        predictor.save_state(state, path)
        with pytest.raises(ValueError, match=rf"{path.name} was saved with a policy '{own.name}' of its own"):
            predictor.load_state(path, clip[0])
        assert predictor.session(predictor.load_state(path, clip[0], policy=own)).policy is own
        theirs = SAM2LongVideoPredictor.from_sam2(predictor, policy=own)
        assert theirs.session(theirs.load_state(path, clip[0])).policy is own
    with pytest.raises(ValueError, match=r"wants \['masses'\]; there are"):
        Policy("odd", frozenset({"masses"}))  # type: ignore[arg-type]


def test_what_a_pathway_carries_outlives_a_prompt(predictor: SAM2LongVideoPredictor, clip: Clip, path: Path) -> None:
    """A new object plants new trees; what was carried on goes on with them, but not past a correction of its own."""

    def count(chosen: Candidate, situation: Situation) -> int:
        return 1 + (situation.carry if isinstance(situation.carry, int) else 0)

    def note_count(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> tuple[float, ...]:
        return (float(count(chosen, situation)),)

    counting = Policy("counting", note=note_count, advance=count)
    state = predictor.init_stream(clip[0][0], memory_tree=BRANCHING, policy=counting, max_pending_frames=0)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    for t in range(1, 9):
        if t == 5:
            predictor.add_new_mask(state, 4, 2, clip[1][1, 4])
        predictor.track_frame(state, clip[0][t])
    assert [scores.note for scores in predictor.get_scores(state, 1).values()] == [(float(t),) for t in range(1, 9)]
    assert [scores.note for scores in predictor.get_scores(state, 2).values()] == [(float(t),) for t in range(1, 5)]

    video = start(predictor, clip, policy=counting)
    for _ in zip(predictor.propagate_in_video(video), range(6), strict=False):
        pass
    predictor.save_state(video, path)
    loaded = predictor.load_state(path, clip[0], policy=counting)
    predictor.add_new_points_or_box(loaded, 5, 1, points=[[3.0, 3.0]], labels=[0])
    track(predictor, loaded, start_frame_idx=5)
    assert predictor.get_scores(loaded, 1)[6].note == (1.0,), "what was learned before frame 5 was corrected with it"

    predictor.add_new_mask(video, 4, 1, clip[1][0, 4])
    track(predictor, video, start_frame_idx=0)
    notes = [scores.note for scores in predictor.get_scores(video, 1).values()]
    assert notes[:5] == [(1.0,), (2.0,), (3.0,), (1.0,), (2.0,)], "frames 1, 2, 3, and from 5 on anew"
