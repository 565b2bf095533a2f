"""Published numbers to compare with: those of the SAM2Long paper. None of them was measured with this library.

SAM2Long (Ding et al., arXiv 2410.16268, version 3): tables 1, 4 and 5. For SAM 2 Large on LVOS v2 the paper has 85.4,
its project page 85.2: the table's value is kept.
"""

from __future__ import annotations

METHODS = ("SAM 2", "SAM2Long")
SOURCE = "SAM2Long, arXiv 2410.16268 v3"

_TABLE_1 = {
    "SAM 2 Tiny": ((73.5, 77.0), (74.6, 78.7), (77.8, 81.4)),
    "SAM 2 Small": ((73.0, 77.7), (74.6, 78.1), (79.7, 83.2)),
    "SAM 2 Base+": ((75.4, 78.4), (74.6, 78.5), (80.2, 82.3)),
    "SAM 2 Large": ((76.3, 80.8), (75.5, 80.8), (83.0, 85.4)),
    "SAM 2.1 Tiny": ((75.1, 78.9), (76.3, 79.0), (81.6, 82.4)),
    "SAM 2.1 Small": ((76.9, 79.6), (76.9, 80.4), (82.1, 84.3)),
    "SAM 2.1 Base+": ((78.0, 80.5), (77.7, 80.8), (83.1, 85.2)),
    "SAM 2.1 Large": ((78.6, 81.1), (79.6, 81.2), (84.0, 85.3)),
}
_COLUMNS = ("SA-V val", "SA-V test", "LVOS v2")

# checkpoint -> dataset -> J&F (of the box benchmarks: success or AO) of SAM 2 and of SAM2Long.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    weights: dict(zip(_COLUMNS, row, strict=True)) for weights, row in _TABLE_1.items()
}
PUBLISHED["SAM 2.1 Large"] |= {
    "LVOS v1": (80.2, 83.4),
    "PUMaVOS": (81.1, 82.4),
    "VOST": (53.1, 54.0),
    "MOSE": (74.5, 75.2),
    "YouTube-VOS 2019": (88.7, 88.8),
    "DAVIS 2017": (90.1, 90.2),
    "LaSOT": (70.0, 73.9),
    "LaSOText": (56.9, 60.9),
    "GOT-10k": (80.7, 81.1),
}
