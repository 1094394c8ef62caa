"""Losses on their way from the device to the history of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from understudy.errors import TrainingDiverged
from understudy.training.history import History
from understudy.training.learning.learner import GRADIENT_LENGTH
from understudy.training.saved.checkpoints import DIVERGED_HINT


class Journal:
    """Losses on their way from the device to the history, read in blocks so that a GPU seldom waits."""

    def __init__(
        self, history: History, watch: Callable[[int, Mapping[str, float]], None], kept: Sequence[str]
    ) -> None:
        """watch: looks at the losses of each iteration that was read, and may raise TrainingDiverged. kept: what the
        history keeps, the sums that the reference reports; the rest is reported as it happens."""
        self._history, self._watch, self._kept = history, watch, kept
        self._pending: list[tuple[int, Mapping[str, Tensor]]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, iteration: int, losses: Mapping[str, Tensor]) -> None:
        """Remember the losses of an iteration; each is a scalar tensor."""
        self._pending.append((iteration, losses))

    def forget(self) -> None:
        """Drop what is pending."""
        self._pending = []

    def read(self) -> dict[str, float]:
        """Write what is pending to the history; the mean of each loss over it. Raises TrainingDiverged."""
        if not self._pending:
            return {}
        newest = self._pending[-1][1]
        names = [name for name in newest if all(name in losses for _, losses in self._pending)]  # options may change
        rows = torch.stack([torch.stack([losses[name] for name in names]) for _, losses in self._pending])
        table = rows.double().cpu().tolist()
        entries = [
            (iteration, dict(zip(names, row, strict=True)))
            for (iteration, _), row in zip(self._pending, table, strict=True)
        ]
        self._pending = []
        for iteration, losses in entries:
            require_finite(losses, iteration)
        kept = [(iteration, {name: losses[name] for name in self._kept}) for iteration, losses in entries]
        self._history.append(kept)
        for iteration, losses in entries:
            self._watch(iteration, losses)
        return {name: sum(losses[name] for _, losses in entries) / len(entries) for name in names}


def require_finite(losses: Mapping[str, float], iteration: int) -> None:
    """Raise TrainingDiverged when a loss is no finite number."""
    for name, value in losses.items():
        if not math.isfinite(value):
            what = "The length of the gradient" if name == GRADIENT_LENGTH else f"The loss {name}"
            raise TrainingDiverged(
                f"{what} became {value} at iteration {iteration}. Nothing of it was saved.",
                hint=DIVERGED_HINT,
                iteration=iteration,
            )
