"""The bundled face networks: where their files are, whether they are the pinned ones, and running them.

`understudy/assets/sources.json` names each file with its SHA-256; the build hook put the files beside it. Networks run
on ai-edge-litert (TensorFlow Lite) with its XNNPACK kernels.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingEngine

SHORT_RANGE = "face_detection_short_range.tflite"
FULL_RANGE = "face_detection_full_range_sparse.tflite"
FACE_MESH = "face_landmark.tflite"

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class EngineFile:
    """One bundled network file. `sha256` is the pinned hash; `ok` tells whether the file is there and has it."""

    name: str
    path: Path
    sha256: str
    ok: bool


def bundled() -> list[EngineFile]:
    """Every network that an installed understudy brings along, each checked against its pinned hash."""
    found = []
    for name, entry in _sources()["files"].items():
        path = Path(str(_assets() / name))
        found.append(EngineFile(name, path, entry["sha256"], _has_hash(path, entry["sha256"])))
    return found


class Network:
    """One TensorFlow Lite network with one picture as its input. Not thread-safe: make one per thread."""

    def __init__(self, name: str, *, threads: int = 1) -> None:
        """Load the bundled file `name`. Raises MissingEngine when it is absent or cannot be run."""
        from ai_edge_litert.interpreter import Interpreter

        data = _read(name)
        try:
            with _without_greeting():
                self._interpreter: Any = Interpreter(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _missing(name, f"cannot be run: {error}") from error
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        self._outputs = [int(item["index"]) for item in self._interpreter.get_output_details()]
        self.size = int(self._interpreter.get_input_details()[0]["shape"][1])
        """Side of the square input, in pixels."""

    def run(self, picture: Float32) -> list[Float32]:
        """picture: (size, size, 3) float32 RGB in the range the network wants. Gives a copy of each output."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


_greeting = threading.Lock()
_greeted = False


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep the first network of a process from announcing its kernels on stderr; the library has no switch for it."""
    global _greeted
    with _greeting:
        if _greeted:
            yield
            return
        _greeted = True
        try:
            kept = os.dup(2)
        except OSError:  # no stderr at all
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - the null device is no path of ours
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _assets() -> Any:
    return resources.files("understudy") / "assets"


def _sources() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_assets() / "sources.json").read_text(encoding="utf-8"))
    return loaded


def _read(name: str) -> bytes:
    try:
        data: bytes = (_assets() / name).read_bytes()
    except OSError as error:
        raise _missing(name, "is missing") from error
    if hashlib.sha256(data).hexdigest() != _sources()["files"][name]["sha256"]:
        raise _missing(name, "is not the pinned file (its SHA-256 differs)")
    return data


def _has_hash(path: Path, expected: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == expected


def _missing(name: str, what: str) -> MissingEngine:
    return MissingEngine(
        f"The bundled face network {name} {what}.",
        hint="Install understudy again (pip install -e . in a checkout); its build puts the networks in place.",
        name=name,
    )
