"""The compiled predictor: SAM 2's `SAM2VideoPredictorVOS` with a memory tree."""

from __future__ import annotations

from sam2.sam2_video_predictor import SAM2VideoPredictorVOS

from sam2long.predictor import SAM2LongVideoPredictor

# Batches of pathways are padded to these sizes. The components are compiled for fixed shapes, and torch.compile
# raises after 8 of them (SAM 2 asks for whole graphs), so a few sizes must serve any number of pathways and
# objects: one object needs only 1 and 3 at the paper's setting, five objects mostly 5 and 16.
BATCH_SIZES = (1, 3, 5, 8, 16, 32, 64)


class SAM2LongVideoPredictorVOS(SAM2LongVideoPredictor, SAM2VideoPredictorVOS):
    """`SAM2LongVideoPredictor` with all components compiled, as `SAM2VideoPredictorVOS` compiles them.

    The first frames of every new batch size are slow. With CUDA graphs the outputs of a component live in
    buffers that its next call writes again; what outlives a call is cloned, here and in SAM 2's class.
    """

    reuses_buffers = True

    def padded_batch_size(self, batch_size: int) -> int:
        """The smallest compiled batch size that holds `batch_size` rows."""
        return next((size for size in BATCH_SIZES if size >= batch_size), batch_size)
