"""The house: rooms import downwards only, no circles, names of one's own stay one's own, nothing is too long."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

HOUSE = ROOT / "sam2long"
# From the top floor down: a room imports from itself and from floors below it.
FLOORS = [
    ("__main__",),
    ("cli",),
    ("studio",),
    ("runner",),
    ("bench",),
    ("model_choice", "__init__"),
    ("build",),
    ("predictor", "model_config"),
    ("tracking",),
    ("state", "exports"),
    ("model", "views"),
    ("policies",),
    ("search",),
    ("config", "datasets"),
    ("evaluation", "frames", "synthetic", "resources", "files", "frame_bar", "precision", "weights_file"),
    ("child_process",),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(reversed(FLOORS)) for room in rooms}
# `from_pretrained` asks the builder, as sam2's does: inside the function alone.
UP = {("predictor.py", "build.py")}
# Names of other projects, which have no public one for it.
FOREIGN = {
    ("bench/launches.py", "_schema"),
    ("cli/evaluate.py", "_ArgumentGroup"),
    ("child_process.py", "_exit"),
    ("model/captures.py", "_forward_hooks"),
    ("model/captures.py", "_forward_pre_hooks"),
    ("model/captures.py", "_version"),
    ("model/graphs.py", "_C"),
    ("model/graphs.py", "_cuda_clearCublasWorkspaces"),
    ("model/graphs.py", "_foreach_copy_"),
}
# Who may name modules in strings: commands that are imported when they are asked for.
BY_NAME = {"cli/__init__.py", "cli/bench.py"}
# Their docstrings are longer than their code.
LONG_FUNCTIONS = {"build_sam2long_video_predictor", "init_state", "until_interrupted"}

SOURCES = {path.relative_to(HOUSE).as_posix(): path.read_text() for path in sorted(HOUSE.rglob("*.py"))}
MODULES = {module: ast.parse(source) for module, source in SOURCES.items()}


def room(module: str) -> str:
    """The package or top module that a file of the house belongs to."""
    return Path(module).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(file of the house, name taken from it or "") for all imports below a node, lazy and for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "sam2long":
                    yield module_of(alias.name.split(".")[1:]), ""
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                parts = f"{node.module}.{alias.name}".split(".")
                if parts[0] == "sam2long":
                    yield module_of(parts[1:]), alias.name


def module_of(parts: list[str]) -> str:
    """The file that `sam2long.<parts>` names, or in which that name is defined."""
    for end in range(len(parts), -1, -1):
        path = "/".join(parts[:end])
        for file in (f"{path}.py", f"{path}/__init__.py".removeprefix("/")):
            if file in MODULES:
                return file
    raise AssertionError(f"no module for sam2long.{'.'.join(parts)}")


def edges(module: str) -> set[str]:
    """The files that a file imports, but for the lazy import that may run up."""
    found = {target for target, _ in imported(MODULES[module])} - {module}
    top = [node for node in MODULES[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    at_the_top = {target for node in top for target, _ in imported(node)}
    return {target for target in found if target in at_the_top or (module, target) not in UP}


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} == FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    here = room(module)
    for target in edges(module):
        there = room(target)
        assert here == there or FLOOR_OF[there] < FLOOR_OF[here], f"{module} imports {target}, which is not below it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    seen: dict[str, int] = {}  # 1 while a module's imports are followed, 2 afterwards

    def follow(module: str, trail: tuple[str, ...]) -> None:
        if seen.get(module) == 1:
            pytest.fail(f"a circle: {' -> '.join((*trail[trail.index(module) :], module))}")
        if module in seen:
            return
        seen[module] = 1
        for target in sorted(edges(module)):
            follow(target, (*trail, module))
        seen[module] = 2

    for module in MODULES:
        follow(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_named_in_a_string(module: str) -> None:
    """`import_module` would hide an import from the tests above."""
    strings = [node.value for node in ast.walk(MODULES[module]) if isinstance(node, ast.Constant)]
    named = [text for text in strings if isinstance(text, str) and re.match(r"sam2long\.[a-z_]+(\.|$)", text)]
    assert not named or module in BY_NAME


@pytest.mark.parametrize("module", MODULES)
def test_names_with_an_underscore_are_their_owners(module: str) -> None:
    """`self._name` is; `other._name` is not: SAM 2's are called by the predictor's own classes, ours by nobody else."""
    for function in ast.walk(MODULES[module]):
        if isinstance(function, ast.ImportFrom):
            taken = [alias.name for alias in function.names if alias.name.startswith("_") and alias.name[1] != "_"]
            assert not taken or (function.module or "").split(".")[0] != "sam2long", f"{module} takes {taken}"
    owned = {id(node) for cls in ast.walk(MODULES[module]) if isinstance(cls, ast.ClassDef) for node in owned_in(cls)}
    for node in ast.walk(MODULES[module]):
        private = isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if private and (module, node.attr) not in FOREIGN:
            assert id(node) in owned, f"{module}:{node.lineno} {ast.unparse(node)}"


def owned_in(cls: ast.ClassDef) -> Iterator[ast.Attribute]:
    """Attributes of `self`, `cls`, `super()`, and of what a method makes by `cls.__new__(cls)`, in a class."""
    for method in cls.body:
        if not isinstance(method, ast.FunctionDef):
            continue
        made = {"self", "cls"}
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and ast.unparse(node.value) == "cls.__new__(cls)":
                made |= {ast.unparse(target) for target in node.targets}
        for node in ast.walk(method):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in made | {"super()"}:
                yield node


@pytest.mark.parametrize("package", sorted(path.parent.name for path in HOUSE.glob("*/__init__.py")))
def test_every_package_says_what_it_is(package: str) -> None:
    text = ast.get_docstring(MODULES[f"{package}/__init__.py"]) or ""
    assert len(re.findall(r"\.(?=\s|$)", text)) >= 2, "what lives here, what flows in and out, where to start reading"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_too_long(module: str) -> None:
    assert SOURCES[module].count("\n") <= 300
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            limit = 200 if isinstance(node, ast.ClassDef) else 60 if node.name in LONG_FUNCTIONS else 40
            assert size <= limit, f"{node.name} has {size} lines"
