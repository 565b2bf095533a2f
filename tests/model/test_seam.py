"""What the protocols ask for, the predictor has: mypy cannot tell, since sam2 is not typed."""

from __future__ import annotations

import inspect

import pytest
from support import build_golden

from sam2long.model.image_features import ImageModel
from sam2long.model.seam import BankOptions, CapturableModel, TreeOptions
from sam2long.state.object_past import PastModel
from sam2long.tracking.propagation import TreeModel


@pytest.mark.parametrize("protocol", [BankOptions, CapturableModel, ImageModel, PastModel, TreeModel, TreeOptions])
def test_the_predictor_has_what_is_asked_for(protocol: type) -> None:
    predictor = build_golden(ckpt_path=None)
    asked = {
        name
        for base in protocol.__mro__
        if getattr(base, "_is_protocol", False)
        for name in (*inspect.get_annotations(base), *vars(base))
        if not name.startswith("_")
    }
    assert len(asked) >= 2
    assert [name for name in sorted(asked) if not hasattr(predictor, name)] == []
