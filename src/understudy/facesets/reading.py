"""Pictures of many faces, decoded in several threads: results in order, in memory that does not grow with their number.

for entry, found in each_face(catalog.faces(), lambda entry, face: face.rgb8.mean()):
    if isinstance(found, Skipped): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from understudy.devices import physical_cores
from understudy.errors import UnderstudyError
from understudy.facesets.catalog import FaceEntry
from understudy.facesets.faces import Face
from understudy.imaging.threads import one_thread_per_call
from understudy.records import Skipped
from understudy.report import Pace, Report, Stop, never, silent

T = TypeVar("T")
Item = TypeVar("Item")

AHEAD_PER_WORKER = 4
"""Faces under way or waiting to be taken, for each thread: what bounds the memory."""


def each_face(
    entries: Sequence[FaceEntry],
    work: Callable[[FaceEntry, Face], T],
    *,
    workers: int = 0,
    step: str = "Looking at faces",
    report: Report = silent,
    stop: Stop = never,
) -> Iterator[tuple[FaceEntry, T | Skipped]]:
    """Yield (entry, work(entry, face)) of every face in order; loose and packed faces alike.

    A face that cannot be read, or for which `work` raises an error of ours, gives Skipped in place of a result.
    workers: threads, 0 for one per core; `work` must not mind being called by several at once. Ends early when `stop`
    turns true: ask it again afterwards. While this runs, OpenCV starts no threads of its own.
    """

    def read_and_work(entry: FaceEntry) -> T | Skipped:
        try:
            return work(entry, entry.read())
        except UnderstudyError as error:
            return Skipped(entry.key, str(error.context.get("reason", error.message)))

    yield from each_item(entries, read_and_work, workers=workers, step=step, report=report, stop=stop)


def each_item(
    items: Sequence[Item],
    work: Callable[[Item], T],
    *,
    workers: int = 0,
    step: str = "Looking at faces",
    unit: str = "faces",
    report: Report = silent,
    stop: Stop = never,
) -> Iterator[tuple[Item, T]]:
    """Yield (item, work(item)) in order, as `each_face` does, for work that reads by itself."""
    threads = workers or physical_cores()
    pace = Pace(step, len(items), report, unit=unit)
    waiting: deque[tuple[Item, Future[T]]] = deque()
    with one_thread_per_call(), ThreadPoolExecutor(threads, thread_name_prefix="faces") as pool:
        try:
            for item in items:
                if stop():
                    return
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= AHEAD_PER_WORKER * threads:
                    yield _first(waiting)
                    pace.advance()
            while waiting and not stop():
                yield _first(waiting)
                pace.advance()
        finally:
            for _, future in waiting:
                future.cancel()


def _first(waiting: deque[tuple[Item, Future[T]]]) -> tuple[Item, T]:
    item, future = waiting.popleft()
    return item, future.result()
