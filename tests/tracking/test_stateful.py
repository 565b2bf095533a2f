"""Random sequences of API calls, to three predictors at once: sam2's own, ours with one pathway, ours with a tree."""

from __future__ import annotations

import os

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from sam2.sam2_video_predictor import SAM2VideoPredictor
from stateful_calls import Call, calls
from support import captured_golden
from three_predictors import ThreePredictors

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

# CI runs a few sequences, `make test-all` two hundred of seed 12 (`SAM2LONG_NUM_SEQUENCES`, `SAM2LONG_SEED`).
NUM_SEQUENCES = int(os.environ.get("SAM2LONG_NUM_SEQUENCES", "8"))
NUM_STEPS = 15
SEED = os.environ.get("SAM2LONG_SEED")


@pytest.mark.timeout(3600)
def test_random_calls(
    predictor: SAM2LongVideoPredictor,
    sam2_predictor: SAM2VideoPredictor,
    clip: tuple[np.ndarray, np.ndarray],
    clip_folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaying = captured_golden()

    @given(
        first=calls(("points", "box", "mask")),
        rest=st.lists(calls(), min_size=NUM_STEPS - 1, max_size=NUM_STEPS - 1),
        num_pathways=st.sampled_from((3, 3, 2)),
        uncertainty=st.sampled_from((2.0, 100.0)),
        max_pending_frames=st.sampled_from((None, 0, 3)),
        offload=st.booleans(),
        only_past=st.sampled_from((False, False, True)),
        captured=st.booleans(),
        corrections_condition=st.sampled_from((False, True, None)),
    )
    @settings(
        max_examples=NUM_SEQUENCES,
        report_multiple_bugs=False,
        derandomize=SEED is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking takes minutes; the failing sequence is printed as it is
        suppress_health_check=list(HealthCheck),
    )
    def sequence(
        first: Call,
        rest: list[Call],
        num_pathways: int,
        uncertainty: float,
        max_pending_frames: int | None,
        offload: bool,
        only_past: bool,
        captured: bool,
        corrections_condition: bool | None,
    ) -> None:
        # True, as in SAM 2's configs, has sam2 fail on frames before an object's first prompt (in float32, a
        # memory of bfloat16 features and no pointer); False lets the calls after that be compared as well.
        for one in (predictor, sam2_predictor, replaying):
            monkeypatch.setattr(one, "only_obj_ptrs_in_the_past_for_eval", only_past)
            name = "add_all_frames_to_correct_as_cond" if one is sam2_predictor else "_corrections_condition"
            monkeypatch.setattr(
                one, name, bool(corrections_condition) if one is sam2_predictor else corrections_condition
            )
        tree = MemoryTreeConfig(num_pathways=num_pathways, uncertainty_threshold=uncertainty)
        tree_predictor = replaying if captured else predictor
        three = ThreePredictors(
            predictor,
            sam2_predictor,
            tree_predictor,
            clip_folder,
            clip[1],
            tree,
            max_pending_frames,
            offload,
            corrections_condition,
        )
        for call in (first, *rest):
            note(f"{call}")
            three.run(call)
        three.let_go()
        three.reset()

    (sequence if SEED is None else seed(int(SEED))(sequence))()
