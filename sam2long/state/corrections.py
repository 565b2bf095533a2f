"""What had been tracked on frames that were corrected since, for the user who takes a correction back."""

from __future__ import annotations

from typing import Any

from sam2long.state.tracked_frames import TrackedFrame

Entry = dict[str, Any]


class Corrections:
    """By object and frame, the entries of SAM 2's state that a correction replaced."""

    def __init__(self, replaced: dict[tuple[Any, int], tuple[Entry, Entry]] | None = None) -> None:
        # The frame's output, and SAM 2's note of the direction in which it was tracked.
        self.replaced = replaced or {}

    def keep(self, inference_state: dict[str, Any]) -> None:
        """Before prompts are consolidated: keep what they replace. A second correction of a frame replaces no more."""
        for obj_idx, prompted in inference_state["temp_output_dict_per_obj"].items():
            tracked = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"]
            notes = inference_state["frames_tracked_per_obj"][obj_idx]
            obj_id = inference_state["obj_idx_to_id"][obj_idx]
            for frame_idx in prompted["cond_frame_outputs"].keys() & tracked.keys():
                self.replaced.setdefault((obj_id, frame_idx), (tracked[frame_idx], notes.get(frame_idx, {})))

    def take_back(self, inference_state: dict[str, Any], frame_idx: int, obj_id: Any) -> bool:
        """After a frame's prompts are cleared: put back what they had replaced. False if that was nothing."""
        replaced = self.replaced.pop((obj_id, frame_idx), None)
        if replaced is None:
            return False
        obj_idx = inference_state["obj_id_to_idx"][obj_id]
        output, note = replaced
        inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"][frame_idx] = output
        if note:
            inference_state["frames_tracked_per_obj"][obj_idx][frame_idx] = note
        return True

    def keep_only(self, obj_ids: list[Any]) -> None:
        """Drop objects that are not tracked any more."""
        self.replaced = {key: entry for key, entry in self.replaced.items() if key[0] in obj_ids}


def end_carries(inference_state: dict[str, Any]) -> None:
    """Before prompts are consolidated: what was carried on behind a frame that is prompted now is not handed on."""
    for obj_idx, prompted in inference_state["temp_output_dict_per_obj"].items():
        notes = inference_state["frames_tracked_per_obj"][obj_idx]
        for frame_idx, frame in inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"].items():
            reverse = notes.get(frame_idx, {}).get("reverse", False)
            is_behind = any((frame_idx < prompted_idx) == reverse for prompted_idx in prompted["cond_frame_outputs"])
            if is_behind and isinstance(frame, TrackedFrame):
                frame.carry = None
