"""The items of one long pickled list or dictionary, a few at a time: packs and backups need not fit into memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from understudy.facesets.pickles.arrays import ElementType, Global
from understudy.facesets.pickles.machine import Machine
from understudy.facesets.pickles.reading import Resolver, loads
from understudy.facesets.pickles.refusals import CutOffError, SharedError, as_unsafe, refuse

BATCH = 500
"""Items that are handed out together, at least."""


def stream(source: BinaryIO, size: int, kind: type[list[Any]] | type[dict[Any, Any]]) -> Iterator[Any]:
    """The items of a pickled list, or the (key, value) pairs of a pickled dictionary, few at a time.

    source: stands at the beginning of the pickle, which has `size` bytes. Pickles are written in batches of about a
    thousand items; no more than a few of those are held at once, unless items share lists or dictionaries with others.
    Raises UnsafeFile as `loads` does, also when the value is of another kind.
    """
    start = source.tell()
    done = 0
    try:
        for batch in _Stream(Window(source, size), size, kind).batches():
            done += len(batch)
            yield from batch
        return
    except SharedError:
        source.seek(start)
    value = loads(source.read(size))
    yield from itertools.islice(value if isinstance(value, list) else value.items(), done, None)


class Window:
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


class _Stream(Machine):
    """A machine that halts each time when the container at the bottom of its stack has got enough items.

    Between batches it forgets the container's items and its memo, except for small values that later items may share.
    """

    def __init__(self, window: Window, size: int, kind: type[Any]) -> None:
        super().__init__(window.data, size=size)
        self.window, self.kind = window, kind
        self.kept: dict[int, Any] = {}

    def batches(self) -> Iterator[list[Any]]:
        """All items, resolved. Raises UnsafeFile, and SharedError when an item refers to one that was forgotten."""
        while not self.has_ended:
            with as_unsafe():
                self._run_a_batch()
                batch = self._taken()
            yield batch
            self.window.move(self.at)
            self._look_at(0)
            self.kept.update((index, value) for index, value in self.memo.items() if _is_small(value))
            self.memo = {}

    def has_grown(self) -> None:
        self.is_halted = len(self.stack) == 1 and not self.marks and len(self.stack[0]) >= BATCH

    def forgotten(self, index: int) -> Any:
        if index in self.kept:
            return self.kept[index]
        if index < self.memorised:
            raise SharedError
        return super().forgotten(index)

    def _run_a_batch(self) -> None:
        """Run to the end of a batch or of the pickle, from the batch's beginning again while the window is too small.

        What it begins with is no more than the empty container; no mark is open, and nothing is in the memo.
        """
        begin, stack, memorised, room = self.at, list(self.stack), self.memorised, self.arrays.room
        self.is_halted = False
        while True:
            try:
                return self.run()
            except (CutOffError, IndexError):
                if not self.window.grow():
                    raise
            self._look_at(begin)
            self.stack, self.marks, self.memo = list(stack), [], {}
            self.memorised, self.arrays.room = memorised, room
            if stack:
                stack[0].clear()

    def _look_at(self, at: int) -> None:
        self.data, self.at = self.window.data, at

    def _taken(self) -> list[Any]:
        """The items of the container, which is empty afterwards."""
        if len(self.stack) != 1 or type(self.stack[0]) is not self.kind:
            refuse(f"this is no {self.kind.__name__}")
        bottom: Any = self.stack[0]
        items = list(bottom.items() if self.kind is dict else bottom)
        bottom.clear()
        resolver = Resolver()
        return [resolver.resolve(item, 1) for item in items]


def _is_small(value: Any) -> bool:
    """Whether a value holds no list, dictionary or array, and no bytes that were left in the pickle."""
    if type(value) is tuple:
        return all(type(item) is not tuple and _is_small(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bytes, np.generic, Global, ElementType))
