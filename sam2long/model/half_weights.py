"""Weights in the type that autocast computes in, made once: a replay would otherwise cast every weight anew.

Eagerly autocast keeps such copies itself, as long as it is entered; a recording cannot rely on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

# Modules all of whose parameters autocast casts before it computes, so that a copy cast before is the same to the bit.
_CAST = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class HalfWeights:
    """Copies of weights, by the parameter they are of. They are valid until the weights change: then `clear` them."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, torch.dtype], nn.Parameter] = {}

    def clear(self) -> None:
        """Forget the copies; recordings that read them must be gone."""
        self._copies.clear()

    @contextmanager
    def in_place(self, modules: Sequence[nn.Module], dtype: torch.dtype) -> Iterator[None]:
        """While autocast with `dtype` is on: modules, and those in them, have copies in the place of their weights."""
        replaced = [
            (module, name, parameter)
            for root in modules
            for module in root.modules()
            if isinstance(module, _CAST)
            for name, parameter in module.named_parameters(recurse=False)
            if parameter.dtype == torch.float32
        ]
        try:
            for module, name, parameter in replaced:
                setattr(module, name, self._copy(parameter, dtype))
            yield
        finally:
            for module, name, parameter in replaced:
                setattr(module, name, parameter)

    def _copy(self, parameter: nn.Parameter, dtype: torch.dtype) -> nn.Parameter:
        key = id(parameter), dtype
        if key not in self._copies:
            self._copies[key] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
        return self._copies[key]
