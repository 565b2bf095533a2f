"""The house: packages import downwards only, modules in no circle, and nobody calls what another calls its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

HOUSE = ROOT / "sam2long"
# From the top floor down: a room imports from its own floor's package and from floors below it.
FLOORS = [
    ("__main__",),
    ("cli",),
    ("bench",),
    ("model_choice", "__init__"),
    ("build",),
    ("predictor",),
    ("tracking",),
    ("state",),
    ("model", "views"),
    ("search",),
    ("config",),
    ("frames", "synthetic", "resources", "files"),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(reversed(FLOORS)) for room in rooms}
# sam2's predictor asks its builder too.
UP = {("predictor", "build")}
# Names of other projects, which have no public one for it.
FOREIGN = {("bench/launches.py", "_schema")}

MODULES = {path.relative_to(HOUSE).as_posix(): ast.parse(path.read_text()) for path in sorted(HOUSE.rglob("*.py"))}


def room(module: str) -> str:
    """The package or top module that a file of the house belongs to."""
    return Path(module).parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules of the house that a file imports, lazily or for types too, as paths in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "sam2long":
                yield module_of(name.split(".")[1:])


def module_of(parts: list[str]) -> str:
    """The file that `sam2long.<parts>` names, or in which that name is defined."""
    for end in range(len(parts), -1, -1):
        path = "/".join(parts[:end])
        for file in (f"{path}.py", f"{path}/__init__.py".removeprefix("/")):
            if file in MODULES:
                return file
    raise AssertionError(f"no module for sam2long.{'.'.join(parts)}")


EDGES = {module: sorted(set(imported(tree)) - {module}) for module, tree in MODULES.items()}


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} == FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    here = room(module)
    for target in EDGES[module]:
        there = room(target)
        allowed = here == there or FLOOR_OF[there] < FLOOR_OF[here] or (here, there) in UP
        assert allowed, f"{module} imports {target}, which is not below it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    seen: dict[str, int] = {}  # 1 while a module's imports are followed, 2 afterwards

    def follow(module: str, trail: tuple[str, ...]) -> None:
        if seen.get(module) == 1:
            pytest.fail(f"a circle: {' -> '.join((*trail[trail.index(module) :], module))}")
        if module in seen:
            return
        seen[module] = 1
        for target in EDGES[module]:
            if (room(module), room(target)) not in UP and not target.endswith("__init__.py"):
                follow(target, (*trail, module))
        seen[module] = 2

    for module in MODULES:
        follow(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_names_with_an_underscore_are_their_owners(module: str) -> None:
    """`self._name` is; `other._name` is not: SAM 2's are called by the predictor's own classes, ours by nobody else."""
    for node in ast.walk(MODULES[module]):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        owner = node.value
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
        inherited = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
        inside = isinstance(owner, ast.Name) and is_made_here(MODULES[module], node, owner.id)
        assert own or inherited or inside or (module, node.attr) in FOREIGN, (
            f"{module}:{node.lineno} {ast.unparse(node)}"
        )


def is_made_here(tree: ast.Module, use: ast.Attribute, name: str) -> bool:
    """Whether the use lies in a class method that makes `name` as an instance of its own class (`cls.__new__(cls)`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.lineno <= use.lineno <= (node.end_lineno or 0):
            for statement in ast.walk(node):
                if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                    target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
                    if isinstance(target, ast.Name) and target.id == name and "cls" in ast.unparse(statement.value):
                        return True
    return False


@pytest.mark.parametrize("package", sorted(path.parent.name for path in HOUSE.glob("*/__init__.py")))
def test_every_package_says_what_it_is(package: str) -> None:
    text = ast.get_docstring(MODULES[f"{package}/__init__.py"]) or ""
    assert len(re.findall(r"\.(?=\s|$)", text)) >= 2, "what lives here, what flows in and out, where to start reading"
