"""Chains of faces by their pixels: the sum of absolute differences between any two pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from understudy.facesets.reading import each_item
from understudy.files import os_errors
from understudy.report import Pace, Report, Stop, never, silent

Picture8 = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.uint32]

HELD_BYTES = 256 << 20
"""Pictures in memory at a time, in bytes: two blocks of them."""

IN_MEMORY = 4096
"""Of more pictures the table of differences, four bytes for each two, lies in a file."""


def chain_of_differences(
    count: int,
    picture: Callable[[int], Picture8],
    *,
    farthest: bool = False,
    scratch: Path | None = None,
    report: Report = silent,
    stop: Stop = never,
) -> list[int]:
    """All pictures, from picture 0 on always the one most like it that is left, or the least; the first of equals.

    picture: reads one by its number, (H, W, 3) uint8 of one size; called by several threads, and for each picture
    about count / 300 times at 512 px. scratch: folder of the table's file. Ends early when `stop` turns true.
    """
    with _table(count, scratch) as table:
        _fill(table, picture, report, stop)
        return _chain(table, farthest=farthest, stop=stop)


def _chain(table: Sums, *, farthest: bool, stop: Stop) -> list[int]:
    left = np.ones(len(table), bool)
    order: list[int] = []
    now = 0
    while len(order) < len(table) and not stop():
        order.append(now)
        left[now] = False
        if farthest:
            now = int(np.argmax(np.where(left, table[now].astype(np.int64), -1)))
        else:
            now = int(np.argmin(np.where(left, table[now].astype(np.int64), np.iinfo(np.int64).max)))
    return order


def _fill(table: Sums, picture: Callable[[int], Picture8], report: Report, stop: Stop) -> None:
    """Every two pictures once, block against block."""
    size = picture(0).nbytes if len(table) else 1
    per_block = max(1, HELD_BYTES // 2 // max(size, 1))
    blocks = [range(start, min(start + per_block, len(table))) for start in range(0, len(table), per_block)]
    pace = Pace("Comparing", len(blocks) * (len(blocks) + 1) // 2, report, unit="blocks")
    for place, rows in enumerate(blocks):
        first = _read(rows, picture, stop)
        for columns in blocks[place:]:
            second = first if columns is rows else _read(columns, picture, stop)
            if stop():
                return
            numbered = list(zip(rows, first, strict=True))
            for (row, _), sums in each_item(numbered, partial(_differences, second), stop=stop):
                table[row, columns.start : columns.stop] = sums
                table[columns.start : columns.stop, row] = sums
            pace.advance()


def _read(numbers: range, picture: Callable[[int], Picture8], stop: Stop) -> list[Picture8]:
    return [read for _, read in each_item(list(numbers), picture, stop=stop)]


def _differences(others: list[Picture8], one: tuple[int, Picture8]) -> list[int]:
    return [int(cv2.norm(one[1], other, cv2.NORM_L1)) for other in others]


@contextmanager
def _table(count: int, scratch: Path | None) -> Iterator[Sums]:
    """A (count, count) uint32 table; in a file, with its room taken beforehand, where it is large."""
    if count <= IN_MEMORY:
        yield np.zeros((count, count), np.uint32)
        return
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        with os_errors(Path(scratch or tempfile.gettempdir()) / "table of differences"):
            for _ in range(count):
                file.write(bytes(4 * count))  # a full disk is found now, and not by the first number that finds no room
            file.flush()
        table = np.memmap(file, np.uint32, "r+", shape=(count, count))
        yield table
        del table
