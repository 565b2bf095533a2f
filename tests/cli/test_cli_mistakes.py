"""Mistakes on the command line, in files and in an installation: one line each, and nothing is dropped silently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2long.cli import main
from sam2long.frames import open_frames
from sam2long.model_choice import official_name
from sam2long.resources import resource_dir


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "video").mkdir()
    for t in range(3):
        Image.new("RGB", (40, 30), (9 * t, 0, 0)).save(tmp_path / "video" / f"{t}.png")
    for name in ("a", "b"):
        Image.fromarray(np.pad(np.full((10, 10), 255, np.uint8), ((10, 10), (10, 20)))).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(list(command)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "embedded model tracks" not in line]
    assert line.startswith("sam2long: error: ")
    return line


TRACK = ("track", "video", "-o", "out")


@pytest.mark.parametrize(
    "twice",
    [
        ("--box", "1,1,9,9", "--box", "2,2,9,9"),
        ("--mask", "a.png", "--mask", "b.png"),
        ("--box", "1,1,9,9", "--frame", "1", "--frame", "2"),
        ("--box", "1,1,9,9", "--obj-id", "1", "--obj-id", "2"),
    ],
)
def test_an_option_given_twice_is_refused(
    twice: tuple[str, ...], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_of(capsys, *TRACK, *twice)
    assert f"argument {twice[-2]}: given twice" in line
    assert "--prompts FILE.json" in line
    assert not (work / "out").exists()


def test_options_that_contradict_each_other_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(capsys, *TRACK, "--point", "3,4", "--precision", "bf16", "--fp32")
    assert "given twice, as bf16 and fp32" in line
    line = error_of(capsys, "demo", "-o", "one", "-o", "two")
    assert "argument -o/--out: given twice, as one and two: give one" in line


def test_the_same_value_twice_is_no_contradiction(work: Path) -> None:
    assert main([*TRACK, *2 * ("--box", "5,5,20,20"), *2 * ("--fp32", "--frame", "1"), "--preview"]) == 0


def test_empty_paths_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "video's path is empty" in error_of(capsys, "track", "", "-o", "out", "--point", "3,4")
    assert "argument -o/--out: a path is empty" in error_of(capsys, "track", "video", "-o", "", "--point", "3,4")
    with pytest.raises(ValueError, match="path is empty"):
        open_frames("")


@pytest.mark.parametrize("option", ["-o", "--checkpoint", "--mask", "--prompts"])
def test_names_that_are_too_long(option: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = () if option in ("--mask", "--prompts") else ("--point", "3,4")
    line = error_of(capsys, *TRACK[: 2 if option == "-o" else 4], *prompt, option, 300 * "x")
    assert 300 * "x" in line


def test_a_folder_that_may_not_be_entered(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)  # permissions bind no superuser
    assert "error: out: Permission denied" in error_of(capsys, *TRACK, "--point", "3,4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"frame": 0, "obj_id": 1, "mask": "\\u0000"}]', "[0].mask: expected the path of an image"),
        (b'[{"frame": 0, "obj_id": 1, "mask": ""}]', "[0].mask: expected the path of an image"),
        (200_000 * b"[", "nested too deeply"),
        ('[{"frame": 0}]'.encode("utf-16"), "not text in UTF-8"),
    ],
)
def test_prompt_files(content: bytes, message: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "prompts.json").write_bytes(content)
    assert message in error_of(capsys, *TRACK, "--prompts", "prompts.json")


@pytest.mark.parametrize(
    ("text", "message"), [("", "describes no model"), ("a: [1", "no YAML"), ("model: 1", "describes no model")]
)
def test_configs(text: str, message: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "mine.yaml").write_text(text)
    checkpoint = str(resource_dir("checkpoints") / "demo.pt")
    line = error_of(capsys, *TRACK, "--point", "3,4", "--config", "mine.yaml", "--checkpoint", checkpoint)
    assert message in line


def test_values_that_begin_with_a_dash(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ((*TRACK, "--point", "-1,5"), (*TRACK, "--frames", "-4:-1"), ("track", "-v.mp4", "-o", "out")):
        assert "is given with =, a file of such a name as ./-name" in error_of(capsys, *command)


@pytest.mark.parametrize(
    ("missing", "command", "message"),
    [
        ("omegaconf yaml numpy PIL torch sam2 hydra tqdm", "--version", None),
        ("omegaconf yaml numpy PIL torch sam2 hydra tqdm", "--help", None),
        ("torch", "track video -o out --point 3,4", "torch is not installed: pip install torch"),
        ("omegaconf", "track video -o out --point 3,4 --tree paper", "omegaconf is not installed: pip install"),
        ("sam2", "track video -o out --point 3,4", "sam2 is not installed: pip install sam2"),
        ("hydra", "track video -o out --point 3,4", "hydra is not installed: pip install hydra-core"),
        ("PIL", "track video -o out --point 3,4", "PIL is not installed: pip install pillow"),
    ],
)
def test_what_is_not_installed_is_named(missing: str, command: str, message: str | None, work: Path) -> None:
    program = f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from sam2long.cli import main
sys.exit(main({command.split()!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == (0 if message is None else 2), done.stderr
    assert "Traceback" not in done.stderr
    assert message is None or message in done.stderr


def test_interrupted_while_modules_load(work: Path) -> None:
    program = """
