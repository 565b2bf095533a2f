"""What a person reads when something went wrong, or well."""

from __future__ import annotations

from typing import Any

import pytest

from sam2long.studio import telling

gradio = pytest.importorskip("gradio", reason="needs Gradio: pip install gradio")


@pytest.mark.parametrize(
    ("raised", "read"),
    [
        ("trunc.mp4 is cut short", "trunc.mp4 is cut short"),
        ("<img src=x>A has no\n marks", "&lt;img src=x&gt;A has no marks"),
        ("", "ValueError"),
    ],
)
def test_names_stay_as_they_are_in_errors(raised: str, read: str) -> None:
    def refuse() -> None:
        raise ValueError(raised)

    with pytest.raises(gradio.Error) as refused:
        telling.told(refuse)()
    assert refused.value.message == read


def test_names_are_no_html_in_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[Any] = []
    monkeypatch.setattr(gradio, "Info", lambda text, duration: notes.append((text, duration)))
    telling.say("Undone: renaming <b>A</b>.", 3)
    assert notes == [("Undone: renaming &lt;b&gt;A&lt;/b&gt;.", 3)]


def test_a_refusal_may_go_with_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(gradio, "Warning", warned.append)
    telling.say_why(OSError("<i>.mp4 is empty"))
    assert warned == ["&lt;i&gt;.mp4 is empty"]
