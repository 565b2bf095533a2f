"""How much the host launches per frame: where launching takes longer than computing, it is the frame rate.

On a GPU every operation that is not a view is a kernel, so counting operations on the CPU tells, without a GPU and
without noise, whether a frame asks more of the host than SAM 2's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from conftest import build_golden, moving_disks
from torch.utils._python_dispatch import TorchDispatchMode

from sam2long import MemoryTreeConfig
from sam2long.bench.speed_run import select_distinct
from sam2long.selection import SelectFunction, select_candidates

# Steady state (all memory slots full) is reached after 17 frames; the difference of two lengths is a steady frame.
SHORT, LONG = 19, 23
TREE = MemoryTreeConfig()
LAUNCH_NOTHING = ("view", "empty", "expand", "permute", "transpose", "select", "slice", "squeeze", "detach", "alias")
WAITING = ("_local_scalar_dense.", "nonzero.", "equal.", "is_nonzero.", "masked_select.", "unique")
LAUNCH_NOTHING += ("split", "unbind", "as_strided", "lift_fresh", "t.", "_unsafe_view", "_reshape_alias", "diagonal")


class LaunchCount(TorchDispatchMode):
    """Counts operations that launch a kernel on a GPU, and those whose result the host would wait for."""

    launches: float = 0
    waits: float = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.ops.aten.scaled_dot_product_attention.default:  # one kernel, if decomposed many
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        name = func._schema.name.removeprefix("aten::") + "."
        self.waits += name.startswith(WAITING)
        self.launches += not name.removeprefix("un").startswith(LAUNCH_NOTHING)
        return func(*args, **kwargs)


@pytest.fixture(scope="module")
def steady() -> Callable[..., LaunchCount]:
    """What a steady frame asks for; the object is always visible, and holes are filled as by default."""
    frames, masks = moving_disks(LONG)

    def run(num_frames: int, num_objects: int, config: MemoryTreeConfig | None, select: SelectFunction) -> LaunchCount:
        target = [] if config else ["++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor"]
        predictor: Any = build_golden(hydra_overrides_extra=[*target, "+model.fill_hole_area=8"])
        with torch.no_grad():
            predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(10.0)
        predictor.select = select
        state = build_golden().init_state(frames[:num_frames], memory_tree=config)
        state["images"] = torch.stack([state["images"][t] for t in range(num_frames)])  # as SAM 2 has them
        for obj_id in range(num_objects):
            predictor.add_new_mask(state, 0, obj_id, masks[0, 0])
        with LaunchCount() as count:
            for _ in predictor.propagate_in_video(state):
                pass
        return count

    @cache
    def of(
        num_objects: int, config: MemoryTreeConfig | None = None, select: SelectFunction = select_candidates
    ) -> LaunchCount:
        short, long = (run(num_frames, num_objects, config, select) for num_frames in (SHORT, LONG))
        frame = LaunchCount()
        frame.launches = (long.launches - short.launches) / (LONG - SHORT)
        frame.waits = (long.waits - short.waits) / (LONG - SHORT)
        return frame

    return of


pytestmark = pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")


def test_a_shared_frame_launches_no_more_than_sam2(steady: Callable[..., LaunchCount]) -> None:
    """In spite of modulation, scores, hole filling (SAM 2 without its extension fills none) and packing the past."""
    assert 500 < steady(1, TREE).launches <= steady(1).launches


def test_distinct_pathways_launch_as_one_batch(steady: Callable[..., LaunchCount]) -> None:
    assert steady(1, TREE, select_distinct).launches <= 1.06 * steady(1).launches


def test_objects_launch_as_one_batch(steady: Callable[..., LaunchCount]) -> None:
    """SAM 2 tracks its objects one after the other."""
    assert steady(5, TREE).launches <= 0.45 * steady(5).launches


def test_the_host_waits_for_the_scores_only(steady: Callable[..., LaunchCount]) -> None:
    """`DecodedMasks.scores` is the one wait, and no operation hides another."""
    for args in ((1, TREE), (5, TREE), (1, TREE, select_distinct)):
        assert steady(*args).waits == 0
