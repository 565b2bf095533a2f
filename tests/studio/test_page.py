"""The page in a browser: open, show, track, correct, export, reload; and what it answers without one."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_support import finished

from sam2long.cli.demo import CLIP
from sam2long.model_choice import embedded_model
from sam2long.studio import Studio
from sam2long.studio.steps import Click

pytest.importorskip("gradio", reason="needs Gradio: pip install gradio")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.*")

# Nothing in it may ask for anything from outside.
_BROWSER = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Studio, str]]:
    """The demo clip in a studio with the embedded model, and the address of its page."""
    from sam2long.studio.server import Server

    studio = Studio(embedded_model("cpu").build(), tmp_path / "sessions")
    studio.open(str(CLIP))
    server = Server(studio)
    yield studio, server.url
    server.close()
    studio.close()


@pytest.fixture
def page(served: tuple[Studio, str]) -> Iterator[Any]:
    """The page in Chromium; requests that leave this machine are kept in `page.foreign`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=_BROWSER)
        page = browser.new_page(viewport={"width": 1500, "height": 1050}, accept_downloads=True)
        page.set_default_timeout(120_000)  # a busy machine is slow
        page.foreign = []
        at_home = (served[1], "data:", "blob:")
        page.on("request", lambda asked: asked.url.startswith(at_home) or page.foreign.append(asked.url))
        page.goto(served[1])
        page.wait_for_selector(".s2l-stage img")
        yield page
        browser.close()


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """A pixel of the clip (256 x 256) on the screen."""
    box = page.locator(".s2l-stage img").bounding_box()
    return box["x"] + x / 256 * box["width"], box["y"] + y / 256 * box["height"]


def test_a_person_shows_tracks_corrects_exports_and_reloads(
    served: tuple[Studio, str], page: Any, tmp_path: Path
) -> None:
    studio, _ = served
    page.mouse.move(*place(page, 116, 101))
    page.mouse.down()
    page.mouse.move(*place(page, 184, 170), steps=4)
    page.mouse.up()
    page.wait_for_selector(".s2l-stage svg rect")
    (shown,) = studio.objects()[0].shown[0]
    assert [round(value) for value in (shown.x0, shown.y0, shown.x1, shown.y1)] == [116, 101, 184, 170]
    page.mouse.click(*place(page, 150, 135))
    page.wait_for_selector(".s2l-stage svg circle")
    page.mouse.click(*place(page, 20, 20), button="right")
    page.wait_for_function("document.querySelectorAll('.s2l-stage svg circle').length == 2")
    assert [step.positive for step in studio.objects()[0].shown[0][1:]] == [True, False]
    page.click("#s2l-undo")
    page.wait_for_function("document.querySelectorAll('.s2l-stage svg circle').length == 1")

    page.click("#s2l-forward")
    page.wait_for_selector(".s2l-finished")
    finished(studio)
    page.wait_for_selector('.s2l-stage[data-frame="31"]')  # it followed
    assert page.locator(".s2l-curve").count() == 3

    doubt = studio.doubtful(1)[0]
    page.locator(".s2l-chip").first.click()
    page.wait_for_selector(f'.s2l-chip.s2l-here[data-frame="{doubt.frame_idx}"]')  # the cards before are of another
    page.wait_for_selector(f'.s2l-stage[data-frame="{doubt.frame_idx}"]')
    assert page.locator(".s2l-card").count() == doubt.num_alternatives
    choice = page.locator(".s2l-card:not(.s2l-answer)").first.get_attribute("data-choice")
    page.click(f'.s2l-card[data-choice="{choice}"]')
    page.wait_for_selector(f'.s2l-answer[data-choice="{choice}"]')
    assert set(studio.objects()[0].shown) == {0, doubt.frame_idx}
    page.click("#s2l-forward")
    page.wait_for_function(
        f"document.querySelector('.s2l-progress')?.innerText.includes('Done: {32 - doubt.frame_idx}')"
    )

    page.click("#s2l-export")
    with page.expect_download() as download:
        page.locator("#s2l-download").click()
    assert download.value.suggested_filename == "demo-sam2long.zip"
    download.value.save_as(tmp_path / "taken.zip")
    with zipfile.ZipFile(tmp_path / "taken.zip") as archive:
        assert archive.testzip() is None
        assert {"overlay.mp4", "objects.csv"} <= set(archive.namelist())

    page.reload()
    page.wait_for_selector(".s2l-object")
    assert page.locator("#s2l-objects label").all_inner_texts() == ["Object 1"]
    assert page.locator(".s2l-finished").count() == 1
    assert page.foreign == []


def test_messages_reach_the_person(served: tuple[Studio, str], page: Any) -> None:
    page.locator("#s2l-path input, #s2l-path textarea").fill("/nowhere/x.mp4")
    page.click("#s2l-open")
    page.wait_for_selector("text=There is no file or folder /nowhere/x.mp4")
    assert page.locator(".s2l-stage img").count() == 1, "the clip is still open"


def test_a_good_upload_after_a_refused_one(served: tuple[Studio, str], page: Any, tmp_path: Path) -> None:
    studio, _ = served
    studio.show(None, 0, Click(150, 135))
    page.click("#s2l-export")
    page.wait_for_selector("#s2l-download")
    (tmp_path / "cut.mp4").write_bytes(CLIP.read_bytes()[:2000])
    page.locator("text=Upload, or open earlier work").click()
    page.locator("#s2l-upload input[type=file]").set_input_files(tmp_path / "cut.mp4")
    page.wait_for_selector(".toast-body")
    assert "cut.mp4" in page.locator(".toast-body").inner_text()
    shutil.copy(CLIP, tmp_path / "whole.mp4")
    page.locator("#s2l-upload input[type=file]").set_input_files(tmp_path / "whole.mp4")
    page.wait_for_selector(".s2l-video >> text=whole.mp4")
    page.wait_for_selector("#s2l-download", state="hidden")  # it was of the video before


def test_what_cannot_be_done_yet_cannot_be_pressed(served: tuple[Studio, str], page: Any) -> None:
    assert not any(page.locator(f"#s2l-{name}").is_enabled() for name in ("export", "forward", "remove", "undo"))
    assert page.locator("#s2l-name input").get_attribute("maxlength") == "60"
    page.mouse.click(*place(page, 150, 135))
    page.wait_for_selector("#s2l-export:enabled")
    page.click("#s2l-forward")
    page.wait_for_selector("#s2l-open:disabled")
    page.wait_for_selector(".s2l-finished")
    page.wait_for_selector("#s2l-open:enabled")
    for _ in range(10):  # a press while the page is still being told of the end may be for nothing
        if not served[0].objects():
            break
        page.click("#s2l-undo")
        page.wait_for_timeout(500)
    page.wait_for_selector(".s2l-finished", state="detached")  # nothing is left of it


def test_starting_over_asks_first(served: tuple[Studio, str], page: Any) -> None:
    page.click("#s2l-add")
    page.wait_for_selector("#s2l-objects label")
    page.locator("text=Upload, or open earlier work").click()
    answers = iter([False, True])
    page.on("dialog", lambda asked: asked.accept() if next(answers) else asked.dismiss())
    page.click("#s2l-over")
    page.click("#s2l-add")  # answered in their order
    page.wait_for_function("document.querySelectorAll('#s2l-objects label').length == 2")
    page.click("#s2l-over")
    page.wait_for_function("document.querySelectorAll('#s2l-objects label').length == 0")
    assert served[0].objects() == []


def test_it_listens_on_this_machine_alone(served: tuple[Studio, str]) -> None:
    assert served[1].startswith("http://127.0.0.1:")
