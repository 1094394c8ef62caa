"""Pickles: plain data goes through unchanged, and nothing else goes through at all."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import pickletools
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnsafeFile
from understudy.facesets import pickles
from understudy.facesets.pickles import FaceTypeCode, SampleTypeCode, streaming

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=20,
)

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.zeros((0,), np.int32),
    np.array(3.5),
    np.arange(4, dtype=np.uint8)[:, None],
    np.arange(3, dtype=">f4"),
    np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
    np.array([True, False]),
    np.arange(5, dtype=np.float16),
]


@given(plain)
def test_both_protocols_bring_plain_data_back(value: Any) -> None:
    for protocol in (3, 4):
        assert pickles.loads(pickles.dumps(value, protocol)) == value


@given(plain)
def test_what_the_standard_library_writes_is_read(value: Any) -> None:
    for protocol in (2, 3, 4, 5):
        assert pickles.loads(pickle.dumps(value, protocol)) == value


@given(plain)
def test_the_standard_library_reads_what_is_written(value: Any) -> None:
    for protocol in (3, 4):
        assert pickle.loads(pickles.dumps(value, protocol)) == value


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays(array: np.ndarray) -> None:
    scalar = array.reshape(-1)[0] if array.size else np.float32(1)
    for data in (
        pickles.dumps([array, scalar]),
        pickles.dumps([array, scalar], 4),
        *(pickle.dumps([array, scalar], p) for p in (2, 3, 4)),
    ):
        made, number = pickles.loads(data)
        np.testing.assert_array_equal(made, array)
        assert made.dtype == array.dtype.newbyteorder("=")
        assert made.flags.writeable
        assert number == scalar
        assert type(number) is type(scalar)
    np.testing.assert_array_equal(pickles.loads(pickle.dumps(np.ascontiguousarray(array), 5)), array)


def test_runs_of_points_of_every_protocol() -> None:
    """The fast path for lists of pairs must remember them as the slow one does."""
    points = [[float(i), i / 7] for i in range(300)]
    value = {
        "a": points,
        "b": points,
        "c": points[3],
        "d": [[1.0, 2.0]],
        "e": [],
        "f": [[1.0, 2.0, 3.0]],
        "g": [[1, 2]],
    }
    for protocol in (1, 2, 3, 4):
        assert pickles.loads(pickle.dumps(value, protocol)) == value
    assert pickles.loads(pickles.dumps(value)) == value


def test_only_old_names_and_known_globals_are_written() -> None:
    value = {"array": np.eye(2), "scalar": np.float32(2), "mask": np.zeros((3, 1), np.uint8), "text": "numpy._core"}
    for protocol in (3, 4):
        data = pickles.dumps(value, protocol)
        found = {str(argument) for code, argument, _ in pickletools.genops(data) if code.name == "GLOBAL"}
        assert found == {
            "numpy.core.multiarray _reconstruct",
            "numpy.core.multiarray scalar",
            "numpy ndarray",
            "numpy dtype",
        }
        assert {argument for code, argument, _ in pickletools.genops(data) if code.name == "PROTO"} == {protocol}
        assert {code.name for code, _, _ in pickletools.genops(data)}.isdisjoint(
            {"STACK_GLOBAL", "NEXT_BUFFER", "FRAME"}
        )


def test_numpy_1_reads_what_is_written() -> None:
    python = os.environ.get("UNDERSTUDY_NUMPY1_PYTHON")
    if not python:
        pytest.skip(
            "no Python with NumPy 1 at hand; name one in UNDERSTUDY_NUMPY1_PYTHON to check that it reads our pickles"
        )
    value = {
        "m": np.arange(6.0).reshape(2, 3),
        "r": np.array([1, 2, 3, 4]),
        "x": np.zeros((5, 1), np.uint8),
        "s": np.float32(2.5),
    }
    program = (
        "import sys, pickle, numpy; assert numpy.__version__ < '2'; v = pickle.load(sys.stdin.buffer);"
        "print({k: (str(a.dtype), a.shape, a.tolist()) for k, a in v.items()})"
    )
    for protocol in (3, 4):
        done = subprocess.run(
            [python, "-c", program], input=pickles.dumps(value, protocol), capture_output=True, check=True
        )
        expected = {k: (str(a.dtype), a.shape, a.tolist()) for k, a in value.items()}
        assert done.stdout.decode().strip() == str(expected)


def test_codes_of_packs() -> None:
    for protocol in (3, 4):
        made = pickles.loads(pickles.dumps([FaceTypeCode(4), SampleTypeCode(1)], protocol))
        assert made == [4, 1]
        assert [type(code) for code in made] == [FaceTypeCode, SampleTypeCode]


def test_other_kinds_and_large_results_are_not_written() -> None:
    for value in (object(), {1, 2}, np.array(["text"]), np.array([None]), 1j):
        with pytest.raises(TypeError):
            pickles.dumps(value)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        pickles.dumps("x" * 200, limit=100)
    with pytest.raises(ValueError, match="3 and 4"):
        pickles.dumps(1, 5)
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="nested deeper"):
        pickles.dumps(itself)


class Runs:
    """Unpickling this calls `function(*arguments)` with the standard library."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def nested(depth: int, opcode: bytes) -> bytes:
    return (
        b"\x80\x03" + b"]" * depth + b"a" * (depth - 1) + b"."
        if opcode == b"]"
        else b"\x80\x03N" + opcode * depth + b"."
    )


