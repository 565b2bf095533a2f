"""Where everything is on the page: the video and its timeline at the left, five steps at the right, in their order."""

from __future__ import annotations

from typing import Any

from sam2long.studio import look, markup
from sam2long.studio.objects import MAX_NAME

FORMAT_NAMES = {
    "overlay": "Video with the masks drawn on (MP4)",
    "csv": "Table: area, centre, box (CSV)",
    "davis": "Masks, one picture a frame (PNG)",
    "per-object": "Masks, one folder an object (PNG)",
    "coco": "COCO (JSON)",
    "youtube-vos": "YouTube-VOS folder",
    "mot": "MOTChallenge boxes (TXT)",
    "mots": "MOTSChallenge masks (TXT)",
    "npz": "NumPy arrays (NPZ)",
    "cutout": "Objects cut out (transparent PNG)",
    "cutout-webm": "Objects cut out (transparent WebM)",
    "cutout-prores": "Objects cut out (transparent ProRes)",
}


class Layout:
    """The components, made inside an open `gradio.Blocks`.

    Attributes:
        outputs: all that may be updated.
        always: buttons that need a free predictor and nothing else.
        of_video: buttons that need an open video and a free predictor.
        of_objects: buttons that need an object and a free predictor.
        of_frames: buttons that need several frames.
    """

    def __init__(self, gr: Any) -> None:
        gr.HTML(
            '<div class="s2l-title-row"><h1>sam2long studio</h1><p>Show an object, follow it through the video, '
            "correct it where needed, take the result with you.</p></div>"
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=7, min_width=520):
                self._video_side(gr)
            with gr.Column(scale=3, min_width=330):
                self._open_step(gr)
                self._show_step(gr)
                self._track_step(gr)
                self._review_step(gr)
                self._export_step(gr)
        self.seen, self.clock = gr.State(""), gr.Timer(0.6)
        # Kept here and not read from the list: a list refuses a value that another event has just taken from it.
        self.chosen = gr.State(None)
        self.always = [self.open]
        self.of_video = [self.over, self.add, self.mask_file]
        self.of_objects = [self.remove, self.clear, self.backward, self.both, self.forward, self.export]
        self.of_frames = [self.back, self.next]
        self.outputs = [
            self.video, self.earlier, self.upload, self.stage, self.frame, self.objects, self.swatches, self.name,
            self.color, self.progress, self.timeline, self.legend, self.review, self.undo, self.go_on, self.stop,
            self.seen, self.chosen, self.follow, self.download, *self.always, *self.of_video,
            *self.of_objects, *self.of_frames,
        ]  # fmt: skip

    def _video_side(self, gr: Any) -> None:
        self.stage = gr.HTML(markup.WELCOME, elem_id="s2l-stage", js_on_load=look.STAGE_SCRIPT)
        with gr.Row(equal_height=True, elem_id="s2l-scrub"):
            self.back = gr.Button("◀", elem_id="s2l-back", min_width=44, scale=0, size="sm")
            self.frame = gr.Slider(
                0, 1, value=0, step=1, show_label=False, elem_id="s2l-frame", scale=8, buttons=[], interactive=False,
                container=False,
            )  # fmt: skip
            self.next = gr.Button("▶", elem_id="s2l-next", min_width=44, scale=0, size="sm")
            self.masks_on = gr.Checkbox(
                True, label="Masks", container=False, elem_id="s2l-masks", min_width=80, scale=0
            )
            self.follow = gr.Checkbox(
                True, label="Follow", container=False, elem_id="s2l-follow", min_width=80, scale=0
            )
        self.timeline = gr.HTML("", elem_id="s2l-timeline", js_on_load=look.TIMELINE_SCRIPT)
        self.legend = gr.HTML("", elem_classes="s2l-bare")
        self.review = gr.HTML("", elem_id="s2l-review", js_on_load=look.REVIEW_SCRIPT)

    @staticmethod
    def _heading(gr: Any, number: int, text: str) -> None:
        gr.HTML(f'<div class="s2l-step"><b>{number}</b>{text}</div>')

    def _open_step(self, gr: Any) -> None:
        with gr.Column(elem_classes="s2l-panel"):
            self._heading(gr, 1, "Open a video")
            self.video = gr.HTML("")
            with gr.Row(equal_height=True):
                self.path = gr.Textbox(
                    placeholder="Video or image folder", show_label=False, scale=5, max_lines=1,
                    elem_id="s2l-path", container=False,
                )  # fmt: skip
                self.open = gr.Button("Open", scale=1, min_width=80, elem_id="s2l-open", variant="primary")
            with gr.Accordion("Upload, or open earlier work", open=False):
                self.upload = gr.File(
                    label="A video, or the images of one", file_count="multiple", height=110, elem_id="s2l-upload"
                )
                self.earlier = gr.Dropdown([], label="Earlier work", value=None, elem_id="s2l-earlier")
                self.over = gr.Button(
                    "Forget the work on this video and start over", size="sm", variant="stop", elem_id="s2l-over"
                )
                self.sure = gr.Checkbox(False, visible=False)

    def _show_step(self, gr: Any) -> None:
        with gr.Column(elem_classes="s2l-panel"):
            self._heading(gr, 2, "Show what to follow")
            self.mode = gr.Radio(
                look.MODES, value=look.MODES[0], show_label=False, elem_id="s2l-mode", container=False, interactive=True
            )
            gr.HTML(look.HOW_TO)
            self.swatches = gr.HTML("")
            self.objects = gr.Radio([], label="Objects", show_label=False, elem_id="s2l-objects", container=False)
            with gr.Row(equal_height=True):
                self.name = gr.Textbox(
                    placeholder="Name", show_label=False, scale=4, elem_id="s2l-name", interactive=False, min_width=90,
                    container=False, submit_btn="Rename", max_lines=1, max_length=MAX_NAME,
                )  # fmt: skip
                self.color = gr.ColorPicker(show_label=False, scale=1, min_width=60, interactive=False, container=False)
            with gr.Row():
                self.add = gr.Button("Add object", size="sm", min_width=70, elem_id="s2l-add")
                self.remove = gr.Button("Remove", size="sm", min_width=70, elem_id="s2l-remove")
                self.clear = gr.Button("Clear frame", size="sm", min_width=70, elem_id="s2l-clear")
                self.undo = gr.Button("Undo", size="sm", min_width=70, elem_id="s2l-undo")
            self.mask_file = gr.UploadButton(
                "Use a mask file", size="sm", file_types=["image"], elem_id="s2l-mask-file"
            )

    def _track_step(self, gr: Any) -> None:
        with gr.Column(elem_classes="s2l-panel"):
            self._heading(gr, 3, "Track")
            gr.HTML('<p class="s2l-hint">From the frame you look at, through the rest of the video.</p>')
            with gr.Row():
                self.backward = gr.Button("◀ Backward", min_width=80, size="md", elem_id="s2l-backward")
                self.both = gr.Button("◀ Both ▶", min_width=80, size="md", elem_id="s2l-both")
                self.forward = gr.Button("Forward ▶", min_width=80, size="md", elem_id="s2l-forward", variant="primary")
            self.go_on = gr.Button("Go on where it was interrupted", visible=False, elem_id="s2l-go-on")
            self.stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="s2l-stop")
            self.progress = gr.HTML("", elem_id="s2l-progress")

    def _review_step(self, gr: Any) -> None:
        with gr.Column(elem_classes="s2l-panel"):
            self._heading(gr, 4, "Look through, and correct")
            gr.HTML(
                '<p class="s2l-hint">Orange marks below the video are frames in doubt: click one, choose the right '
                "answer, or click in the picture. Then track again from there.</p>"
            )

    def _export_step(self, gr: Any) -> None:
        with gr.Column(elem_classes="s2l-panel"):
            self._heading(gr, 5, "Export")
            self.formats = gr.CheckboxGroup(
                [(text, name) for name, text in FORMAT_NAMES.items()], value=["overlay", "csv"], show_label=False,
                elem_id="s2l-formats", container=False,
            )  # fmt: skip
            self.export = gr.Button("Export", variant="primary", elem_id="s2l-export")
            self.download = gr.DownloadButton("Download", visible=False, elem_id="s2l-download")
