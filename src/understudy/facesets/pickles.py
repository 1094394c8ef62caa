"""Pickles that hold plain data, read and written without ever running what they ask for.

Face files, faceset.pak and old model files are pickles. `loads` is a small machine that knows only the opcodes which
build None, booleans, numbers, strings, bytes, lists, tuples, dictionaries and numeric arrays; it has no way to import
or call anything, and what it allocates is bounded by the length of the input. `dumps` writes pickles that any Python
from 3.4 and any NumPy can load: array globals carry their old module name `numpy.core.multiarray`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from understudy.errors import UnsafeFile

MAX_DEPTH = 64
"""How deep lists and dictionaries may lie inside each other."""

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""Element types that an array may have, either byte order."""


class FaceTypeCode(int):
    """The number of a face type as faceset.pak stores it (geometry.face_types.FACE_TYPE_CODES)."""


class SampleTypeCode(int):
    """The number of a kind of sample as faceset.pak stores it; 1 is a face."""


def loads(
    data: bytes | bytearray | memoryview | mmap.mmap, *, limit: int | None = None, tables: frozenset[str] = frozenset()
) -> Any:
    """The plain value that a pickle describes.

    data: also a mapped file, of which nothing is copied but what ends up in the result.
    limit: most bytes that the pickle may have; None: no limit beyond its own length. tables: dictionary keys whose
    value, a list of [x, y] lists, may be given as an array (N, 2) instead, in a fraction of the time.
    Arrays are fresh and writeable, in the machine's byte order. Bytes after the end of the pickle are ignored.
    Raises UnsafeFile for anything that is not plain data, and for damaged pickles.
    """
    if limit is not None and len(data) > limit:
        raise UnsafeFile(f"A pickle of {len(data)} bytes is larger than the {limit} that fit here.", hint=_HINT)
    if tables:
        with contextlib.suppress(UnsafeFile, _SharedError):
            return _Machine(bytes(data), tables=tables).run()
    if isinstance(data, bytes):
        return _Machine(data).run()
    content = memoryview(data).cast("B")
    try:
        return _Machine(content).run()
    finally:
        with contextlib.suppress(BufferError):  # the caller may want to close a mapped file although this one failed
            content.release()


def stream(source: BinaryIO, size: int, kind: type[list[Any]] | type[dict[Any, Any]]) -> Iterator[Any]:
    """The items of a pickled list, or the (key, value) pairs of a pickled dictionary, few at a time.

    source: stands at the beginning of the pickle, which has `size` bytes. Pickles are written in batches of about a
    thousand items; no more than a few of those are held at once, unless items share lists or dictionaries with others.
    Raises UnsafeFile as `loads` does, also when the value is of another kind.
    """
    start = source.tell()
    window = _Window(source, size)
    machine = _Machine(window.data, size=size, streams=kind)
    done = 0
    try:
        for batch in machine.batches(window):
            done += len(batch)
            yield from batch
        return
    except _SharedError:
        source.seek(start)
    value = loads(source.read(size))
    yield from itertools.islice(value if isinstance(value, list) else value.items(), done, None)


def dump_items(items: Iterable[Any], protocol: int = 4) -> Iterator[bytes]:
    """The pickle of a list, piece by piece, without holding all of it."""
    yield b"\x80" + bytes([protocol]) + b"]"
    yield from (b"(" + dumps(item, protocol)[2:-1] + b"e" for item in items)
    yield b"."


def dump_entries(entries: Iterable[tuple[Any, Any]], protocol: int = 3) -> Iterator[bytes]:
    """The pickle of a dictionary, piece by piece, without holding all of it."""
    yield b"\x80" + bytes([protocol]) + b"}"
    yield from (b"(" + dumps(key, protocol)[2:-1] + dumps(value, protocol)[2:-1] + b"u" for key, value in entries)
    yield b"."


def dumps(value: Any, protocol: int = 3, *, limit: int | None = None) -> bytes:
    """A pickle (protocol 3 or 4) of None, numbers, text, bytes, lists, tuples, dictionaries, arrays and codes as above.

    limit: most bytes that the result may have. Raises ValueError beyond it, and TypeError for any other kind of value.
    """
    if protocol not in (3, 4):
        raise ValueError(f"protocol {protocol}: only 3 and 4 are read by every program of this field")
    writer = _Writer(protocol, limit)
    writer.put(b"\x80" + bytes([protocol]))
    writer.write(value, 0)
    writer.put(b".")
    return b"".join(writer.parts)