def array_of(shape: bytes, content: bytes, dtype: bytes = b"f8") -> bytes:
    return (
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nX"
        + struct.pack("<I", len(dtype))
        + dtype
        + b"\x89\x88\x87R\x89B"
        + struct.pack("<I", len(content))
        + content
        + b"tb."
    )


HOSTILE: dict[str, bytes] = {
    "os.system": pickle.dumps(Runs(os.system, "touch /tmp/understudy-was-here"), 3),
    "eval": pickle.dumps(Runs(eval, "1+1"), 4),
    "open": pickle.dumps(Runs(open, "/etc/passwd"), 4),
    "getattr": pickle.dumps(Runs(getattr, "x", "upper"), 4),
    "old form": b"cos\nsystem\n(S'true'\ntR.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "numpy load": b"\x80\x03cnumpy\nload\nX\x01\x00\x00\x00x\x85R.",
    "numpy dotted": b"\x80\x04\x8c\x05numpy\x8c\x0fcore.multiarray\x93.",
    "persistent id": b"\x80\x03X\x01\x00\x00\x00xQ.",
    "extension": b"\x80\x03\x82\x01.",
    "new object": b"\x80\x03cnumpy\nndarray\n)\x81.",
    "object array": array_of(b"K\x01\x85", b"\x00" * 8, b"O8"),
    "void array": array_of(b"K\x01\x85", b"\x00" * 8, b"V8"),
    "text array": array_of(b"K\x01\x85", b"\x00" * 8, b"S8"),
    "shape larger than content": array_of(b"J\xff\xff\xff\x7f\x85", b"\x00" * 8),
    "negative shape": array_of(b"J\xff\xff\xff\xff\x85", b"\x00" * 8),
    "endless shape": array_of(b"(" + b"K\x01" * 500 + b"t", b"\x00" * 8),
    "array subclass": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85C\x01b\x87R.",
    "array without content": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R.",
    "class as data": b"\x80\x03]cnumpy\nndarray\na.",
    "dtype as data": b"\x80\x03cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R.",
    "build on a list": b"\x80\x03]}b.",
    "build on a class": b"\x80\x03cnumpy\nndarray\n}b.",
    "8 EiB of text": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".",
    "4 GiB of bytes": b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b".",
    "bytearray of 2 TiB": b"\x80\x05\x96" + struct.pack("<Q", 2**41) + b".",
    "number of 2 GiB": b"\x80\x03\x8b" + struct.pack("<I", 2**31 - 1) + b"\x01.",
    "long number": b"\x80\x03\x8b" + struct.pack("<I", 5000) + b"\x01" * 5000 + b".",
    "memo far away": b"\x80\x03Nr\xff\xff\xff\xff.",
    "memo of nothing": b"\x80\x03h\x07.",
    "deep list": nested(100_000, b"]"),
    "deep tuple": nested(100_000, b"\x85"),
    "tuples in tuples as a key": b"\x80\x03}N" + b"q\x00h\x00\x86" * 60 + b"Ns.",
    "list as a key": b"\x80\x03}]Ns.",
    "encoded text": b"\x80\x03c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00rot\x86R.",
    "zip bomb of text": b"\x80\x03c_codecs\nencode\nX\x01\x00\x00\x00xX\x04\x00\x00\x00zlib\x86R.",
    "face type of text": b"\x80\x03cfacelib.FaceType\nFaceType\nX\x01\x00\x00\x00x\x85R.",
    "stack underflow": b"\x80\x030.",
    "mark underflow": b"\x80\x03e.",
    "pop beyond a mark": b"\x80\x03](0.",
    "open list": b"\x80\x03](N.",
    "nothing": b"",
    "no end": b"\x80\x03N",
    "protocol 9": b"\x80\x09N.",
    "not a pickle": b"Exif\x00\x00MM",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_at_no_cost(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeFile) as caught:
            pickles.loads(HOSTILE[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.hint
    assert peak < 20 * 1024 * 1024
    assert not os.path.exists("/tmp/understudy-was-here")  # noqa: PTH110


def test_shared_parts_do_not_multiply() -> None:
    """A few bytes that describe 2**60 elements: harmless as long as nobody walks them without looking."""
    doubled = (
        b"\x80\x03]"
        + b"".join(b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(40))
        + b"."
    )
    made = pickles.loads(doubled)
    assert len(made) == 2
    assert made[0] is made[1]
    with pytest.raises(ValueError, match="more than"):
        pickles.dumps(made, limit=65_533)


def test_a_limit_on_the_input() -> None:
    with pytest.raises(UnsafeFile, match="larger than"):
        pickles.loads(pickles.dumps(b"x" * 1000), limit=100)


def test_bytes_after_the_end_are_ignored() -> None:
    assert pickles.loads(pickles.dumps([1]) + b"\x00\xff") == [1]


def test_mapped_files_are_read_in_place(tmp_path: Path) -> None:
    """A model of gigabytes takes the room of its weights, not twice that; and the file can be closed afterwards."""
    path = tmp_path / "weights.npy"
    weights = {f"layer{n}": np.random.default_rng(n).normal(size=(512, 256)).astype(np.float32) for n in range(16)}
    path.write_bytes(pickle.dumps({**weights, "text": "x" * 10_000, "raw": b"y" * 10_000}, 4))
    tracemalloc.start()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        made = pickles.loads(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for name, array in weights.items():
        np.testing.assert_array_equal(made[name], array)
    assert (made["text"], made["raw"]) == ("x" * 10_000, b"y" * 10_000)
    assert peak < 1.2 * sum(array.nbytes for array in weights.values())
    path.write_bytes(b"\x80\x03]" + pickle.dumps([[1.0, 2.0]] * 99, 3)[2:-1] + b"cos\nsystem\n.")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        pytest.raises(UnsafeFile),
    ):
        pickles.loads(mapped)
    assert pickles.loads(memoryview(pickles.dumps({"a": 1}))) == {"a": 1}


@given(st.lists(plain, max_size=30), st.integers(16, 400))
def test_a_stream_gives_what_loading_gives(value: list[Any], window: int) -> None:
    """With windows smaller than an item, and batches of two, so that every seam is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "BATCH", 2)
        patch.setattr(streaming.Window.__init__, "__defaults__", (window,))
        for data in (pickle.dumps(value, 4), pickles.dumps(value, 3), b"".join(pickles.dump_items(value))):
            assert list(pickles.stream(io.BytesIO(data), len(data), list)) == value


@given(st.dictionaries(st.text(max_size=5), plain, max_size=20))
def test_a_stream_of_entries(value: dict[str, Any]) -> None:
    for data in (pickle.dumps(value, 3), b"".join(pickles.dump_entries(value.items()))):
        assert dict(pickles.stream(io.BytesIO(data), len(data), dict)) == value
        with pytest.raises(UnsafeFile):
            list(pickles.stream(io.BytesIO(data), len(data), list))
        if value:
            with pytest.raises(UnsafeFile):
                list(pickles.stream(io.BytesIO(data[:-1]), len(data) - 1, dict))
