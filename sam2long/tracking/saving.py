"""An inference state as one file: written whole or not at all, read without running anything it contains.

The file is in safetensors format. Its metadata header holds what is checked before loading (`_about`), the tensor
"structure" the rest as JSON in UTF-8 (see `state.archive`), and the other tensors are those this JSON refers to. What
can be computed again is not written: the video, image features, the policies passed to the predictor.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam2long.frames import HeldFrames, ModelFrames, open_frames
from sam2long.frames.source import other_frames
from sam2long.policies import POLICIES, PolicyLike, load_policy
from sam2long.policies.fingerprint import digest_of, rule_of
from sam2long.search.policy import PAPER, Policy
from sam2long.state.archive import ArchiveReader, ArchiveWriter
from sam2long.state.corrections import Corrections
from sam2long.state.inference_state import level_of_caller
from sam2long.state.interactive import InteractivePredictor
from sam2long.state.review import restored as restored_review
from sam2long.state.review import saved as saved_review
from sam2long.state.session import SESSION_KEY, LeftPass, Session
from sam2long.tracking.passes import pass_settings, start_propagation

FORMAT = "sam2long state"
# Raised whenever older versions could misread a newer file, or the other way round.
VERSION = "1"

_STRUCTURE = "structure"
# What of SAM 2's state is written as it is; `constants` apart, which tracked frames refer to.
_STATE_KEYS = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "output_dict_per_obj",
    "temp_output_dict_per_obj",
    "frames_tracked_per_obj",
)


def save_state(predictor: InteractivePredictor, state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """See `SAM2LongVideoPredictor.save_state`.

    The file takes about 5 KB for every object and frame; the newest 32 frames of an object and the hypotheses
    that are pending are larger: at 1024 pixels 0.8 MB each. With `num_pathways=1` all frames are that large,
    as they are in SAM 2's state itself.
    """
    if isinstance(state["images"], HeldFrames):
        raise ValueError("the state of a stream cannot be saved: its frames are gone (use init_state on a file)")
    device: torch.device = state["device"]
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # copies to the host may still be under way
    archive = ArchiveWriter(device)
    structure = json.dumps(_structure(predictor, state, archive), separators=(",", ":"), allow_nan=False)
    tensors = archive.tensors() | {_STRUCTURE: torch.frombuffer(bytearray(structure.encode()), dtype=torch.uint8)}
    _write(Path(path), tensors, {"format": FORMAT, "version": VERSION, **_about(predictor, state)})


def load_state(
    predictor: InteractivePredictor,
    path: str | os.PathLike[str],
    video: Any,
    offload_video_to_cpu: bool | None,
    offload_state_to_cpu: bool | None,
    preload: bool,
    policy: PolicyLike,
) -> dict[str, Any]:
    """See `SAM2LongVideoPredictor.load_state`."""
    about, tensors = _read(Path(path))
    _require_equal(path, "this model", about["model"], _model_facts(predictor))
    source = open_frames(video)
    try:
        given = {"num_frames": len(source), "height": source.height, "width": source.width}
        _require_equal(path, "this video", about["video"], given)
        if other := other_frames(about["frames"], source.fingerprint()):
            raise ValueError(f"{path} was not saved with this video: frame {other[0]} was another picture there")
        offload = about["offload"]
        video_to_cpu = offload["video"] if offload_video_to_cpu is None else offload_video_to_cpu
        state_to_cpu = offload["state"] if offload_state_to_cpu is None else offload_state_to_cpu
        frames = ModelFrames(
            source, predictor.image_size, predictor.device, offload_to_cpu=video_to_cpu, preload=preload
        )
        state: dict[str, Any] = predictor.new_state(
            frames, offload_video_to_cpu=video_to_cpu, offload_state_to_cpu=state_to_cpu
        )
        with _damage_named(path):
            structure = json.loads(tensors[_STRUCTURE].numpy().tobytes())
        of_here = load_policy(predictor.policy if policy is None else policy)
        rule = _policy(path, structure.get("policy", _policy_name(PAPER)), of_here, says_so=policy is not None)
        same = _is_saved_rule(path, structure, rule)
        with _damage_named(path):
            _fill(predictor, state, structure, tensors, rule, same_rule=same)
        return state
    except BaseException:
        if source is not video:
            source.close()
        raise


# -- what is written -------------------------------------------------------------------------------------------------


def _about(predictor: InteractivePredictor, state: dict[str, Any]) -> dict[str, str]:
    """Facts about the save, as JSON each: anyone can read them from the file's header."""
    video = {"num_frames": state["num_frames"], "height": state["video_height"], "width": state["video_width"]}
    offload = {"video": state["offload_video_to_cpu"], "state": state["offload_state_to_cpu"]}
    source = getattr(state["images"], "source", None)  # SAM 2 users may have put a tensor there
    frames = {} if source is None else source.fingerprint()
    facts = {"model": _model_facts(predictor), "video": video, "frames": frames, "offload": offload}
    return {name: json.dumps(values) for name, values in facts.items()}


