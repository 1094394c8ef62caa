"""The beginning of a `data.dat`: iteration and options, without the losses and pictures that follow them.

The file of a model trained for a million iterations is a hundred megabytes, of which a list of models needs the first
two kilobytes. They are read by the machine that reads whole pickles, which stops where the bytes do.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import UnsafeFile
from understudy.facesets.pickles.machine import Machine
from understudy.facesets.pickles.reading import Resolver
from understudy.facesets.pickles.refusals import CutOffError, DamagedError, as_unsafe
from understudy.interop.flat import FlatModel
from understudy.interop.flat_names import networks_of, part_of

HEAD_BYTES = 1 << 16
"""Options of the reference take about 1 kB."""

_ITER, _OPTIONS = "iter", "options"


@dataclass(frozen=True)
class FlatHead:
    """What a `data.dat` begins with. iteration None: it does not say. problem: why it cannot be read, or empty."""

    iteration: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_flat_head(data_file: Path) -> FlatHead:
    """Iteration and options in a `data.dat`; numbers as Python's own. Raises nothing: what is wrong is in `problem`."""
    try:
        with data_file.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
        entries = _entries(head, data_file.stat().st_size)
    except UnsafeFile as error:
        return FlatHead(problem=f"{data_file.name}: {error.message}")
    except OSError as error:
        return FlatHead(problem=f"{data_file.name} cannot be read: {error.strerror or error}")
    iteration, options = entries.get(_ITER), entries.get(_OPTIONS)
    if not isinstance(iteration, int) or isinstance(iteration, bool) or not isinstance(options, dict):
        return FlatHead(problem=f"{data_file.name} does not hold a model's iteration and options.")
    return FlatHead(iteration, {str(name): _plain(value) for name, value in options.items()})


def _entries(head: bytes, size: int) -> dict[str, Any]:
    """The entries of the pickled dictionary that are whole within its first bytes."""
    machine = Machine(head, size=size)
    with as_unsafe():
        try:
            machine.run()
            found = Resolver().resolve(machine.pop())
            return found if isinstance(found, dict) else {}
        except (CutOffError, IndexError):
            if len(head) >= size:
                raise DamagedError("the pickle is cut off") from None
        stack = machine.stack
        return {
            name: Resolver().resolve(value)
            for name, value in itertools.pairwise(stack)
            if isinstance(name, str) and name in (_ITER, _OPTIONS)
        }


def _plain(value: Any) -> Any:
    """A value with NumPy's scalars as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def missing_files(flat: FlatModel, head: FlatHead) -> list[str]:
    """Names of weight files that the model needs and that are not there."""
    there = {path.name for path in flat.files}
    networks = networks_of(flat.model_class, str(head.options.get("archi", "")))
    needed = [f"{flat.prefix}{part_of(network)}.npy" for network in networks]
    return [name for name in needed if name not in there]