_HINT = "The file is damaged or was not made by a program of this field; do not open it with anything else."


class _DamagedError(Exception):
    """Raised inside the machine; the door turns it into UnsafeFile."""


class _CutOffError(_DamagedError):
    """The bytes at hand end before the pickle does; there may be more of them in the file."""


class _SharedError(Exception):
    """An item of a stream refers to a part of an item that has been handed out and forgotten."""


def _refuse(why: str) -> NoReturn:
    raise _DamagedError(why)


_ARRAY_HEAD = b"numpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"

_OUR_ARRAY = re.compile(
    re.escape(_ARRAY_HEAD)
    + rb"\((?P<shape>(?:K.){1,4})tcnumpy\ndtype\nX\x02\x00\x00\x00(?P<name>..)\x89\x88\x87R\(K\x03"
    + rb"X\x01\x00\x00\x00(?P<order>[<|])NNNJ\xff{4}J\xff{4}K\x00tb\x89(?:C(?P<short>.)|B(?P<long>.{4}))",
    re.DOTALL,
)
"""A small array as `dumps` writes it, from behind the opcode of its first global to the content's length."""


@contextlib.contextmanager
def _as_unsafe() -> Iterator[None]:
    """Turn what a bad pickle makes of the machine into UnsafeFile."""
    try:
        yield
    except _DamagedError as error:
        raise UnsafeFile(f"Refused: {error}.", hint=_HINT) from None
    except (LookupError, ValueError, TypeError, ArithmeticError, struct.error, MemoryError) as error:
        raise UnsafeFile(f"This is no readable data: {error}.", hint=_HINT) from None


class _Global:
    """A name that a pickle may mention; it can be reduced only in the one way known here."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_GLOBALS: dict[tuple[str, str], _Global] = {
    **{(module, "_reconstruct"): _Global("reconstruct") for module in _ARRAY_MODULES},
    **{(module, "scalar"): _Global("scalar") for module in _ARRAY_MODULES},
    ("numpy.core.numeric", "_frombuffer"): _Global("frombuffer"),
    ("numpy._core.numeric", "_frombuffer"): _Global("frombuffer"),
    ("numpy", "ndarray"): _Global("ndarray"),
    ("numpy", "dtype"): _Global("dtype"),
    ("_codecs", "encode"): _Global("encode"),
    ("__builtin__", "bytes"): _Global("no bytes"),
    ("facelib.FaceType", "FaceType"): _Global("face type"),
    ("facelib", "FaceType"): _Global("face type"),
    ("samplelib.Sample", "SampleType"): _Global("sample type"),
    ("samplelib", "SampleType"): _Global("sample type"),
}


class _DtypeInMaking:
    """An element type while its BUILD has not come yet."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype


class _Blob:
    """Bytes that lie in the pickle and have not been copied out of it."""

    __slots__ = ("at", "size")

    def __init__(self, at: int, size: int) -> None:
        self.at = at
        self.size = size

    def __len__(self) -> int:
        return self.size


_LARGE = 4096

_BATCH = 500
"""Items that a stream hands out together, at least."""


class _ArrayInMaking:
    """An array between its `_reconstruct` and its BUILD; `resolve` puts the array in its place."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: npt.NDArray[Any] | None = None


_PAIR_RUNS = {
    ord("q"): (re.compile(rb"(?:\]q.\(G.{8}G.{8}e)+", re.DOTALL), 23, 3),
    ord("r"): (re.compile(rb"(?:\]r.{4}\(G.{8}G.{8}e)+", re.DOTALL), 26, 6),
    ord("("): (re.compile(rb"(?:\]\(G.{8}G.{8}e)+", re.DOTALL), 21, 1),
    0x94: (re.compile(rb"(?:\]\x94\(G.{8}G.{8}e)+", re.DOTALL), 22, 2),
}
"""Runs of [x, y] lists, the bulk of a face's data, by the opcode that remembers each: pattern, stride, bytes to "(".