def _model_facts(predictor: InteractivePredictor) -> dict[str, int]:
    names = ("image_size", "hidden_dim", "mem_dim", "num_maskmem")
    # The sizes of SAM 2 share those; they differ in how many parameters they have.
    num_parameters = sum(parameter.numel() for parameter in predictor.parameters())
    return {**{name: getattr(predictor, name) for name in names}, "num_parameters": num_parameters}


def _structure(predictor: InteractivePredictor, state: dict[str, Any], archive: ArchiveWriter) -> dict[str, Any]:
    session: Session | None = state.get(SESSION_KEY)
    open_pass = session.open_pass if session else None
    propagation = session.propagation if session and open_pass else None
    policy = session.policy if session else load_policy(predictor.policy)
    structure = {
        "constants": archive.put(state["constants"]),
        "obj_ids": archive.put(state["obj_ids"]),
        "state": archive.put({key: state[key] for key in _STATE_KEYS}),
        "config": archive.put(predictor.tree_config(state)),
        "max_pending_frames": session.max_pending_frames if session else predictor.max_pending_frames,
        "policy": _policy_name(policy),
        "rule": digest_of(rule_of(policy)),
        "recent": archive.put(session.recent.by_object() if session else {}),
        "review": archive.put(saved_review(session.review) if session and session.review else None),
        "open_pass": archive.put(open_pass),
        "unfinished": archive.put(propagation.unfinished() if propagation else None),
        "left": archive.put(_left_pass(session)),
        "replaced": archive.put(list(session.corrections.replaced.items()) if session else []),
    }
    return {**structure, "objects": archive.objects}


def _left_pass(session: Session | None) -> dict[str, Any] | None:
    """A pass to go on from; the policies it ran with are not written."""
    if session is None or session.left is None:
        return None
    left = session.left
    return {"reverse": left.reverse, "last": left.last, "unfinished": left.unfinished}