import sys
from importlib.abc import MetaPathFinder
class Slow(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Slow())
from sam2long.cli import main
sys.exit(main(["track", "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (130, "sam2long: interrupted\n")


def test_messages_name_the_mend(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    click = (*TRACK, "--point", "3,4")
    for size in ("0", "-32", "100", "100000"):
        assert "must be a multiple of 32, from 32 to 4096" in error_of(capsys, *click, "--image-size", size)
    for spelling in ("sam2.1_hiera_large", "sam2.1-hiera-large.pt", "weights/sam2.1_hiera_large.pt"):
        assert "sam2long download sam2.1_hiera_large" in error_of(capsys, *click, "--checkpoint", spelling)
    (work / "words.yaml").write_text("root:x:0:0 " * 99)
    assert len(error_of(capsys, *click, "--tree", "words.yaml")) < 400
    (work / "half.pt").write_bytes((resource_dir("checkpoints") / "demo.pt").read_bytes()[:9000])
    line = error_of(capsys, *click, "--config", "demo", "--checkpoint", "half.pt")
    assert "is no file of tensors that PyTorch can read: it is cut off, damaged" in line


def test_files_in_the_place_of_a_video(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    click = ("-o", "out", "--point", "3,4")
    (work / "lfs.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n")
    assert "it is a Git LFS pointer" in error_of(capsys, "track", "lfs.mp4", *click)
    (work / "page.mp4").write_text("<!DOCTYPE html><html></html>")
    assert "it is a web page" in error_of(capsys, "track", "page.mp4", *click)
    (work / "link.mp4").symlink_to(work / "nowhere.mp4")
    assert "link.mp4 is a link that leads nowhere" in error_of(capsys, "track", "link.mp4", *click)
    assert "link.mp4 is a link that leads nowhere" in error_of(
        capsys, "track", "video", "-o", "link.mp4", "--point", "3,4"
    )


def test_a_run_can_be_made_again_from_its_own_record(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRACK, "--box", "5,5,20,20", "--frame", "2", "--no-overlay"]) == 0
    assert "nothing comes after frame 2, the last: --direction backward or both" in capsys.readouterr().err
    again = ("track", "video", "-o", "again", "--prompts", "out/run.json", "--no-overlay", "--quiet")
    assert main([*again]) == 0
    assert [path.name for path in (work / "again" / "masks").iterdir()] == ["2.png"]
    (work / "other.json").write_text('{"settings": {}}')
    assert "expected a list" in error_of(capsys, *TRACK[:3], "third", "--prompts", "other.json")


@pytest.mark.parametrize(
    "spelling", ["sam2.1_hiera_tiny", "sam2.1_hiera_tiny.pt", "sam2.1-hiera-tiny", "facebook/sam2.1-hiera-tiny"]
)
def test_spellings_of_checkpoints(spelling: str) -> None:
    assert official_name(spelling) == "sam2.1_hiera_tiny"
