"""Learning-rate dropout: which elements' updates a step keeps, drawn anew for every element and step."""

from __future__ import annotations

import torch
from torch import Tensor

TABLE = 1 << 19
"""Bytes in the shorter table of a processor; no more elements can be asked for at once."""


class Dropout:
    """Keeps a share of updates in steps of 1/256; 0.3 is 77/256, which is the reference's own 308/1024.

    On a processor an element's byte is the sum, modulo 256, of one from each of two tables, which lie against each
    other in another way for every call of a step: each byte is uniform, any two are independent, and 38 million of
    them cost as many additions instead of as many draws, which torch makes on one core (30 ms).
    """

    def __init__(self, device: torch.device, share: float, seed: int) -> None:
        self.share = share
        self.generator = torch.Generator(device).manual_seed(seed)
        self._turn = 0
        self._table: Tensor | None = None
        self._bytes = torch.empty(0, dtype=torch.uint8)

    @property
    def of_256(self) -> int:
        """How many of 256 updates are kept."""
        return round(self.share * 256)

    def begin(self) -> None:
        """Start a step: the random state before this call decides everything that the step draws."""
        self._turn = 0
        if self.of_256 == 256 or self.generator.device.type != "cpu":
            return
        if self._table is None:
            self._table, self._bytes = torch.empty(3 * TABLE // 8, dtype=torch.int64), self._bytes.new_empty(TABLE)
        self._table.random_(torch.iinfo(torch.int64).min, None, generator=self.generator)  # all 64 bits

    def draw(self, name: str, start: int, out: Tensor) -> None:
        """Fill the flat float32 `out` with 1 where an update is kept, else 0: elements of `name` from `start` on."""
        if self._table is None:
            out.random_(0, 256, generator=self.generator).lt_(self.of_256)
            return
        count = out.numel()
        self._turn += 1
        table, other = self._table.view(torch.uint8), TABLE + self._turn * 6007 % TABLE
        drawn = torch.add(table[:count], table[other : other + count], out=self._bytes[:count])
        out.copy_(drawn.lt_(self.of_256))
