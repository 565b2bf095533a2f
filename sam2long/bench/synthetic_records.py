"""Clip records of the synthetic benchmark: tracked by several processes, written one by one, and read again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from sam2long.bench.synthetic_settings import Setting
from sam2long.bench.synthetic_track import ClipSpec, track_clip
from sam2long.files import replacing
from sam2long.model_choice import ModelChoice

logger = logging.getLogger(__name__)


class DamagedRecordError(ValueError):
    """A record that is no JSON, or not a clip's."""


def records(
    specs: Sequence[ClipSpec], settings: Sequence[Setting], model: ModelChoice, folder: Path, workers: int
) -> Iterator[dict[str, Any]]:
    """Finished records first, then the others as they come, each written to its file.

    A record keeps the settings it has; only those it lacks are tracked. Those whose rules, numbers or code are not what
    they were when it was made are tracked again, and told of.

    Raises:
        DamagedRecordError: before anything is tracked.
    """
    identities = {setting.name: setting.identity for setting in settings}  # of the code as it is now
    stale: Counter[str] = Counter()
    known = {spec: _read(folder, spec, identities, model, stale) for spec in specs}
    for name in (name for name in identities if stale[name]):
        logger.warning(
            "%s: records of %d clips are of other rules or settings; tracking these again", name, stale[name]
        )
    lacking = {spec: [s for s in settings if s.name not in record["settings"]] for spec, record in known.items()}
    for spec in specs:
        if not lacking[spec]:
            yield _wanted(known[spec], settings)
    todo = [spec for spec in specs if lacking[spec]]
    if not todo:
        return
    os.environ["TQDM_DISABLE"] = "1"  # for the workers: a bar per pass of each would bury the one that counts clips
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(_work, model, spec, lacking[spec]): spec for spec in todo}
        for job in as_completed(jobs):
            spec, measured = jobs[job], job.result()
            trees = {setting.name: identities[setting.name] for setting in lacking[spec]}
            record = {**measured, "model": fingerprint(model), "trees": {**known[spec].get("trees", {}), **trees}}
            record["settings"] = {**known[spec]["settings"], **measured["settings"]}
            with replacing(_path(folder, spec)) as part:
                part.write_text(json.dumps(record), encoding="utf-8")
            yield _wanted(record, settings)


def _wanted(record: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    return {**record, "settings": {setting.name: record["settings"][setting.name] for setting in settings}}


def _path(folder: Path, spec: ClipSpec) -> Path:
    return folder / f"{spec.suite}-{spec.seed:04d}.json"


def fingerprint(model: ModelChoice) -> str:
    """Names the weights: a record of others is stale."""
    return hashlib.sha256(model.checkpoint.read_bytes()).hexdigest()[:16]


def _read(
    folder: Path, spec: ClipSpec, identities: Mapping[str, str], model: ModelChoice, stale: Counter[str]
) -> dict[str, Any]:
    """The clip's record as far as it is still true: same clip, same weights, same settings under each name.

    Args:
        stale: counts, by name, the settings that are not.
    """
    path = _path(folder, spec)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
        same_clip = all(record.get(name) == value for name, value in asdict(spec).items())
        if not same_clip or record.get("model") != fingerprint(model):
            return {"settings": {}}
        trees = record["trees"]
        others = {name for name, identity in identities.items() if name in trees and trees[name] != identity}
        # Records of before `answered` cannot say where points are lost.
        current = {k: of for k, of in record["settings"].items() if k in trees.keys() - others and "answered" in of}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"{path} is damaged ({error}); delete it, and the clip is tracked again") from error
    stale.update(others)
    return {**record, "settings": current}


@lru_cache(maxsize=1)
def _predictor(model: ModelChoice) -> Any:
    torch.set_num_threads(1)
    # Bare masks: SAM 2 fills holes only where its CUDA extension was built, the tree everywhere.
    return model.build(apply_postprocessing=False)


def _work(model: ModelChoice, spec: ClipSpec, settings: Sequence[Setting]) -> dict[str, Any]:
    return track_clip(_predictor(model), spec, settings)
