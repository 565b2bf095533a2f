"""What is installed and what is published: every package, and all that the tests need."""

from __future__ import annotations

import re
import subprocess

import pytest
from support import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_package_is_installed() -> None:
    """One that is missing from the list is missing from wheels, and no test that runs in a checkout would tell."""
    listed = set(re.findall(r'^    "(sam2long[.\w]*)",$', PYPROJECT, re.MULTILINE))
    there = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("sam2long/**/__init__.py")
    }
    assert listed == there | {"sam2long.configs", "sam2long.checkpoints"}


def test_a_source_distribution_holds_what_is_tracked() -> None:
    """`MANIFEST.in` names every folder of the repository and every document at its top."""
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True)
    if listing.returncode or not listing.stdout:
        pytest.skip("not a git checkout")
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    grafted = {*re.findall(r"^graft (\S+)$", manifest, re.MULTILINE), "sam2long"}
    included = re.findall(r"^include (.+)$", manifest, re.MULTILINE)
    # setuptools takes these by itself
    files = {"README.md", "LICENSE", "pyproject.toml", "MANIFEST.in", *" ".join(included).split()}
    for name in listing.stdout.splitlines():
        top, _, inside = name.partition("/")
        if not top.startswith("."):
            assert top in (grafted if inside else files), name
