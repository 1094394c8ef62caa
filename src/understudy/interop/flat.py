"""The reference's models as they lie in a folder: flat files, `NAME_CLASS_what`, many models side by side.

    new_SAEHD_data.dat · new_SAEHD_encoder.npy · new_SAEHD_summary.txt · new_SAEHD_autobackups/01/ · XSeg_256.npy

Listing reads names, sizes and the first bytes of `data.dat`; nothing here writes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from understudy.interop.flat_names import (
    CLASSES,
    DATA,
    EXPORTS,
    SWAPPER_NETWORKS,
    UNFINISHED,
    WHOLE,
    XSEG,
    part_of,
    prefix_of,
)

XSEG_WEIGHTS = f"{prefix_of('', XSEG)}{part_of(WHOLE)}.npy"

HEAD_BYTES = 4096

_ITERATION = re.compile(
    rb"(?:X\x04\0\0\0|\x8c\x04)iter(?:q.|r.{4}|\x94)?"  # the key, and the opcode that remembers it
    rb"(?:K(?P<short>.)|M(?P<short2>..)|J(?P<whole>.{4})|\x8a\x05(?P<long>.{5}))",
    re.DOTALL,
)
"""How the pickled number behind the key `iter` looks, in protocols 2 to 5."""

_OF_A_MODEL = re.compile(rf"(?P<name>.+)_(?P<model_class>{'|'.join(CLASSES)})_(?P<part>[^_].*)")
_WEIGHTS = re.compile(rf"({'|'.join(SWAPPER_NETWORKS)})\.npy")


@dataclass(frozen=True)
class FlatModel:
    """One model of flat files. iteration None: `data.dat` does not say, or is not there (XSeg works without)."""

    name: str
    model_class: str
    folder: Path
    files: tuple[Path, ...]
    iteration: int | None
    updated: datetime

    @property
    def size_bytes(self) -> int:
        """Of all its files; one that vanishes meanwhile counts nothing."""
        return sum(_size(path) for path in self.files)

    @property
    def prefix(self) -> str:
        """What the names of its files begin with; nothing where a folder holds pretrained files without a name."""
        return prefix_of(self.name, self.model_class) if self.name else ""

    @property
    def full_name(self) -> str:
        """Name and class, as the reference calls it: `new_SAEHD`, `XSeg`."""
        return self.prefix.removesuffix("_")

    @property
    def in_words(self) -> str:
        """The model in the middle of a sentence."""
        return f"the model {self.name}" if self.name else "the pretrained model"

    def part(self, what: str) -> Path | None:
        """The file of a part, such as `encoder.npy`: the whole one, else what an interrupted write left of it."""
        path = self.folder / f"{self.prefix}{what}"
        left_over = path.with_name(path.name + UNFINISHED)
        return path if path in self.files else left_over if left_over in self.files else None


def find_flat_models(folder: Path) -> list[FlatModel]:
    """The flat models of a folder, the one saved last first.

    A model is what has a `…_data.dat`, and XSeg also what has only its weights; the name is everything before
    `_CLASS_data.dat`, underscores and all. A file belongs to the model with the longest name that fits.
    """
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not is_export(path.name))
    models = list(dict.fromkeys(_named(names)))
    owned = _owned(names, [prefix_of(*model) for model in models])
    found = [_flat_model(folder, *model, owned[prefix_of(*model)]) for model in models]
    return sorted(found, key=lambda model: model.updated, reverse=True)


def find_flat_model(folder: Path, name: str) -> FlatModel | None:
    """The flat model of that name, or of that name and class (`new_SAEHD`); None when there is none.

    Where several classes share the name, the one saved last (`flat_models_named` gives all).
    """
    found = flat_models_named(find_flat_models(folder), name)
    return found[0] if found else None


def flat_models_named(models: Iterable[FlatModel], name: str) -> list[FlatModel]:
    """Those of the models that are called so, in their order; by name and class, which is one, else by name."""
    models = list(models)
    return [model for model in models if model.name == name] or [model for model in models if model.full_name == name]


def is_export(name: str) -> bool:
    """Whether a file is no part of a model, but was made of it for other programs: `new_SAEHD_model.dfm`."""
    return name.lower().endswith(EXPORTS)


def find_backups(model: FlatModel) -> list[FlatModel]:
    """The automatic backups of a flat model, newest first: `NAME_CLASS_autobackups/01` and on."""
    folder = model.folder / f"{model.prefix}autobackups"
    found: list[FlatModel] = []
    with contextlib.suppress(OSError):  # no backups, or none that this user may see: the model itself is there
        for slot in sorted(folder.iterdir()):
            with contextlib.suppress(OSError):
                found += find_flat_models(slot)
    return [backup for backup in found if (backup.name, backup.model_class) == (model.name, model.model_class)]


def or_backup(hint: str, model: FlatModel) -> str:
    """A hint about a damaged model, and that its newest backup can be imported too, where there is one."""
    backups = find_backups(model) if model.name else []
    return f"{hint} Its newest backup is in {backups[0].folder}, which can be imported too." if backups else hint


def headless_models(folder: Path) -> list[str]:
    """Names and classes (`new_SAEHD`) of weight files without the `data.dat` that would make a model of them."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_file()]
    there = {prefix_of(*model) for model in _named(names)}
    found = [match for name in names if (match := _OF_A_MODEL.fullmatch(name)) and _WEIGHTS.fullmatch(match["part"])]
    prefixes = {prefix_of(match["name"], match["model_class"]) for match in found}
    return sorted(prefix.removesuffix("_") for prefix in prefixes - there)


def iteration_in(data_file: Path) -> int | None:
    """The iteration count at the head of a `data.dat`, without reading the pickle; None when it is not found."""
    with data_file.open("rb") as handle:
        found = _ITERATION.search(handle.read(HEAD_BYTES))
    if found is None:
        return None
    short, whole, long = found["short"] or found["short2"], found["whole"], found["long"]
    if short is not None:
        return int.from_bytes(short, "little")
    return int.from_bytes(whole if whole is not None else long, "little", signed=True)


def _named(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and class of every model whose files are there."""
    for name in names:
        whole = name.removesuffix(UNFINISHED)
        if whole in (f"{XSEG}_{DATA}", XSEG_WEIGHTS):
            yield XSEG, XSEG
        for model_class in CLASSES:
            end = f"_{model_class}_{DATA}"
            if whole.endswith(end) and len(whole) > len(end):
                yield whole.removesuffix(end), model_class


def _owned(names: list[str], prefixes: list[str]) -> dict[str, list[str]]:
    """The files of each prefix; of several prefixes that fit, the longest owns a file."""
    owned: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
    for name in names:
        fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
        if fitting:
            owned[max(fitting, key=len)].append(name)
    return owned


def _flat_model(folder: Path, name: str, model_class: str, names: list[str]) -> FlatModel:
    files = tuple(folder / other for other in names)
    model = FlatModel(name, model_class, folder, files, None, datetime.fromtimestamp(0, UTC))
    data = model.part(DATA)
    head = data or model.part(XSEG_WEIGHTS.removeprefix(f"{XSEG}_"))
    try:
        updated = head.stat().st_mtime if head else 0.0
        iteration = iteration_in(data) if data else None
    except OSError:  # it may be listed and not be read
        updated, iteration = 0.0, None
    return FlatModel(name, model_class, folder, files, iteration, datetime.fromtimestamp(updated, UTC))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
