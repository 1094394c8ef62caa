"""How far training is, as one record, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Ended(StrEnum):
    """Why a training ended: at its target iteration, because nothing got better any more, or on request."""

    TARGET = "target"
    PLATEAU = "plateau"
    STOPPED = "stopped"


@dataclass(frozen=True)
class TrainState:
    """How far training is. images: faces of each side seen, so that runs of different batch sizes compare."""

    iteration: int = 0
    images: int = 0

    def after(self, batch_size: int) -> TrainState:
        return replace(self, iteration=self.iteration + 1, images=self.images + batch_size)

    def reached(self, target_iter: int) -> bool:
        """Whether a target is set and met."""
        return 0 < target_iter <= self.iteration

    def due(self, every: int) -> bool:
        """Whether something that happens every so many iterations (0: never) happens now."""
        return every > 0 and self.iteration % every == 0
