"""Operations and bytes of one tracked frame, stage by stage, and the bound they set on the tree's frame rate.

    python bench/floor.py            prints the tables of bench/README.md

Counted on the real modules with PyTorch's flop counter, on tensors without data (device "meta"), at steady
state: one conditioning frame, six recent memories, sixteen object pointers. The second table counts the kernels that
a frame launches, which do not depend on the image's size: it tracks small images on the CPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from sam2long import SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.bench.launches import LONG_PASS, UncountedGraph, launches_per_frame
from sam2long.bench.speed_models import Contestant, SpeedModels

os.environ.setdefault("TQDM_DISABLE", "1")
MODELS = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}
NUM_POINTERS = 16


@dataclass(frozen=True)
class Floor:
    """Gflop per frame: of the image encoder, and per pathway of the three stages that follow."""

    encoder: float
    attention: float
    decoder: float
    memory_encoder: float

    @property
    def per_pathway(self) -> float:
        return self.attention + self.decoder + self.memory_encoder

    def ratio(self, num_pathways: int, num_objects: int = 1) -> float:
        """Frame rate over SAM 2's if time were operations: both encode the image once per frame."""
        sam2 = self.encoder + num_objects * self.per_pathway
        return sam2 / (self.encoder + num_objects * num_pathways * self.per_pathway)


def gigaflops(function: torch.nn.Module, *args: object, **kwargs: object) -> float:
    with FlopCounterMode(display=False) as counter:
        function(*args, **kwargs)
    return float(counter.get_total_flops()) / 1e9


def measure(size: str) -> tuple[Floor, int]:
    """Floor of a model size, and the bytes of memory that one pathway attends to (bfloat16)."""
    # the modules' constants are made on the CPU; nothing is computed there
    model: SAM2LongVideoPredictor = build_sam2long_video_predictor(
        f"configs/sam2.1/sam2.1_hiera_{size}.yaml", device="cpu"
    )
    model = model.to("meta")
    channels, tokens = model.hidden_dim, model.sam_image_embedding_size**2
    memory_tokens = model.num_maskmem * tokens
    pointer_tokens = NUM_POINTERS * channels // model.mem_dim
    side = model.sam_image_embedding_size

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, device="meta")

    memory = empty(memory_tokens + pointer_tokens, 1, model.mem_dim)
    feature = empty(tokens, 1, channels)
    high_res = [empty(1, channels // 8, 4 * side, 4 * side), empty(1, channels // 4, 2 * side, 2 * side)]
    with torch.no_grad():
        floor = Floor(
            encoder=gigaflops(model.image_encoder, empty(1, 3, model.image_size, model.image_size)),
            attention=gigaflops(
                model.memory_attention,
                curr=[feature],
                curr_pos=[feature],
                memory=memory,
                memory_pos=memory,
                num_obj_ptr_tokens=pointer_tokens,
            ),
            decoder=gigaflops(
                model.sam_mask_decoder,
                image_embeddings=empty(1, channels, side, side),
                image_pe=empty(1, channels, side, side),
                sparse_prompt_embeddings=empty(1, 2, channels),
                dense_prompt_embeddings=empty(1, channels, side, side),
                multimask_output=True,
                repeat_image=False,
                high_res_features=high_res,
            ),
            memory_encoder=gigaflops(
                model.memory_encoder,
                empty(1, channels, side, side),
                empty(1, 1, model.image_size, model.image_size),
                skip_mask_sigmoid=True,
            ),
        )
    return floor, memory.numel() * 2


def launch_table() -> None:
    kinds = [Contestant(0, "sam2"), Contestant(3, "shared"), Contestant(3, "distinct")]
    kinds += [Contestant(3, "shared", "captured"), Contestant(3, "distinct", "captured")]
    columns = [(kind, num_objects) for num_objects in (1, 5) for kind in kinds]
    print("| model | " + " | ".join(f"{c.name}, {n} object{'s' * (n > 1)}" for c, n in columns) + " |")
    print("|" + "---|" * (1 + len(columns)))
    for name, size in MODELS.items():
        models = SpeedModels(
            f"configs/sam2.1/sam2.1_hiera_{size}.yaml",
            None,
            torch.device("cpu"),
            num_frames=LONG_PASS + 2,
            overrides=["++model.image_size=128"],
            graphs=UncountedGraph,
        )
        kernels = [launches_per_frame(models, contestant, num_objects).kernels for contestant, num_objects in columns]
        print(f"| {name} | " + " | ".join(f"{count:.0f}" for count in kernels) + " |", flush=True)


def main() -> None:
    print("| model | encoder | attention | decoder | memory encoder | memory read | P=2 | P=3 | P=4 | P=3, 5 objects |")
    print("|" + "---|" * 10)
    for name, size in MODELS.items():
        floor, memory_bytes = measure(size)
        stages = [floor.encoder, floor.attention, floor.decoder, floor.memory_encoder]
        ratios = [floor.ratio(2), floor.ratio(3), floor.ratio(4), floor.ratio(3, 5)]
        cells = [
            name,
            *(f"{value:.0f}" for value in stages),
            f"{memory_bytes / 2**20:.1f} MiB",
            *(f"{r:.2f}" for r in ratios),
        ]
        print("| " + " | ".join(cells) + " |")
    print()
    launch_table()


if __name__ == "__main__":
    main()
