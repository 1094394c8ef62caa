"""What every stage gives back, and how it reads as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.records import Skipped


@dataclass(frozen=True)
class StageResult:
    """Counts, outputs and what was skipped. rate: items per second without start-up."""

    frames: int | None = None
    faces: int | None = None
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
    rate: float | None = None
    outputs: list[Path] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints; fields that do not apply are left out."""
        body: dict[str, Any] = {"ok": True}
        if self.frames is not None:
            body["frames"] = self.frames
        if self.faces is not None:
            body["faces"] = self.faces
        body["skipped"] = [{"item": item.item, "reason": item.reason} for item in self.skipped]
        body["seconds"] = round(self.seconds, 3)
        if self.rate is not None:
            body["rate"] = round(self.rate, 3)
        body["outputs"] = [str(path) for path in self.outputs]
        return {**body, **self.notes}
