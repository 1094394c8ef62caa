"""The bulk of a face's data, read at once: lists of [x, y] lists, and arrays as `dumps` writes them.

Opcode by opcode a face takes four times as long to open. What does not look exactly like this goes that way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from understudy.facesets.pickles.arrays import ElementType
from understudy.facesets.pickles.kinds import ARRAY_HEAD


class Pairs(NamedTuple):
    """[x, y] lists that lie one after the other in a pickle.

    rows: (N, head + 20) uint8, the bytes of each. end: where they end in the pickle. The head is EMPTY_LIST and the
    opcode that remembers the list, if any; then come MARK, x and y, each behind BINFLOAT, and APPENDS.
    """

    rows: npt.NDArray[np.uint8]
    end: int

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        """x and y, (N, 2)."""
        big_endian = np.empty((len(self.rows), 16), np.uint8)
        big_endian[:, :8] = self.rows[:, -18:-10]
        big_endian[:, 8:] = self.rows[:, -9:-1]
        return big_endian.view(">f8").astype(np.float64)

    def memo_indices(self, memorised: int) -> Sequence[int]:
        """The numbers under which the lists are remembered, none where they are not; `memorised` is the next free."""
        head = self.rows.shape[1] - _PAIR_BYTES
        if head == _HEADS["counted"]:
            return range(memorised, memorised + len(self.rows))
        if head == _HEADS["short"]:
            return list(self.rows[:, 2].tolist())
        if head == _HEADS["long"]:
            return list(np.ascontiguousarray(self.rows[:, 2:6]).view("<u4")[:, 0].tolist())
        return ()


class ArrayHead(NamedTuple):
    """What stands before an array's content. size: of the content in bytes. end: where it begins in the pickle."""

    element: ElementType
    shape: tuple[int, ...]
    size: int
    end: int


def pairs_at(data: bytes | memoryview, at: int) -> Pairs | None:
    """The run of [x, y] lists that begins with the EMPTY_LIST at `at`; all of one run are remembered in one way."""
    way = _WAYS.get(data[at + 1])
    found = _RUNS[way].match(data, at) if way else None
    return None if way is None or found is None else _pairs(found.group(), way, found.end())


def table_at(data: bytes | memoryview, at: int, memorised: int) -> tuple[Pairs, int | None] | None:
    """A whole list of nothing but [x, y] lists, from behind its EMPTY_LIST, and its own memo number, if any."""
    found = _TABLE.match(data, at)
    if found is None:
        return None
    way, (short, long, counted) = found.lastgroup, found.group(1, 2, 3)
    assert way is not None
    index = short[0] if short else int.from_bytes(long, "little") if long else memorised if counted else None
    return _pairs(found.group(way), way, found.end()), index


def array_at(data: bytes | memoryview, at: int) -> ArrayHead | None:
    """The beginning of a small array, from behind the opcode of its first global."""
    found = _OUR_ARRAY.match(data, at)
    if found is None:
        return None
    shape, name, order, short, long = found.group("shape", "name", "order", "short", "long")
    size = short[0] if short else int.from_bytes(long, "little")
    return ArrayHead(ElementType(order + name), tuple(shape[1::2]), size, found.end())


_PAIR_BYTES = 20
_WAYS = {ord("q"): "short", ord("r"): "long", 0x94: "counted", ord("("): "plain"}
"""The ways in which the lists of a run may be remembered, by the byte that follows their EMPTY_LIST."""
_HEADS = {"short": 3, "long": 6, "counted": 2, "plain": 1}
_REMEMBERS = {"short": rb"q.", "long": rb"r.{4}", "counted": rb"\x94", "plain": rb""}
_RUNS = {
    way: re.compile(rb"(?:\]" + remembers + rb"\(G.{8}G.{8}e)+", re.DOTALL) for way, remembers in _REMEMBERS.items()
}
_TABLE = re.compile(
    rb"(?:q(.)|r(.{4})|(\x94))?\((?:"
    + b"|".join(b"(?P<%s>%s)" % (way.encode(), run.pattern) for way, run in _RUNS.items())
    + rb")e",
    re.DOTALL,
)
_OUR_ARRAY = re.compile(
    re.escape(ARRAY_HEAD[1:])
    + rb"\((?P<shape>(?:K.){1,4})tcnumpy\ndtype\nX\x02\x00\x00\x00(?P<name>..)\x89\x88\x87R\(K\x03"
    + rb"X\x01\x00\x00\x00(?P<order>[<|])NNNJ\xff{4}J\xff{4}K\x00tb\x89(?:C(?P<short>.)|B(?P<long>.{4}))",
    re.DOTALL,
)


def _pairs(run: bytes, way: str, end: int) -> Pairs:
    return Pairs(np.frombuffer(run, np.uint8).reshape(-1, _HEADS[way] + _PAIR_BYTES), end)
