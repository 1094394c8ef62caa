"""Hard faces shown again: which faces of a side have the highest recent loss, in a few kilobytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

HARDEST = 0.1
"""The share of the faces whose loss is known that counts as hard."""

MOST = 4096
"""Hard faces that are remembered at most, so that the state of a faceset of a million stays small."""

LEAST = 8
"""Fewer hard faces than this are not shown again: they would be learned by heart."""

LATEST = 0.5
"""How much the newest loss of a face counts beside its earlier ones; how a face is bent makes it easier or harder."""


class HardFaces:
    """The hardest faces of one side. Nothing in it is random, so that its state is what was noted.

    count: how many faces the side has.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._noted = 0
        self._faces: NDArray[np.int64] = np.empty(0, np.int64)
        self._losses: NDArray[np.float32] = np.empty(0, np.float32)

    def note(self, faces: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Learn the losses of faces that were just shown: (B,) numbers and (B,) losses, later ones counting."""
        before = dict(zip(self._faces.tolist(), self._losses.tolist(), strict=True))
        for face, loss in zip(faces.tolist(), losses.tolist(), strict=True):
            before[face] = loss if face not in before else (1 - LATEST) * before[face] + LATEST * loss
        self._noted = min(self.count, self._noted + len(faces))
        known = np.array(list(before), np.int64)
        values = np.array(list(before.values()), np.float32)
        hardest = np.lexsort((known, -values))[: max(LEAST, self.limit)]  # equal losses: the face that comes first
        self._faces, self._losses = known[hardest], values[hardest]

    @property
    def limit(self) -> int:
        """How many faces count as hard by now."""
        return min(MOST, int(HARDEST * self._noted))

    @property
    def ready(self) -> bool:
        """Whether enough is known to show hard faces again."""
        return self.limit >= LEAST or (self._noted == self.count and len(self._faces) > 0)

    def draw(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        """`count` of the hard faces, each of them equally likely."""
        return chance.choice(self._faces, count)

    def state_dict(self) -> dict[str, Any]:
        """At most 48 kB of numbers."""
        return {"noted": self._noted, "faces": self._faces.astype(np.int32), "losses": self._losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, with the same faces."""
        self._noted = int(state["noted"])
        self._faces = np.asarray(state["faces"], np.int64)
        self._losses = np.asarray(state["losses"], np.float32)
