"""The parts of the page that Gradio has no component for, as HTML; their clicks come back by way of `scripts`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sam2long.studio.objects import StudioObject, hex_of
from sam2long.studio.pictures import Picture
from sam2long.studio.steps import Box, Click, Step
from sam2long.studio.tracking import Progress

if TYPE_CHECKING:
    from sam2long.state.review import DoubtfulFrame

_REASONS = {
    "uncertain": "not sure whether it is visible",
    "close": "two answers were nearly equal",
    "parted": "the answers show different things",
    "reappeared": "it came back after it was hidden",
}
_MOST_DOUBTS = 24
WELCOME = (
    '<div class="s2l-stage s2l-empty"><div><b>Open a video to begin</b><br>'
    "Then click on what you want to follow.</div></div>"
)


def stage_html(picture: Picture, objects: Sequence[StudioObject], num_frames: int) -> str:
    """The frame, with the marks of this frame on it. Coordinates of clicks are in pixels of the video."""
    colors = {of.obj_id: hex_of(of.color) for of in objects}
    unit = max(picture.width, picture.height) / 100
    marks = "".join(_mark(step, colors.get(k, "#fff"), unit) for k, steps in picture.marks.items() for step in steps)
    head = 100 * (picture.frame_idx + 0.5) / max(num_frames, 1)
    return (
        f'<style>:root{{--s2l-head:{head:.3f}%}}</style><div class="s2l-stage" data-width="{picture.width}" '
        f'data-height="{picture.height}" data-frame="{picture.frame_idx}">'
        f'<img draggable="false" alt="frame {picture.frame_idx}" src="{picture.url}" '
        f'style="aspect-ratio:{picture.width}/{picture.height}">'
        f'<svg viewBox="0 0 {picture.width} {picture.height}" preserveAspectRatio="none">{marks}</svg>'
        '<div class="s2l-rubber"></div></div>'
    )


def _mark(step: Step, color: str, unit: float) -> str:
    if isinstance(step, Click):
        fill, arm = ("#22c55e", 0.55 * unit) if step.positive else ("#ef4444", 0.55 * unit)
        plus = f"M{step.x - arm} {step.y}H{step.x + arm}"
        plus += f"M{step.x} {step.y - arm}V{step.y + arm}" if step.positive else ""
        return (
            f'<circle cx="{step.x}" cy="{step.y}" r="{unit:.2f}" fill="{fill}" stroke="#fff" '
            f'stroke-width="{unit / 4:.2f}"/><path d="{plus}" stroke="#fff" stroke-width="{unit / 3.5:.2f}"/>'
        )
    if isinstance(step, Box):
        return (
            f'<rect x="{step.x0}" y="{step.y0}" width="{step.x1 - step.x0}" height="{step.y1 - step.y0}" fill="none" '
            f'stroke="{color}" stroke-width="{unit / 3:.2f}" stroke-dasharray="{unit} {unit / 2}"/>'
        )
    return ""


def objects_style(objects: Sequence[StudioObject]) -> str:
    """A swatch of its colour before the name of each object in the list."""
    rules = "".join(
        f"#s2l-objects label:nth-of-type({k + 1})::before{{background:{hex_of(of.color)}}}"
        for k, of in enumerate(objects)
    )
    hint = "" if objects else '<p class="s2l-hint">Nothing yet: your first click makes one.</p>'
    return f"<style>{rules}</style>{hint}"


def progress_html(progress: Progress | None, *, can_go_on: bool = False) -> str:
    """A bar and a sentence."""
    if progress is None:
        words = "Tracking was interrupted when this session was last open." if can_go_on else ""
        return f'<div class="s2l-progress"><p>{words}</p></div>' if words else ""
    share = 100 * progress.done / max(progress.total, 1)
    words = {
        "running": f"Frame {progress.done} of {progress.total}{_time_left(progress.seconds_left)}",
        "finished": f"Done: {progress.total} frames.",
        "stopped": f"Stopped after {progress.done} of {progress.total} frames. What was tracked is kept.",
        "failed": f"It ended early: {progress.error}. What was tracked is kept.",
    }[progress.outcome]
    return (
        f'<div class="s2l-progress s2l-{progress.outcome}"><div class="s2l-bar"><div style="width:{share:.1f}%"></div>'
        f"</div><p>{escape(words)}</p></div>"
    )


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f", about {minutes} min left" if minutes < 90 else f", about {minutes / 60:.1f} h left"


def review_html(name: str, doubts: Sequence[DoubtfulFrame], frame_idx: int, pictures: Sequence[Picture]) -> str:
    """The doubtful frames of an object, and of the present one the answers there were, side by side."""
    if not doubts:
        return f'<p class="s2l-hint">{escape(name)}: no frame was in doubt so far.</p>'
    chips = "".join(
        f'<button class="s2l-chip{" s2l-here" if doubt.frame_idx == frame_idx else ""}" '
        f'data-frame="{doubt.frame_idx}" title="{escape(_why(doubt.reasons))}">{doubt.frame_idx}</button>'
        for doubt in doubts[:_MOST_DOUBTS]
    )
    more = f" and {len(doubts) - _MOST_DOUBTS} less doubtful" if len(doubts) > _MOST_DOUBTS else ""
    listed = f'<p class="s2l-hint">{escape(name)} was in doubt on frames (most doubtful first){more}:</p>{chips}'
    here = next((doubt for doubt in doubts if doubt.frame_idx == frame_idx), None)
    if here is None or not pictures:
        hint = '<p class="s2l-hint">Choose a frame to see what else it could be.</p>'
        return f'<div class="s2l-review">{listed}{hint}</div>'
    cards = "".join(_card(k, picture) for k, picture in enumerate(pictures))
    return (
        f'<div class="s2l-review">{listed}<p class="s2l-why">Frame {frame_idx}: {escape(_why(here.reasons))}. '
        f"Which is {escape(name)}? Click the right one, then track again from here.</p>"
        f'<div class="s2l-cards">{cards}</div></div>'
    )


def _card(k: int, picture: Picture) -> str:
    now = '<span class="s2l-now">now</span>' if picture.is_answer else ""
    return (
        f'<button class="s2l-card{" s2l-answer" if picture.is_answer else ""}" data-choice="{k}">'
        f'<img draggable="false" alt="answer {k + 1}" src="{picture.url}"><span>{k + 1}: {picture.caption}</span>{now}'
        "</button>"
    )


def _why(reasons: Sequence[str]) -> str:
    return "; ".join(_REASONS.get(reason, reason) for reason in reasons)


def video_html(video: str, num_frames: int, size: tuple[int, int]) -> str:
    """What is open."""
    if not video:
        return ""
    facts = f"{num_frames} frames, {size[1]} x {size[0]} pixels"
    name = escape(Path(video).name)
    return f'<p class="s2l-video" title="{escape(video)}"><b>{name}</b><br>{facts}</p>'