Read at once they make a face's metadata four times as fast to open.
"""

_RUN_NAMES = {"q": ord("q"), "r": ord("r"), "plain": ord("("), "counted": 0x94}

_TABLE = re.compile(
    rb"(?:q(.)|r(.{4})|(\x94))?\((?:"
    + b"|".join(b"(?P<%s>%s)" % (name.encode(), _PAIR_RUNS[code][0].pattern) for name, code in _RUN_NAMES.items())
    + rb")e",
    re.DOTALL,
)
"""A whole list of [x, y] lists, from behind its EMPTY_LIST, remembered in one of the ways or in none."""


class _Window:
    """The part of a pickled file that is being looked at: grows when an item does not fit, moves on after each."""

    def __init__(self, source: BinaryIO, size: int, step: int = 8 << 20) -> None:
        self.source, self.left, self.step = source, size, step
        self.data = b""
        self.grow()

    def grow(self) -> bool:
        """Take in as much again; False at the end of the pickle."""
        more = self.source.read(min(self.left, max(self.step, len(self.data))))
        self.left = self.left - len(more) if more else 0
        self.data += more
        return bool(more)

    def move(self, start: int) -> None:
        """Forget the bytes before `start`."""
        self.data = self.data[start:]
        if len(self.data) < self.step:
            self.grow()


def _numbers_in(rows: npt.NDArray[np.uint8], head: int) -> npt.NDArray[np.float64]:
    """The x and y of a run of [x, y] lists, (N, 2), from its bytes (N, stride)."""
    numbers = np.empty((len(rows), 16), np.uint8)
    numbers[:, :8] = rows[:, head + 2 : head + 10]
    numbers[:, 8:] = rows[:, head + 11 : head + 19]
    return numbers.view(">f8").astype(np.float64)


class _Machine:
    """The stack, the memo and one method per opcode.

    streams: the kind of container at the bottom of the stack whose items are handed out as they come.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        *,
        size: int | None = None,
        streams: type | None = None,
        tables: frozenset[str] = frozenset(),
    ) -> None:
        self.data = data
        self.tables = tables
        self.size = len(data) if size is None else size
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.room = 4 * self.size + 4096  # bytes that arrays may take in all
        self.streams = streams
        self.batch_is_ready = False
        self.passed: dict[int, Any] = {}
        self.memorised = 0

    def run(self) -> Any:
        with _as_unsafe():
            self._run()
            return _Resolver(self.data).resolve(self.pop(), 0)

    def batches(self, window: _Window) -> Iterator[list[Any]]:
        """Items of the container at the bottom, resolved, a batch at a time."""
        ended = False
        while not ended:
            with _as_unsafe():
                ended = self._run_a_batch(window)
                batch = self._items()
            yield batch
            window.move(self.at)
            self._look_at(window, at=0)
            self._pass_on()

    def _run_a_batch(self, window: _Window) -> bool:
        """Run to the end of a batch or, which is True, of the pickle; from its beginning again with a larger window."""
        before, room, memorised = self.at, self.room, self.memorised
        bottom = list(self.stack)
        while True:
            try:
                return self._run()
            except (_CutOffError, IndexError):
                if not window.grow():
                    raise
            self._look_at(window, at=before)
            self.stack, self.marks, self.memo = list(bottom), [], {}
            self.room, self.memorised, self.batch_is_ready = room, memorised, False
            if bottom:
                bottom[0].clear()

    def _look_at(self, window: _Window, *, at: int) -> None:
        self.data, self.at = window.data, at

    def _items(self) -> list[Any]:
        bottom = self.stack[0] if self.stack else None
        if type(bottom) is not self.streams or len(self.stack) > 1:
            _refuse(f"this is no {self.streams.__name__ if self.streams else 'container'}")
        assert isinstance(bottom, (list, dict))
        whole: Any = list(bottom.items()) if isinstance(bottom, dict) else list(bottom)
        resolver = _Resolver(self.data)
        made = [resolver.resolve(item, 1) for item in whole]
        bottom.clear()
        return made

    def _pass_on(self) -> None:
        """Forget what only the items handed out had need of; small values may be referred to by later ones."""
        self.passed.update((index, value) for index, value in self.memo.items() if _is_small(value))
        self.memo = {}
        self.batch_is_ready = False

    def _run(self) -> bool:
        """Run to the end of the pickle; of a stream to the end of a batch, which is False.

        The opcodes of which a face's data has most are done here and not in a method, which halves the time.
        """
        data, steps, stack, marks, memo = self.data, _STEPS, self.stack, self.marks, self.memo
        size = len(data)
        while True:
            at = self.at
            opcode = data[at]
            self.at = at + 1
            if opcode == 0x71 and stack and at + 1 < size:  # BINPUT
                if len(stack) > (marks[-1] if marks else 0):
                    index = data[at + 1]
                    self.memorised += index not in memo
                    memo[index] = stack[-1]
                    self.at = at + 2
                    continue
            elif opcode == 0x94 and stack:  # MEMOIZE
                if len(stack) > (marks[-1] if marks else 0):
                    memo[self.memorised] = stack[-1]
                    self.memorised += 1
                    continue
            elif opcode == 0x28:  # MARK
                marks.append(len(stack))
                continue
            elif opcode == 0x4B and at + 1 < size:  # BININT1
                stack.append(data[at + 1])
                self.at = at + 2
                continue
            elif opcode == 0x4E:  # NONE
                stack.append(None)
                continue
            elif opcode == 0x2E:  # STOP
                if self.marks:
                    _refuse("the pickle ends inside a list")
                return True
            step = steps[opcode]
            if step is None:
                _refuse(f"opcode {opcode:#04x} is not needed for plain data")
            step(self)
            if self.batch_is_ready:
                return False

    # -- bytes and stack

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise _CutOffError("the pickle is cut off")
        piece = bytes(self.data[self.at : end])
        self.at = end
        return piece

    def blob(self, count: int) -> bytes | _Blob:
        """Bytes of the pickle; large ones, which are the content of arrays, are only pointed at."""
        if count < _LARGE:
            return self.take(count)
        if self.at + count > len(self.data):
            raise _CutOffError("the pickle is cut off")
        self.at += count
        return _Blob(self.at - count, count)

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        return int(struct.unpack(form, self.take(size))[0])

    def line(self) -> bytes:
        piece, end, _ = bytes(self.data[self.at : self.at + 256]).partition(b"\n")
        if not end:
            raise _CutOffError("the pickle is cut off")
        self.at += len(piece) + 1
        return piece

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            _refuse("the pickle takes from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            _refuse("the pickle looks at an empty stack")
        return self.stack[-1]

    # -- opcodes with more than one line

    def protocol(self) -> None:
        if self.number("<B") > 5:
            _refuse("the pickle is of an unknown protocol")

    def frame(self) -> None:
        """FRAME: a hint for streams, without meaning here."""
        self.take(8)

    def drop(self) -> None:
        self.pop()

    def list_of_pairs(self) -> None:
        """EMPTY_LIST, alone or as the first of a run of [x, y] lists."""
        if self.tables and self._names_a_table() and self.table():
            return
        run = _PAIR_RUNS.get(self.data[self.at])
        found = run[0].match(self.data, self.at - 1) if run else None
        if run is None or found is None:
            self.stack.append([])
            return
        _, stride, head = run
        rows = np.frombuffer(found.group(), np.uint8).reshape(-1, stride)
        pairs = _numbers_in(rows, head).tolist()
        if head > 1:
            self.memo.update(zip(self._memo_indices(rows, head), pairs, strict=True))
            self.memorised += len(rows)
        self.stack.extend(pairs)
        self.at = found.end()

    def _names_a_table(self) -> bool:
        return bool(self.stack) and type(self.stack[-1]) is str and self.stack[-1] in self.tables

    def table(self) -> bool:
        """A list of nothing but [x, y] lists, whole, as an array; False when there is none here."""
        found = _TABLE.match(self.data, self.at)
        if found is None:
            return False
        short, long, counted = found.group(1, 2, 3)
        name = found.lastgroup
        assert name is not None
        _, stride, head = _PAIR_RUNS[_RUN_NAMES[name]]
        rows = np.frombuffer(found.group(name), np.uint8).reshape(-1, stride)
        table = _numbers_in(rows, head)
        self.stack.append(table)
        self.at = found.end()
        if short or long or counted:
            index = short[0] if short else int.from_bytes(long, "little") if long else self.memorised
            self.memo[index] = table
            self.memorised += 1
        if head > 1:  # its lists are not remembered: whoever refers to one is read again, without tables
            self.memorised += len(rows)
        return True

    def _memo_indices(self, rows: npt.NDArray[np.uint8], head: int) -> list[int]:
        if head == 2:
            return list(range(self.memorised, self.memorised + len(rows)))
        if head == 3:
            return [int(index) for index in rows[:, 2]]
        indices: list[int] = np.ascontiguousarray(rows[:, 2:6]).view("<u4")[:, 0].tolist()
        return indices

    def text(self, form: str) -> None:
        self.stack.append(self.take(self.number(form)).decode("utf-8", "surrogatepass"))

    def integer(self, form: str) -> None:
        size = self.number(form)
        if size > 64:
            _refuse("a whole number of more than 512 bits")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def append(self) -> None:
        value = self.pop()
        self._list().append(value)
        self._note_batch()

    def appends(self) -> None:
        items = self.pop_to_mark()
        self._list().extend(items)
        self._note_batch()

    def _note_batch(self) -> None:
        """Whether the container at the bottom has grown, and so much that its items are worth handing out."""
        if self.streams and len(self.stack) == 1 and not self.marks:
            self.batch_is_ready = len(self.stack[0]) >= _BATCH

    def _list(self) -> list[Any]:
        target = self.top()
        if type(target) is not list:
            _refuse("items are added to something that is no list")
        return target

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self.pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict or len(items) % 2:
            _refuse("entries are set in something that is no dictionary")
        for key in items[::2]:
            if not isinstance(key, (str, int, float, bytes)):
                _refuse("a dictionary key is neither text nor number")
        target.update(zip(items[::2], items[1::2], strict=True))
        self._note_batch()

    def remember(self, index: int) -> None:
        if index > self.size:
            _refuse("a memo number beyond all reason")
        self.memorised += index not in self.memo
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index in self.memo:
            self.stack.append(self.memo[index])
        elif index in self.passed:
            self.stack.append(self.passed[index])
        elif (self.streams or self.tables) and index < self.memorised:
            raise _SharedError
        else:
            _refuse("a memo number that nothing was remembered under")

    def find_global(self, module: str, name: str) -> None:
        known = _GLOBALS.get((module, name))
        if known is None:
            _refuse(f"it asks for {module}.{name}, which plain data never needs")
        self.stack.append(known)

    def global_lines(self) -> None:
        found = _OUR_ARRAY.match(self.data, self.at)
        if found is not None:
            self._our_array(found)
            return
        module, name = self.line().decode("ascii"), self.line().decode("ascii")
        self.find_global(module, name)

    def _our_array(self, found: re.Match[bytes]) -> None:
        """An array as `dumps` writes it, in one step instead of thirty; what is odd about it is refused as ever."""
        shape, name, order, short, long = found.group("shape", "name", "order", "short", "long")
        if name.decode("latin1") not in DTYPES:
            _refuse("array elements that are not numbers")
        dtype = _DtypeInMaking(np.dtype(f"{order.decode()}{name.decode()}"))
        self.at = found.end()
        content = self.blob(short[0] if short else int.from_bytes(long, "little"))
        if self.take(2) != b"tb":
            _refuse("an array whose content does not end it")
        self.stack.append(self.array(content, dtype, tuple(shape[1::2]), "C"))

    def global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            _refuse("a global that is no name")
        self.find_global(module, name)

    def reduce(self) -> None:
        arguments, target = self.pop(), self.pop()
        if type(arguments) is not tuple or not isinstance(target, _Global):
            _refuse("it calls something")
        self.stack.append(_REDUCERS[target.kind](self, *arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if type(state) is not tuple:
            _refuse("an object state that is no tuple")
        if isinstance(target, _DtypeInMaking):
            target.dtype = _with_byte_order(target.dtype, state)
        elif isinstance(target, _ArrayInMaking) and target.array is None:
            target.array = self._array(state)
        else:
            _refuse("it changes the inside of something that is no array")

    def _array(self, state: tuple[Any, ...]) -> npt.NDArray[Any]:
        _, shape, dtype, fortran, content = state
        if isinstance(content, str):
            content = content.encode("latin1")
        return self.array(content, dtype, shape, "F" if fortran else "C")

    def array(self, content: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
        """A checked array of its own memory."""
        if not isinstance(dtype, _DtypeInMaking) or not isinstance(content, (bytes, bytearray, _Blob)):
            _refuse("an array without numeric content")
        if type(shape) is not tuple or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            _refuse("an array of impossible shape")
        if math.prod(shape) * dtype.dtype.itemsize != len(content) or order not in ("C", "F"):
            _refuse("an array whose content does not fit its shape")
        self.room -= len(content)
        if self.room < 0:
            _refuse("arrays that take more room than the file has")
        if isinstance(content, _Blob):
            raw = np.frombuffer(self.data, np.uint8, count=len(content), offset=content.at)
            return self._shaped(raw, dtype.dtype, shape, order)
        return self._shaped(np.frombuffer(content, np.uint8), dtype.dtype, shape, order)

    @staticmethod
    def _shaped(raw: npt.NDArray[np.uint8], dtype: np.dtype[Any], shape: Any, order: Any) -> npt.NDArray[Any]:
        """A copy of raw bytes as an array of the machine's own byte order."""
        native = raw.view(dtype).astype(dtype.newbyteorder("="), order="C")
        return np.asarray(native.reshape(shape, order=order))


def _is_small(value: Any) -> bool:
    """Whether a value holds no list, dictionary or array, and no bytes that were left in the pickle."""
    if type(value) is tuple:
        return all(type(item) is not tuple and _is_small(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bytes, np.generic, _Global, _DtypeInMaking))


# -- what the known globals make of their arguments; none of these calls anything that the pickle chose


def _reconstruct(machine: _Machine, kind: Any, shape: Any, typecode: Any) -> _ArrayInMaking:
    if not isinstance(kind, _Global) or kind.kind != "ndarray" or shape != (0,) or typecode not in (b"b", "b"):
        _refuse("an array of a foreign class")
    return _ArrayInMaking()


def _dtype(machine: _Machine, code: Any, *rest: Any) -> _DtypeInMaking:
    if isinstance(code, bytes):
        code = code.decode("latin1")
    name = code.lstrip("<>=|") if isinstance(code, str) else ""
    if name not in DTYPES:
        _refuse("array elements that are not numbers")
    order: Literal["<", ">", "="] = "<" if code[0] == "<" else ">" if code[0] == ">" else "="
    return _DtypeInMaking(np.dtype(name).newbyteorder(order))


def _with_byte_order(dtype: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    order = state[1]
    if isinstance(order, bytes):
        order = order.decode("latin1")
    if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
        _refuse("array elements that are not numbers")
    return dtype.newbyteorder("<" if order == "<" else ">" if order == ">" else "=")


def _scalar(machine: _Machine, dtype: Any, content: Any = b"") -> Any:
    if isinstance(content, str):
        content = content.encode("latin1")
    return machine.array(content, dtype, (1,), "C")[0]


def _frombuffer(machine: _Machine, content: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    return machine.array(content, dtype, shape, order)


def _encode(machine: _Machine, text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        _refuse("text in an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes(machine: _Machine) -> bytes:
    """How protocol 2 spells empty bytes."""
    return b""


def _code_of(kind: type[int]) -> Callable[..., int]:
    def make(machine: _Machine, value: Any) -> int:
        if type(value) is not int:
            _refuse("a type number that is no number")
        return kind(value)

    return make


def _bare(machine: _Machine, *arguments: Any) -> NoReturn:
    _refuse("it makes an array in a way that plain data never needs")


_REDUCERS: dict[str, Callable[..., Any]] = {
    "reconstruct": _reconstruct,
    "dtype": _dtype,
    "scalar": _scalar,
    "frombuffer": _frombuffer,
    "encode": _encode,
    "no bytes": _no_bytes,
    "face type": _code_of(FaceTypeCode),
    "sample type": _code_of(SampleTypeCode),
    "ndarray": _bare,
}


def _steps() -> list[Callable[[_Machine], None] | None]:
    """The method for each opcode byte; None where there is none."""

    def push(value: Any) -> Callable[[_Machine], None]:
        return lambda m: m.stack.append(value)

    def read(form: str) -> Callable[[_Machine], None]:
        return lambda m: m.stack.append(m.number(form))

    def tuple_of(count: int) -> Callable[[_Machine], None]:
        def make(m: _Machine) -> None:
            items = [m.pop() for _ in range(count)]
            m.stack.append(tuple(reversed(items)))

        return make

    def blob(form: str) -> Callable[[_Machine], None]:
        return lambda m: m.stack.append(m.blob(m.number(form)))

    table: dict[bytes, Callable[[_Machine], None]] = {
        b"\x80": _Machine.protocol,
        b"\x95": _Machine.frame,
        b"(": lambda m: m.marks.append(len(m.stack)),
        b"0": _Machine.drop,
        b"N": push(None),
        b"\x88": push(True),
        b"\x89": push(False),
        b"K": read("<B"),
        b"M": read("<H"),
        b"J": read("<i"),
        b"\x8a": lambda m: m.integer("<B"),
        b"\x8b": lambda m: m.integer("<I"),
        b"G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
        b"X": lambda m: m.text("<I"),
        b"\x8c": lambda m: m.text("<B"),
        b"\x8d": lambda m: m.text("<Q"),
        b"B": blob("<I"),
        b"C": blob("<B"),
        b"\x8e": blob("<Q"),
        b"\x96": lambda m: m.stack.append(bytearray(m.take(m.number("<Q")))),
        b"]": _Machine.list_of_pairs,
        b"l": lambda m: m.stack.append(m.pop_to_mark()),
        b"a": _Machine.append,
        b"e": _Machine.appends,
        b")": push(()),
        b"\x85": tuple_of(1),
        b"\x86": tuple_of(2),
        b"\x87": tuple_of(3),
        b"t": lambda m: m.stack.append(tuple(m.pop_to_mark())),
        b"}": lambda m: m.stack.append({}),
        b"s": _Machine.set_item,
        b"u": _Machine.set_items,
        b"q": lambda m: m.remember(m.number("<B")),
        b"r": lambda m: m.remember(m.number("<I")),
        b"\x94": lambda m: m.remember(m.memorised),
        b"h": lambda m: m.recall(m.number("<B")),
        b"j": lambda m: m.recall(m.number("<I")),
        b"c": _Machine.global_lines,
        b"\x93": _Machine.global_stack,
        b"R": _Machine.reduce,
        b"b": _Machine.build,
    }
    return [table.get(bytes([code])) for code in range(256)]


_STEPS = _steps()


class _Resolver:
    """Puts finished arrays and bytes where the machine left its own records, and refuses what is left half made."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.seen: dict[int, Any] = {}
        self.kept: list[Any] = []

    def resolve(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is _ArrayInMaking:
            if value.array is None:
                _refuse("an array without content")
            return value.array
        if kind is _Blob:
            return bytes(self.data[value.at : value.at + len(value)])
        if isinstance(value, (_Global, _DtypeInMaking)):
            _refuse("a class where data should be")
        if kind not in (list, dict, tuple):
            return value
        if depth >= MAX_DEPTH:
            _refuse(f"data nested deeper than {MAX_DEPTH} levels")
        if id(value) in self.seen:
            return self.seen[id(value)]
        self.kept.append(value)
        return self._container(value, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        if type(value) is tuple:
            made = tuple(self.resolve(item, depth) for item in value)
            self.seen[id(value)] = made
            return made
        self.seen[id(value)] = value
        if type(value) is dict:
            for key, item in value.items():
                value[key] = self.resolve(item, depth)
        elif not _is_table(value):
            value[:] = [self.resolve(item, depth) for item in value]
        return value


def _is_table(rows: list[Any]) -> bool:
    """Whether a list holds only leaves, or only lists of leaves: landmarks, which need no closer look."""
    kinds = set(map(type, rows))
    return kinds <= _LEAVES or (kinds == {list} and set(map(type, chain.from_iterable(rows))) <= _LEAVES)


_LEAVES = frozenset({type(None), bool, int, float, str, bytes, bytearray})


class _Writer:
    """Emits opcodes without a memo: shared parts are written again, which every reader accepts."""

    def __init__(self, protocol: int, limit: int | None) -> None:
        self.protocol = protocol
        self.limit = limit
        self.size = 0
        self.parts: list[bytes] = []

    def put(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.size += len(piece)
            self.parts.append(piece)
        if self.limit is not None and self.size > self.limit:
            raise ValueError(f"the data takes more than {self.limit} bytes")

    def write(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError(f"data nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, np.generic):
            self._scalar(value)
        elif isinstance(value, (FaceTypeCode, SampleTypeCode)):
            self._code(value)
        elif isinstance(value, (list, tuple, dict)):
            self._container(value, depth)
        else:
            self._leaf(value)

    def _leaf(self, value: Any) -> None:
        if value is None:
            self.put(b"N")
        elif isinstance(value, bool):
            self.put(b"\x88" if value else b"\x89")
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self.put(b"G", struct.pack(">d", value))
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            self.put(b"X", struct.pack("<I", len(text)), text)
        elif isinstance(value, (bytes, bytearray)):
            self._bytes(bytes(value))
        else:
            raise TypeError(f"{type(value).__name__} is no plain data")

    def _integer(self, value: int) -> None:
        if 0 <= value < 256:
            self.put(b"K", bytes([value]))
        elif -(2**31) <= value < 2**31:
            self.put(b"J", struct.pack("<i", value))
        else:
            body = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(body) > 64:
                raise ValueError("a whole number of more than 512 bits")
            self.put(b"\x8a", bytes([len(body)]), body)

    def _bytes(self, value: bytes) -> None:
        if len(value) < 256:
            self.put(b"C", bytes([len(value)]), value)
        elif len(value) < 2**32:
            self.put(b"B", struct.pack("<I", len(value)), value)
        elif self.protocol >= 4:
            self.put(b"\x8e", struct.pack("<Q", len(value)), value)
        else:
            raise ValueError("4 GiB in one piece need protocol 4")

    def _container(self, value: list[Any] | tuple[Any, ...] | dict[Any, Any], depth: int) -> None:
        if isinstance(value, dict):
            self.put(b"}(")
            for key, item in value.items():
                self.write(key, depth + 1)
                self.write(item, depth + 1)
            self.put(b"u")
        elif isinstance(value, list) and _are_points(value):
            self.put(b"](", _point_lists(value), b"e")
        elif isinstance(value, list):
            self.put(b"](")
            for item in value:
                self.write(item, depth + 1)
            self.put(b"e")
        else:
            self.put(b"(")
            for item in value:
                self.write(item, depth + 1)
            self.put(b"t")

    def _array(self, value: npt.NDArray[Any]) -> None:
        content = np.ascontiguousarray(value)
        if not content.dtype.isnative:
            content = content.astype(content.dtype.newbyteorder("="))
        self.put(b"c", _ARRAY_HEAD)
        self.write(tuple(int(n) for n in value.shape), 0)
        self._dtype(content.dtype)
        self.put(b"\x89")
        self._bytes(content.astype(content.dtype.newbyteorder("<"), copy=False).tobytes())
        self.put(b"tb")

    def _scalar(self, value: np.generic) -> None:
        content = np.asarray(value)
        self.put(b"cnumpy.core.multiarray\nscalar\n")
        self._dtype(content.dtype)
        self._bytes(content.astype(content.dtype.newbyteorder("<"), copy=False).tobytes())
        self.put(b"\x86R")

    def _dtype(self, dtype: np.dtype[Any]) -> None:
        name = f"{dtype.kind}{dtype.itemsize}"
        if name not in DTYPES:
            raise TypeError(f"an array of {dtype} is no plain data")
        order = b"|" if dtype.itemsize == 1 else b"<"
        self.put(b"cnumpy\ndtype\n")
        self._leaf(name)
        self.put(b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00", order, b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")

    def _code(self, value: int) -> None:
        self.put(b"cfacelib.FaceType\nFaceType\n" if isinstance(value, FaceTypeCode) else _SAMPLE_TYPE)
        self._integer(int(value))
        self.put(b"\x85R")


def _are_points(value: list[Any]) -> bool:
    """Whether a list holds [x, y] lists of floats and nothing else."""
    return set(map(type, value)) == {list} and set(map(len, value)) == {2} and set(map(type, chain(*value))) == {float}


def _point_lists(points: list[list[float]]) -> bytes:
    """The opcodes of many [x, y] lists at once, which are nearly all there is in a face's data."""
    numbers = np.array(points, ">f8")
    rows = np.empty((len(points), 21), np.uint8)
    rows[:] = np.frombuffer(b"](G________G________e", np.uint8)
    rows[:, 3:11] = numbers[:, :1].copy().view(np.uint8)
    rows[:, 12:20] = numbers[:, 1:].copy().view(np.uint8)
    return rows.tobytes()


_SAMPLE_TYPE = b"csamplelib.Sample\nSampleType\n"
