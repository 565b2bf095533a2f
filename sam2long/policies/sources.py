"""The code that a policy's decisions come from, as a digest: it changes where a rule's code or numbers do."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from sam2long.policies.fingerprint import digest_of, functions_of, rule_of
from sam2long.search.policy import Policy

# Where rules lie; of other packages a module counts only where it defines one, or is asked for.
_PACKAGES = tuple(f"{name.rpartition('.')[0]}." for name in (__name__, Policy.__module__))


def digest_of_sources(policy: Policy, *others: ModuleType) -> str:
    """A digest of what a policy is made of, and of the code behind it.

    That is the code of the modules that define its functions, of `others`, and of the modules of policies and search
    that these import: as it runs, without comments, docstrings and layout. A module without a source at hand counts by
    its name. Code is read once in a process.

    Args:
        policy: the policy.
        others: further modules that decide.
    """
    names = {value.__module__ for value in functions_of(policy)} | {module.__name__ for module in others}
    code = "\n".join(f"{name} {_code(name)[0]}" for name in sorted(_with_imports(names)))
    return digest_of(f"{rule_of(policy)}\n{code}")


def _with_imports(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    left = set(names)
    while left:
        name = left.pop()
        found.add(name)
        left |= _code(name)[1] - found
    return found


@cache
def _code(name: str) -> tuple[str, frozenset[str]]:
    """A module's code, in a form of its own, and the modules of policies and search that it imports."""
    tree = ast.parse(_source(name) or "")
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    rules = {target for target in imported if target.startswith(_PACKAGES) and _source(target) is not None}
    return ast.dump(tree), frozenset(rules)


@cache
def _source(name: str) -> str | None:
    """A module's source; None where there is no such module, or no source of it."""
    try:
        spec = find_spec(name)
        source: str | None = spec.loader.get_source(name)  # type: ignore[union-attr]
    except (ImportError, AttributeError, ValueError):  # also: a name that a module defines; the program itself
        return None
    return source
