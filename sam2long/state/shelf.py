"""Long-lived bytes side by side in blocks of their own."""

from __future__ import annotations

_BLOCK_BYTES = 1 << 20


class Shelf:
    """Keeps small things for long.

    Left where the allocator puts them, between large tensors that come and go, each would pin a hole in the heap
    that is too small for the next tensor: resident memory then grows by many times what is kept.
    """

    def __init__(self) -> None:
        self._block = memoryview(b"")
        self._used = 0

    def __reduce__(self) -> tuple[type[Shelf], tuple[()]]:
        return Shelf, ()  # a copied or pickled shelf begins anew; what lies on it is copied with its owner

    def put(self, data: bytes) -> memoryview:
        """A copy of `data`; its block is freed with the last copy in it."""
        if self._used + len(data) > len(self._block):
            self._block, self._used = memoryview(bytearray(max(_BLOCK_BYTES, len(data)))), 0
        place = self._block[self._used : self._used + len(data)]
        place[:] = data
        self._used += len(data)
        return place
