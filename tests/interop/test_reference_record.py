"""What an imported model keeps for the way back: the same values in the same types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import IncompatibleModel
from understudy.interop.reference_record import FILE_NAME, FOLDER, ReferenceRecord, read, write


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    return one == other or (one != one and other != other)


VALUES = {
    "plain": [None, True, 3, -(2**80), 0.1, "text", "\udcff", []],
    "scalars": [
        np.int32(3),
        np.int64(-(2**62)),
        np.float64(0.1),
        np.float32(0.1),
        np.float16(2),
        np.bool_(True),
        np.uint8(7),
    ],
    "not finite": [float("nan"), float("-inf"), np.float64("inf"), np.float32("nan")],
    "tuples and bytes": ((1, 2), b"\x00\xff", {"a": (b"",)}),
    "keys": {1: "one", b"b": 2, 2.5: 3, "~": {"~": 1}},
    "arrays": [np.arange(6).reshape(2, 3).astype(dtype) for dtype in ("<f4", "f8", "f2", "i8", "u1", "?")],
    "empty": [np.zeros((0, 3), np.float32), np.array(5.0)],
}


@pytest.mark.parametrize("name", list(VALUES))
def test_values_keep_their_types(tmp_path: Path, name: str) -> None:
    value = VALUES[name]
    record = ReferenceRecord("SAEHD", "new", 5, {"first": 1, "value": value}, {"value": value}, extra={"more": value})
    write(tmp_path, record)
    found = read(tmp_path)
    assert found is not None
    assert same(found.options, record.options)
    assert same(found.default_options, record.default_options)
    assert same(found.extra, record.extra)
    assert (found.model_class, found.name, found.iteration) == ("SAEHD", "new", 5)


def test_a_model_of_ours_has_none(tmp_path: Path) -> None:
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: [],
        lambda body: {**body, "version": 99},
        lambda body: {key: value for key, value in body.items() if key != "options"},
        lambda body: {**body, "options": {"~": "array", "number": 7}},
        lambda body: {**body, "options": {"~": "object", "value": 1}},
        lambda body: {**body, "options": {"~": "dict", "items": [1]}},
        lambda body: {**body, "iteration": "many"},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(tmp_path: Path, damage: Any) -> None:
    write(tmp_path, ReferenceRecord("AMP", "new", 5, {}, losses=np.zeros((3, 2))))
    path = tmp_path / FOLDER / FILE_NAME
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(IncompatibleModel, match="imported from cannot be read"):
        read(tmp_path)


def test_a_damaged_file_of_arrays_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ReferenceRecord("AMP", "new", 5, {}, losses=np.zeros((3, 2))))
    (tmp_path / FOLDER / "arrays.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(IncompatibleModel):
        read(tmp_path)
