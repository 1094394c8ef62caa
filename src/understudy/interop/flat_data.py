"""`data.dat` of a flat model, read: iteration, options, losses, preview sample, and the class's default options."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import IncompatibleModel, UnderstudyError
from understudy.interop.flat import FlatModel, or_backup
from understudy.interop.flat_files import FlatFile, Taken, open_file
from understudy.interop.flat_names import DATA, DEFAULT_OPTIONS
from understudy.interop.reference_options import listed
from understudy.interop.reference_record import loss_names

LATEST_ITERATION = 10**9

_KNOWN = ("iter", "options", "loss_history", "sample_for_preview", "choosed_gpu_indexes")


@dataclass(frozen=True, eq=False)
class FlatData:
    """What a `data.dat` says, in the reference's terms; without such a file, what is assumed.

    default_options: of the model's class, None where there are none. losses: one entry for each of the last iterations,
    by `loss_names`. extra: entries that are not known here. notes: what could not be used, in sentences.
    """

    iteration: int
    options: dict[Any, Any]
    default_options: dict[Any, Any] | None = None
    losses: list[Any] = field(default_factory=list)
    sample_for_preview: Any = None
    extra: dict[Any, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def losses_beyond_float32(self) -> NDArray[np.float64] | None:
        """The losses (N, 2) or (N, 1), where float32 does not hold them as they are."""
        exact = np.array(self.losses, np.float64)
        with np.errstate(over="ignore"):
            rounded = exact.astype(np.float32).astype(np.float64)
        return None if np.array_equal(exact, rounded, equal_nan=True) else exact


def read_data(flat: FlatModel, file: FlatFile | None, files: contextlib.ExitStack) -> FlatData:
    """What the `data.dat` of a model says. file: it, indexed; None where there is none. files: keeps files open.

    Raises IncompatibleModel where iteration or options make no sense.
    """
    entries = _copied(file) if file else {}
    notes: list[str] = []
    iteration = _iteration(flat, entries, notes)
    return FlatData(
        iteration,
        _options(flat, entries),
        _default_options(flat, files, notes),
        _losses(flat, entries, iteration, notes),
        entries.get("sample_for_preview"),
        _extra(entries, notes),
        notes,
    )


def _copied(file: FlatFile) -> dict[str, Any]:
    """The entries; losses, which may be millions, as they are."""
    taken = Taken(file)
    return {key: value if key == "loss_history" else taken.copy(value) for key, value in file.entries.items()}


def _iteration(flat: FlatModel, entries: Mapping[str, Any], notes: list[str]) -> int:
    found = entries.get("iter", 0)
    is_number = isinstance(found, int | float | np.number) and not isinstance(found, bool)
    if not is_number or not 0 <= float(found) < LATEST_ITERATION or int(found) != found:
        raise IncompatibleModel(
            f"{flat.prefix}{DATA} does not say a sensible iteration count.",
            hint=or_backup("It is damaged.", flat),
            path=flat.folder,
        )
    if not found and entries and flat.name:
        notes.append(
            f"{flat.in_words} is at iteration 0, which DeepFaceLab takes for a model that begins anew; here its "
            "weights are kept as they are."
        )
    return int(found)


def _options(flat: FlatModel, entries: Mapping[str, Any]) -> dict[Any, Any]:
    found = entries.get("options", {})
    if not isinstance(found, dict) or (not found and flat.model_class in ("SAEHD", "AMP")):
        never = not entries.get("iter", 0)
        raise IncompatibleModel(
            f"{flat.prefix}{DATA} holds no options, so that the architecture is not known.",
            hint="The model was never trained." if never else or_backup("It is damaged.", flat),
            path=flat.folder,
        )
    return found


def _default_options(flat: FlatModel, files: contextlib.ExitStack, notes: list[str]) -> dict[Any, Any] | None:
    """Those of the class; a file that cannot be read is passed over, as the reference does."""
    path = flat.folder / f"{flat.model_class}_{DEFAULT_OPTIONS}"
    if not flat.name or not path.is_file():
        return None
    try:
        file = open_file(path, files)
        found: dict[Any, Any] = Taken(file).copy(file.entries)
        return found
    except UnderstudyError:
        notes.append(f"{path.name} cannot be read and is left out.")
        return None


def _losses(flat: FlatModel, entries: Mapping[str, Any], iteration: int, notes: list[str]) -> list[Any]:
    """Those of the iterations up to the last one, of which no more can be than there were iterations."""
    stored = entries.get("loss_history")
    width = len(loss_names(flat.model_class))
    try:
        if stored is None or stored == []:
            return []
        if not isinstance(stored, list) or not all(_are_losses(entry, width) for entry in stored):
            raise ValueError("other losses than this class has")
        table = np.array(stored, np.float64)
        if np.any(np.isfinite(table) & (np.abs(table) > np.finfo(np.float32).max)):
            raise ValueError("losses beyond all reason")
    except (TypeError, ValueError, OverflowError):
        notes.append("The loss history cannot be read and begins anew.")
        return []
    if len(table) > iteration:
        kept = f"the last {iteration} are kept" if iteration else "none is kept"
        notes.append(f"There are {len(table)} losses for {iteration} iterations; {kept}.")
    return list(table[max(0, len(table) - iteration) :].tolist())


def _are_losses(entry: Any, width: int) -> bool:
    """Whether this is what one iteration leaves in `loss_history`."""
    is_row = isinstance(entry, list | tuple) and len(entry) == width
    return is_row and all(isinstance(value, float | int | np.floating) for value in entry)


def _extra(entries: Mapping[str, Any], notes: list[str]) -> dict[Any, Any]:
    """What is kept for the way back only."""
    unknown = {key: value for key, value in entries.items() if key not in _KNOWN}
    if unknown:
        notes.append(f"Not known here, and kept for the way back: {listed(unknown)} in {DATA}.")
    chosen = entries.get("choosed_gpu_indexes")
    return unknown if chosen is None else {**unknown, "choosed_gpu_indexes": chosen}
