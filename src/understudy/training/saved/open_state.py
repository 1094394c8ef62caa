"""A saved state held open, its tensors read one at a time: for what looks at all of a model without room for it.

    with open_newest(store) as saved:
        for name in saved.weights.shapes:
            array = saved.weights.read(name)

Files that are open stay readable while a training that goes on lets the generation go, so nobody waits for anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from understudy.errors import CorruptCheckpoint
from understudy.files import parse_json
from understudy.networks.tensor_files import numpy_type
from understudy.records import WeightsChoice
from understudy.report import Report, silent
from understudy.training.saved.checkpoints import CheckpointStore, takes_average
from understudy.training.saved.manifests import EMA, OPTIMISER, STATE, WEIGHTS, read_manifest
from understudy.training.saved.plain_values import from_plain


class OpenTensors:
    """The tensors of one open safetensors file. shapes: of every tensor, by name."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        length = int.from_bytes(handle.read(8), "little")
        header: dict[str, Any] = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        self._entries = header
        self._start = 8 + length
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(entry["shape"]) for name, entry in header.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def read(self, name: str) -> NDArray[Any]:
        """A tensor as a fresh array, nothing of which stays here. Raises CorruptCheckpoint when the file ends early."""
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        array = np.empty(self.shapes[name], numpy_type(entry["dtype"]))
        if array.nbytes != end - begin:
            raise CorruptCheckpoint(f"The tensor {name} of the saved state is not as large as it says.", tensor=name)
        self._handle.seek(self._start + begin)
        if self._handle.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            raise CorruptCheckpoint(f"The saved state ends within the tensor {name}.", tensor=name)
        return array


class AveragedTensors:
    """Weights of which those that have an average are read from it; the discriminators have none."""

    def __init__(self, average: OpenTensors, trained: OpenTensors) -> None:
        self._average, self._trained = average, trained

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._trained.shapes

    def __contains__(self, name: str) -> bool:
        return name in self._trained

    def read(self, name: str) -> NDArray[Any]:
        """As `OpenTensors.read`."""
        return (self._average if name in self._average else self._trained).read(name)


@dataclass(frozen=True, eq=False)
class OpenState:
    """One saved state, held open. optimiser None: training starts fresh moments. `state` is what was saved with it."""

    iteration: int
    weights: OpenTensors | AveragedTensors
    optimiser: OpenTensors | None
    state: dict[str, Any]
    folder: Path

    @property
    def size_bytes(self) -> int:
        """What all its tensors take."""
        parts = (self.weights, self.optimiser) if self.optimiser else (self.weights,)
        return sum(4 * math.prod(shape) for part in parts for shape in part.shapes.values())


@contextlib.contextmanager
def open_newest(
    store: CheckpointStore, report: Report = silent, *, weights: WeightsChoice = WeightsChoice.TRAINED
) -> Iterator[OpenState]:
    """Hold the newest state that is whole, each one passed over named in a warning. weights: which of them it gives.

    Raises MissingModel when nothing was ever saved, CorruptCheckpoint when no state is whole, IncompatibleModel when an
    average of the weights is asked for and it has none.
    """
    with contextlib.ExitStack() as files:
        opened = store.first_whole(lambda folder: _opened(folder, files, weights), report)
        if opened is None:
            raise store.never_saved()
        yield opened


def _opened(folder: Path, files: contextlib.ExitStack, choice: WeightsChoice) -> OpenState:
    """Open the files of a generation, check them against its manifest, and read what is small."""
    manifest = read_manifest(folder)
    expected: Mapping[str, Any] = manifest["files"]
    with contextlib.ExitStack() as own:
        handles = {name: own.enter_context(_checked(folder / name, expected[name])) for name in expected}
        try:
            state = from_plain(parse_json(handles[STATE].read()))
            trained = OpenTensors(handles[WEIGHTS])
            averaged = takes_average(folder, choice)
            weights = AveragedTensors(OpenTensors(handles[EMA]), trained) if averaged else trained
            optimiser = OpenTensors(handles[OPTIMISER]) if OPTIMISER in handles else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptCheckpoint(f"The saved state {folder.name} cannot be read: {error}", folder=folder) from error
        files.push(own.pop_all())
    return OpenState(int(manifest["iteration"]), weights, optimiser, state, folder)


def _checked(path: Path, expected: Mapping[str, Any]) -> BinaryIO:
    """The open file, at its beginning, if it is what was written."""
    handle = None
    try:
        handle = path.open("rb")
        if hashlib.file_digest(handle, "sha256").hexdigest() == expected["sha256"]:
            handle.seek(0)
            return handle
    except OSError:
        pass
    if handle is not None:
        handle.close()
    raise CorruptCheckpoint(
        f"The saved state {path.parent.name} is damaged: {path.name} is missing or not as it was written.", path=path
    )
