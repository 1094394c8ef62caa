"""What an imported model keeps for the way back to the reference: `model/NAME/reference/`.

    record.json              class, name, iteration; options and default options with their types, in their order
    arrays.safetensors       the preview sample, losses that float32 does not hold, and other arrays, by number

The record says what the model's files said on the day of the import; what has changed since is in the model itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import IncompatibleModel
from understudy.files import parse_json, write_json
from understudy.networks.tensor_files import kind_of, read_tensors, write_tensors

SCHEMA = "understudy-reference"
VERSION = 1
FOLDER = "reference"
FILE_NAME, ARRAYS = "record.json", "arrays.safetensors"
TAG = "~"
"""The key that marks a JSON object as a typed value rather than a dictionary."""

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class ReferenceRecord:
    """What the flat files of a model said, in Python's and NumPy's own types.

    name: as the reference knew the model. options: of `data.dat`, in its order. default_options: of the class's file,
    None where there was none. losses: (N, 2), or (N, 1) for XSeg, float64, of the N iterations up to `iteration`; None
    where the model's own history holds the same numbers. sample_for_preview: nested lists of arrays in the reference's
    colours (BGR) and layout, None where there was none. extra: other entries of `data.dat`.
    """

    model_class: str
    name: str
    iteration: int
    options: dict[Any, Any]
    default_options: dict[Any, Any] | None = None
    losses: NDArray[np.float64] | None = None
    sample_for_preview: Any = None
    extra: dict[Any, Any] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """The files that it was read from, with their sizes in bytes."""


def write(model_folder: Path, record: ReferenceRecord) -> None:
    """Write the record into a model's folder, which has none yet."""
    folder = model_folder / FOLDER
    folder.mkdir()
    arrays: list[Any] = []
    typed = {
        name: to_typed(value, arrays)
        for name, value in (
            ("options", record.options),
            ("default_options", record.default_options),
            ("losses", record.losses),
            ("sample_for_preview", record.sample_for_preview),
            ("extra", record.extra),
        )
    }
    head = {
        "schema": SCHEMA,
        "version": VERSION,
        "class": record.model_class,
        "name": record.name,
        "iteration": record.iteration,
    }
    if arrays:
        write_tensors(folder / ARRAYS, _Arrays(arrays))
    write_json(folder / FILE_NAME, {**head, **typed, "files": record.files})


def read(model_folder: Path) -> ReferenceRecord | None:
    """The record of an imported model; None for a model that was not imported.

    Raises IncompatibleModel when it cannot be read.
    """
    folder = model_folder / FOLDER
    try:
        if not (folder / FILE_NAME).is_file():
            return None
        body = parse_json((folder / FILE_NAME).read_text(encoding="utf-8"))
        if body["schema"] != SCHEMA or int(body["version"]) > VERSION:
            raise ValueError("it was written by a newer version of understudy")
        arrays = read_tensors(folder / ARRAYS)
        typed = {
            name: from_typed(body[name], arrays)
            for name in ("options", "default_options", "losses", "sample_for_preview", "extra")
        }
        return ReferenceRecord(
            body["class"], body["name"], int(body["iteration"]), **typed, files=dict(body.get("files", {}))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompatibleModel(
            f"The record of what {model_folder.name} was imported from cannot be read: {error}",
            hint=f"Restore {FOLDER}/ from a copy. Without that folder the model still works; only its export to "
            "DeepFaceLab then starts from plain options.",
            folder=folder,
        ) from error


def loss_names(model_class: str) -> tuple[str, ...]:
    """The names in `history.jsonl` of what one entry of a class's `loss_history` holds."""
    return ("loss",) if model_class == "XSeg" else ("src", "dst")


def to_typed(value: Any, arrays: list[Any]) -> Any:
    """A value as JSON can hold it without losing its type; arrays are appended to `arrays` and named by number."""
    if isinstance(value, np.generic):
        return {TAG: value.dtype.name, "value": _number(value.item())}
    if hasattr(value, "shape"):
        arrays.append(value)
        return {TAG: "array", "number": len(arrays) - 1}
    if isinstance(value, float):
        number = _number(value)
        return number if type(number) is float else {TAG: "float", "value": number}
    if isinstance(value, bytes | bytearray):
        return {TAG: "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": [to_typed(item, arrays) for item in value]}
    if isinstance(value, list):
        return [to_typed(item, arrays) for item in value]
    if isinstance(value, dict):
        return _typed_dict(value, arrays)
    return value


def from_typed(value: Any, arrays: Mapping[str, Array]) -> Any:
    """What `to_typed` was given. Raises ValueError, KeyError, TypeError for anything else."""
    if isinstance(value, list):
        return [from_typed(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: from_typed(item, arrays) for key, item in value.items()}
    return _MAKERS.get(value[TAG], _numpy_scalar)(value, arrays)


class _Arrays:
    """Arrays by number, those that are still elsewhere read when their turn has come: a `TensorSource`."""

    def __init__(self, arrays: list[Any]) -> None:
        self._arrays = arrays
        self.kinds = {str(number): kind_of(array) for number, array in enumerate(arrays)}

    def read(self, name: str) -> Array:
        array = self._arrays[int(name)]
        return array if isinstance(array, np.ndarray) else np.asarray(array.read())


def _typed_dict(value: Mapping[Any, Any], arrays: list[Any]) -> dict[str, Any]:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: to_typed(item, arrays) for key, item in value.items()}
    return {TAG: "dict", "items": [[to_typed(key, arrays), to_typed(item, arrays)] for key, item in value.items()]}


def _number(value: Any) -> Any:
    """A number as JSON has it; one that is none as its name."""
    return str(value) if isinstance(value, float) and value - value != 0 else value


def _numpy_scalar(value: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    dtype = np.dtype(value[TAG])
    if dtype.kind not in "biuf":
        raise ValueError(f"{dtype} is no number")
    number = value["value"]
    return dtype.type(float(number) if isinstance(number, str) else number)


_MAKERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Array]], Any]] = {
    "array": lambda value, arrays: arrays[str(value["number"])],
    "float": lambda value, arrays: float(value["value"]),
    "bytes": lambda value, arrays: base64.b64decode(value["base64"]),
    "tuple": lambda value, arrays: tuple(from_typed(item, arrays) for item in value["items"]),
    "dict": lambda value, arrays: {from_typed(key, arrays): from_typed(item, arrays) for key, item in value["items"]},
}
