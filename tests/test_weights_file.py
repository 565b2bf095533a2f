"""What stands where a checkpoint should is named for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import GOLDEN, build_golden

from sam2long.cli import main
from sam2long.resources import resource_dir
from sam2long.weights_file import require_weights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 898083611\n"
SAFETENSORS = (60).to_bytes(8, "little") + b'{"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page"),
        (b"\xef\xbb\xbf<html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (POINTER, "is a Git LFS pointer.*git lfs pull"),
        (SAFETENSORS, "is in safetensors format"),
        (b'{"error": "not found"}', "is text, which begins with"),
        (b"Access to this resource is restricted", "is text, which begins with 'Access to"),
    ],
)
def test_it_is_named(content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"sam2\.1_hiera_tiny\.pt is no checkpoint: it {message}"):
        build_golden(ckpt_path=path)
    command = ["track", str(tmp_path), "--point", "1,1", "-o", str(tmp_path / "out"), "--checkpoint", str(path)]
    assert main(command) == 2
    assert "is no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_checkpoints_of_both_formats_pass(tmp_path: Path) -> None:
    require_weights(GOLDEN / "model.pt")
    require_weights(resource_dir("checkpoints") / "demo.pt")
    torch.save({"model": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    require_weights(tmp_path / "old.pt")