def _fill(
    predictor: InteractivePredictor,
    state: dict[str, Any],
    saved: dict[str, Any],
    tensors: Mapping[str, Tensor],
    policy: Policy,
    *,
    same_rule: bool,
) -> None:
    """Make a new state the saved one; with another rule the pass goes on from the last frame yielded, on new trees."""
    archive = ArchiveReader(tensors, state["device"], state["storage_device"], without_policy=not same_rule)
    state["constants"] = archive.get(saved["constants"])
    archive.get_objects(saved["objects"], pos_enc=state["constants"].get("maskmem_pos_enc"))
    for obj_idx, obj_id in enumerate(archive.get(saved["obj_ids"])):
        state["obj_ids"].append(obj_id)
        state["obj_id_to_idx"][obj_id], state["obj_idx_to_id"][obj_idx] = obj_idx, obj_id
    state.update(archive.get(saved["state"]))
    session = state[SESSION_KEY] = Session(archive.get(saved["config"]), saved["max_pending_frames"], policy)
    if (review := archive.get(saved.get("review"))) is not None:
        session.review = restored_review(review)
    for obj_id, frames in archive.get(saved["recent"]).items():
        for frame in frames:
            session.recent.add(obj_id, frame)
    if (left := archive.get(saved.get("left"))) is not None:
        session.left = LeftPass(**left, settings=pass_settings(predictor, session))
    session.corrections = Corrections(dict(archive.get(saved.get("replaced", []))))
    session.open_pass = open_pass = archive.get(saved["open_pass"])
    if open_pass is not None:
        open_pass.loaded = True
        if open_pass.obj_ids == state["obj_ids"]:  # else an object was removed: tracking goes on as it would have
            open_pass.obj_ids = state["obj_ids"]
    if (unfinished := archive.get(saved["unfinished"])) is not None:
        propagation = start_propagation(
            predictor, state, open_pass.reverse, open_pass.remaining, obj_ids=open_pass.obj_ids
        )
        propagation.take_up(unfinished)
    if not same_rule:
        session.interrupt()  # what the other rule chose and remembered beyond the state is not this one's


def _policy_name(policy: Policy) -> list[Any]:
    """The name, and whether it is a listed policy's."""
    return [policy.name, POLICIES.get(policy.name) == policy]


def _policy(path: Any, saved: list[Any], given: Policy, *, says_so: bool) -> Policy:
    """The policy that a state was saved with: a listed one by its name, another if it is the one given.

    Raises:
        ValueError: if it is neither.
    """
    name, listed = saved
    if says_so or (not listed and given.name == name):
        return given
    if listed and name in POLICIES:
        return POLICIES[name]
    raise ValueError(f"{path} was saved with a policy {name!r} of its own: load it with load_state(..., policy=...)")


def _is_saved_rule(path: Any, structure: dict[str, Any], policy: Policy) -> bool:
    """Whether a policy is the one that a state was saved with: by its name, and by what it is made of.

    Warns of one that has the name of the other, and other functions, parts or numbers.
    """
    if structure.get("policy", _policy_name(PAPER)) != _policy_name(policy):
        return False
    is_same = structure.get("rule") in (None, digest_of(rule_of(policy)))  # older versions saved none
    if not is_same:
        warnings.warn(
            f"{path} was saved with another policy of the name {policy.name!r} (its functions, parts or numbers were "
            "others): this one begins anew, after the last frame that was yielded",
            UserWarning,
            stacklevel=level_of_caller(),
        )
    return is_same


def _require_equal(path: Any, what: str, saved: dict[str, int], given: dict[str, int]) -> None:
    unequal = [f"{name} {saved.get(name)}, not {value}" for name, value in given.items() if saved.get(name) != value]
    if unequal:
        raise ValueError(f"{path} was not saved with {what}, but with {'; '.join(unequal)}")


# -- the file --------------------------------------------------------------------------------------------------------


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write beside `path`, then rename: whenever the process or the machine stops, `path` is a complete file."""
    safetensors = _safetensors()
    partial = path.with_name(f"{path.name}.partial")
    try:
        safetensors.torch.save_file(tensors, partial, metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except safetensors.SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata, its JSON parsed, and all tensors."""
    safetensors = _safetensors()
    if not path.is_file():
        raise FileNotFoundError(f"no saved state at {path}")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a complete saved state: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a saved state: save_state did not write it")
    if metadata.get("version") != VERSION:
        raise ValueError(f"{path} is a saved state of version {metadata.get('version')}; this is version {VERSION}")
    with _damage_named(path):
        about = {name: json.loads(metadata[name]) for name in ("model", "video", "offload")}
        return {**about, "frames": json.loads(metadata.get("frames", "{}"))}, tensors  # older versions saved none


@contextmanager
def _damage_named(path: Any) -> Iterator[None]:
    """What reading a damaged file may raise, as a ValueError that names it."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError("saved states need safetensors: pip install safetensors (extra sam2long[state])") from error
    return safetensors
