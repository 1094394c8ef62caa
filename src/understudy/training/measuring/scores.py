"""What one evaluation found, as numbers by name, and what the names mean; formulas: docs/guide/evaluation.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Faces(StrEnum):
    """On which faces was measured: those that the model never learned from, or, where there are none, those it did."""

    HELD_OUT = "held_out"
    TRAINING = "training"


SIDES = ("src", "dst")

MEANINGS: dict[str, str] = {
    "held_src": "loss on src's held-out faces",
    "held_dst": "loss on dst's held-out faces",
    "train_src": "the same on src's training faces",
    "train_dst": "the same on dst's training faces",
    "objective_src": "loss as it is trained now, on src's held-out faces",
    "objective_dst": "loss as it is trained now, on dst's held-out faces",
    "ssim_src": "likeness of src redrawn to src (SSIM)",
    "ssim_dst": "likeness of dst redrawn to dst (SSIM)",
    "iou_src": "agreement of src's drawn mask with the true one",
    "iou_dst": "agreement of dst's drawn mask with the true one",
    "seen": "share of the swaps in which a face is found",
    "landmarks": "error of the swap's landmarks, % of the eyes' distance",
    "mouth": "error of the swap's mouth opening, nose lengths",
    "eyes": "error of the swap's eye opening, eye widths",
    "mouth_r": "correlation of the mouth openings of swap and dst",
    "eyes_r": "correlation of the eye openings of swap and dst",
    "pose": "error of the swap's pose, degrees",
    "likeness": "whom the swap looks like: 0 dst, 1 src",
    "likeness_accuracy": "share of unseen faces that the classifier of likeness tells right",
    "flicker": "change from frame to frame beyond that of the plate, 8-bit levels",
}
"""Every number that an evaluation may hold, in the order in which they are shown."""


@dataclass(frozen=True)
class Scores:
    """One evaluation. values: finite numbers by the names of `MEANINGS`; what could not be measured is absent.

    on: which faces most of it was measured on. course: stands for the options that training went by; for a plateau only
    evaluations of one course are compared.
    """

    iteration: int
    values: Mapping[str, float] = field(default_factory=dict)
    on: Faces = Faces.HELD_OUT
    course: str = ""

    @property
    def loss(self) -> float:
        """What `best` and the plateau go by: the mean of both people's held-out losses; of one, where only that side
        holds faces out; of the training faces, where none does."""
        return _mean(self.values, "held") or _mean(self.values, "train") or 0.0

    @property
    def gap(self) -> float | None:
        """How much worse held-out faces are than training faces, in the loss's unit; None where nothing is held out."""
        gaps = [
            self.values[f"held_{side}"] - self.values[f"train_{side}"]
            for side in SIDES
            if {f"held_{side}", f"train_{side}"} <= set(self.values)
        ]
        return sum(gaps) / len(gaps) if gaps else None

    def as_json(self) -> dict[str, Any]:
        values = {name: round(self.values[name], 6) for name in MEANINGS if name in self.values}
        return {"iteration": self.iteration, "on": str(self.on), "course": self.course, **values}

    @classmethod
    def from_json(cls, stored: Any) -> Scores | None:
        """What `as_json` gave; None for anything else."""
        try:
            numbers = {name: float(stored[name]) for name in MEANINGS if name in stored}
            scores = cls(int(stored["iteration"]), numbers, Faces(stored["on"]), str(stored["course"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        whole = any(f"{kind}_{side}" in numbers for kind in ("held", "train") for side in SIDES)
        return scores if whole and all(math.isfinite(value) for value in numbers.values()) else None


def _mean(values: Mapping[str, float], kind: str) -> float | None:
    """The mean of a loss over the sides that have it; None where none has."""
    found = [values[f"{kind}_{side}"] for side in SIDES if f"{kind}_{side}" in values]
    return sum(found) / len(found) if found else None
