"""Plain values from whole pickles."""

from __future__ import annotations

import contextlib
import mmap
from itertools import chain
from typing import Any

from understudy.errors import UnsafeFile
from understudy.facesets.pickles.arrays import Blob, ElementType, EmptyArray, Global
from understudy.facesets.pickles.kinds import MAX_DEPTH
from understudy.facesets.pickles.machine import Machine
from understudy.facesets.pickles.refusals import HINT, SharedError, as_unsafe, refuse


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
        raise UnsafeFile(f"A pickle of {len(data)} bytes is larger than the {limit} that fit here.", hint=HINT)
    if tables:
        with contextlib.suppress(UnsafeFile, SharedError):
            return _value(Machine(bytes(data), tables=tables))
    if isinstance(data, bytes):
        return _value(Machine(data))
    content = memoryview(data).cast("B")
    try:
        return _value(Machine(content))
    finally:
        with contextlib.suppress(BufferError):  # the caller may want to close a mapped file although this one failed
            content.release()


def references(data: bytes | mmap.mmap) -> Any:
    """The plain value that a pickle describes, with its large arrays left in the file: StoredArray in their places.

    data: the whole file, mapped, so that what is left is not read. Raises UnsafeFile as `loads` does.
    """
    if isinstance(data, bytes):
        return _value(Machine(data, leaves=True))
    content = memoryview(data)
    try:
        return _value(Machine(content, leaves=True))
    finally:
        with contextlib.suppress(BufferError):
            content.release()


class Resolver:
    """Puts finished arrays and bytes where the machine left its own records, and refuses what is left half made."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._kept: list[Any] = []  # so that no other value gets the id of one that has been seen

    def resolve(self, value: Any, depth: int = 0) -> Any:
        """The plain value; lists and dictionaries are changed in place. depth: how deep it lies in others already."""
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is EmptyArray:
            if value.array is None:
                refuse("an array without content")
            return value.array
        if kind is Blob:
            return bytearray(bytes(value)) if value.may_change else bytes(value)
        if kind is Global or kind is ElementType:
            refuse("a class where data should be")
        if kind not in (list, dict, tuple):
            return value
        if depth >= MAX_DEPTH:
            refuse(f"data nested deeper than {MAX_DEPTH} levels")
        if id(value) in self._seen:
            return self._seen[id(value)]
        self._kept.append(value)
        return self._container(value, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        if type(value) is tuple:
            made = tuple(self.resolve(item, depth) for item in value)
            self._seen[id(value)] = made
            return made
        self._seen[id(value)] = value
        if type(value) is dict:
            for key, item in value.items():
                value[key] = self.resolve(item, depth)
        elif not _is_table(value):
            value[:] = [self.resolve(item, depth) for item in value]
        return value


_LEAVES = frozenset({type(None), bool, int, float, str, bytes, bytearray})


def _value(machine: Machine) -> Any:
    with as_unsafe():
        machine.run()
        return Resolver().resolve(machine.pop())


def _is_table(rows: list[Any]) -> bool:
    """Whether a list holds only leaves, or only lists of leaves: landmarks, which need no closer look."""
    kinds = set(map(type, rows))
    return kinds <= _LEAVES or (kinds == {list} and set(map(type, chain.from_iterable(rows))) <= _LEAVES)
