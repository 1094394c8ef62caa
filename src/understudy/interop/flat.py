"""The reference's models as they lie in a folder: flat files, `NAME_CLASS_what`, many models side by side.

    new_Quick96_data.dat · new_Quick96_encoder.npy · new_Quick96_summary.txt · XSeg_data.dat · XSeg_256.npy

Listing reads names, sizes and the first bytes of `data.dat`; nothing here writes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CLASSES = ("SAEHD", "AMP", "Quick96")
"""Classes whose models have names. XSeg has none: there is one to a folder."""

IMPORTABLE = ("Quick96",)
"""Classes that can be imported so far."""

HEAD_BYTES = 4096


@dataclass(frozen=True)
class FlatModel:
    """One model of flat files. iteration None: `data.dat` does not say."""

    name: str
    model_class: str
    folder: Path
    files: tuple[Path, ...]
    iteration: int | None
    updated: datetime

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def importable(self) -> bool:
        return self.model_class in IMPORTABLE

    @property
    def prefix(self) -> str:
        """What the names of its files begin with."""
        return self.name + "_" if self.model_class == "XSeg" else f"{self.name}_{self.model_class}_"


def find_flat_models(folder: Path) -> list[FlatModel]:
    """The flat models of a folder, the one saved last first.

    A model is what has a `…_data.dat`; its name is everything before `_CLASS_data.dat`, underscores and all.
    """
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [_flat_model(folder, name, model_class, names) for name, model_class in _named(names)]
    return sorted(found, key=lambda model: model.updated, reverse=True)


def find_flat_model(folder: Path, name: str) -> FlatModel | None:
    """The flat model of that name; None when there is none.

    Where several classes share the name, one that can be imported goes before one that cannot, then the one saved last.
    """
    found = [model for model in find_flat_models(folder) if model.name == name]
    return next((model for model in found if model.importable), found[0] if found else None)


def iteration_in(data_file: Path) -> int | None:
    """The iteration count at the head of a `data.dat`, without building any object; None when it is not found."""
    with data_file.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    awaited = False
    try:
        for opcode, value, _ in pickletools.genops(head):
            if isinstance(value, str):
                awaited = value == "iter"
            elif awaited and isinstance(value, int) and "INT" in opcode.name:
                return value
    except ValueError:  # the head ends within the pickle, or it is none
        return None
    return None


def _named(names: list[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == "XSeg_data.dat":
            yield "XSeg", "XSeg"
        for model_class in CLASSES:
            end = f"_{model_class}_data.dat"
            if name.endswith(end) and len(name) > len(end):
                yield name.removesuffix(end), model_class


def _flat_model(folder: Path, name: str, model_class: str, names: list[str]) -> FlatModel:
    prefix = "XSeg_" if model_class == "XSeg" else f"{name}_{model_class}_"
    data = folder / f"{prefix}data.dat"
    files = tuple(folder / other for other in names if other.startswith(prefix))
    return FlatModel(
        name, model_class, folder, files, iteration_in(data), datetime.fromtimestamp(data.stat().st_mtime, UTC)
    )
