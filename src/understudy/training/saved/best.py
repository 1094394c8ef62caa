"""The saved state that did best on held-out faces, kept beside the newest ones.

    best/000001200/    weights.safetensors, …      the files of the checkpoint, as hard links where the disk has them
                       best.json                   its held-out loss, and which faces that was measured on

States are measured when they are saved. A better one is published before the one that it replaces goes, so that there
is always one that is whole; only one of the same iteration, trained again after training went back, goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.files import os_errors, parse_json, publishing_folder, write_json
from understudy.training.saved.checkpoints import discard_generation, link_or_copy

FOLDER = "best"
ABOUT = "best.json"


@dataclass(frozen=True)
class Best:
    """The best saved state. loss: its held-out loss. faces: stands for the held-out faces; others do not compare."""

    folder: Path
    iteration: int
    loss: float
    faces: str

    def as_json(self) -> dict[str, Any]:
        return {"iteration": self.iteration, "loss": round(self.loss, 6)}


def find_best(model_folder: Path) -> Best | None:
    """The best state of a model, its contents not checked; None where none is kept."""
    folder = model_folder / FOLDER
    found = [_read(item) for item in folder.iterdir() if item.name.isdigit()] if folder.is_dir() else []
    return min(
        (best for best in found if best is not None), key=lambda best: (best.loss, -best.iteration), default=None
    )


def keep_if_best(model_folder: Path, generation: Path, loss: float, faces: str) -> bool:
    """Keep a saved state as the best one if its loss is the least; whether it is.

    A state that was measured on other held-out faces does not compare, and makes way.
    """
    before = find_best(model_folder)
    if before is not None and before.faces == faces and before.loss <= loss:
        return False
    target = model_folder / FOLDER / generation.name
    with os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        discard_generation(target)
    with publishing_folder(target) as temp:
        for item in generation.iterdir():
            link_or_copy(item, temp / item.name)
        write_json(temp / ABOUT, {"iteration": int(generation.name), "loss": loss, "faces": faces})
    for other in target.parent.iterdir():
        if other.name.isdigit() and other != target:
            discard_generation(other)
    return True


def _read(folder: Path) -> Best | None:
    try:
        about = parse_json((folder / ABOUT).read_text(encoding="utf-8"))
        return Best(folder, int(folder.name), float(about["loss"]), str(about["faces"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
