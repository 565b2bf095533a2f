"""Whether two policies are one rule: what a policy is made of, as text that is equal in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from numbers import Integral, Real
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from sam2long.search.policy import Policy

_NAMED = FunctionType | BuiltinFunctionType | type


def rule_of(policy: Policy) -> str:
    """A policy's name, functions and numbers, as text; parts that are the paper's, as in `Policy()`, are left out.

    Numbers are those of dataclasses, of partial functions, of defaults and of what a function encloses. What can
    change while it is used (a list, a module of a network) is only named. So two functions of one name and unequal code
    are one here: where code counts, see `sources.digest_of_sources`.
    """
    return _text(policy, {})


def digest_of(text: str) -> str:
    """A short digest, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def functions_of(policy: Policy) -> list[Any]:
    """All functions and classes that a policy is made of, those of its parts included."""
    found: dict[int, Any] = {}
    left: list[Any] = [policy]
    while left:
        value = left.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        if callable(value) or is_dataclass(value):
            left += [] if isinstance(value, _NAMED | MethodType | partial) else [type(value)]
        left += [inner for _, inner in _inside(value)]
    return [value for value in found.values() if isinstance(value, FunctionType | type)]


def _text(value: Any, seen: dict[int, tuple[int, Any]]) -> str:
    if value is None or isinstance(value, str | bytes | Enum):
        return repr(value)
    if isinstance(value, Integral | Real):  # NumPy's are written as Python's
        return repr(int(value)) if isinstance(value, Integral) else repr(float(value))
    named = value if isinstance(value, _NAMED) else type(value)
    inside = list(_inside(value))
    if not inside:
        return named.__qualname__
    # What is met again is written once (a rule's methods are all of one rule; a function may enclose itself), and held
    # meanwhile: its id stays its own.
    if id(value) in seen:
        return f"#{seen[id(value)][0]}"
    seen[id(value)] = len(seen), value
    texts = [f"{name}{_text(inner, seen)}" for name, inner in inside]
    return f"{named.__qualname__}({', '.join(sorted(texts) if isinstance(value, frozenset) else texts)})"


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is made of, each with what it is called there."""
    if isinstance(value, tuple | frozenset):
        yield from (("", item) for item in value)
    elif isinstance(value, MethodType):
        yield from (("", value.__self__), (".", value.__func__))
    elif isinstance(value, partial):
        yield from (("", value.func), ("", value.args), ("", tuple(sorted(value.keywords.items()))))
    elif isinstance(value, FunctionType):
        enclosed = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from ((f"{name}=", cell.cell_contents) for name, cell in enclosed if _is_filled(cell))
        yield from (("", default) for default in value.__defaults__ or ())
        yield from ((f"{name}=", default) for name, default in (value.__kwdefaults__ or {}).items())
    elif is_dataclass(value) and not isinstance(value, type):
        # A policy may gain fields that leave things to the paper; a rule's numbers always count.
        stated = [f for f in fields(value) if not isinstance(value, Policy) or getattr(value, f.name) != f.default]
        yield from ((f"{field.name}=", getattr(value, field.name)) for field in stated)


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # of a function that is still being defined
        return False
