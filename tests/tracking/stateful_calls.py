"""Random calls of SAM 2's API, as strategies of hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st

State = dict[str, Any]
NUM_FRAMES, HEIGHT, WIDTH = 14, 96, 128

# Few frames and objects, so that calls meet on them; the last frame of the clip is 13.
frame_idxs = st.sampled_from((0, 0, 3, 5, 5, 6, 9, 13))
obj_ids = st.sampled_from((1, 1, "hand", "hand", 7, 2))
clicks = st.lists(
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.sampled_from((1, 1, 0))), min_size=1, max_size=3
)
WEIGHTS = {
    "points": 4,
    "box": 2,
    "mask": 3,
    "wrong": 1,
    "clear_prompts": 2,
    "remove": 1,
    "reset": 1,
    "propagate": 6,
    "leave": 5,
    "resume": 5,
}


class Call(NamedTuple):
    """A method of `ThreePredictors` and its arguments."""

    name: str
    arguments: dict[str, Any]


@st.composite
def calls(draw: st.DrawFn, names: Sequence[str] = tuple(name for name, n in WEIGHTS.items() for _ in range(n))) -> Call:
    name = draw(st.sampled_from(names))
    prompt = {"frame_idx": draw(frame_idxs), "obj_id": draw(obj_ids)}
    flag = draw(st.booleans())
    match name:
        case "points":
            return Call(name, {**prompt, "clicks": draw(clicks), "clear": flag})
        case "box":
            x, y = draw(st.integers(0, 70)), draw(st.integers(0, 50))
            return Call(name, {**prompt, "box": [x, y, x + draw(st.integers(8, 50)), y + draw(st.integers(8, 40))]})
        case "mask":
            return Call(name, {**prompt, "which": int(flag)})
        case "wrong":
            return Call(
                name, {**prompt, "kind": draw(st.sampled_from(("no labels", "late box", "no frame", "nothing")))}
            )
        case "clear_prompts":
            return Call(name, {**prompt, "need_output": flag})
        case "remove":
            return Call(name, {"obj_id": prompt["obj_id"], "strict": flag, "need_output": draw(st.booleans())})
        case "propagate" | "leave":
            where = {
                "start": draw(st.one_of(st.none(), frame_idxs)),
                "count": draw(st.sampled_from((None, None, None, 0, 2, 6))),
                "reverse": draw(st.sampled_from((False, False, True))),
            }
            return Call(
                name, where if name == "propagate" else {**where, "after": draw(st.integers(1, 5)), "close": flag}
            )
        case "resume":
            return Call(name, {"num_frames": draw(st.sampled_from((None, 1, 3))), "which": int(flag)})
    return Call(name, {})
