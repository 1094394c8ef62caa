"""Frames through several threads in bounded memory: looked at in stretches, joined in order, finished one by one.

    reader thread: decode → passes      worker threads: look at passes, do jobs      caller: iterates looks and results
                                                                 ▲                         │
                                                                 └──────── submit ─────────┘

A stretch is a fixed run of frame indices, so what belongs together does not depend on the number of threads. The caller
gets every look, in the order in which they finish, joins them as it likes, and submits jobs for the same threads. It
says when a frame is no longer needed; until then the frame counts against the memory.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import psutil

from understudy.media import Frame, FrameSource
from understudy.report import Stop, never

LONGEST_STRETCH = 12
STRETCH_PIXELS = 25_000_000
"""Stretches of large frames are shorter: 12 frames up to 1080p, 3 at 4K, 1 for photographs."""

LEAST_MEMORY = 256 * 2**20
POLL_SECS = 0.1

LookT = TypeVar("LookT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Pass:
    """One frame on its way. serial: counts the frames that were read, from 0. mark: what the reader noticed of it."""

    serial: int
    frame: Frame
    mark: bool = False


class Worker(Protocol[LookT]):
    """What one thread does. `begin` comes before the frames of each stretch; `look` gets them in order.

    batch: how many frames of a stretch `look` wants at once.
    """

    batch: int

    def begin(self) -> None: ...

    def look(self, passes: list[Pass]) -> list[LookT]:
        """One look for each."""
        ...


@dataclass(frozen=True)
class _Failure:
    error: BaseException


@dataclass(eq=False)
class _Stretch:
    passes: deque[Pass] = field(default_factory=deque)
    is_whole: bool = False


def stretch_length(footage: FrameSource) -> int:
    """How many frames make a stretch of this footage."""
    pixels: int = max(1, footage.info.width * footage.info.height)
    return max(1, min(LONGEST_STRETCH, STRETCH_PIXELS // pixels))


class Stretches(Generic[LookT, ResultT]):
    """Iterates over what workers saw in each frame and over the results of jobs, as they finish. A context manager.

    Iteration ends when every frame was looked at, `flush` has been called and every job is done; or early when `stop()`
    turns true (`stopped` tells). An error in any thread is raised here.
    """

    def __init__(
        self,
        footage: FrameSource,
        start: int,
        make_worker: Callable[[], Worker[LookT]],
        *,
        workers: int = 0,
        ahead: int = 0,
        frames: Callable[[], Iterator[tuple[Frame, bool]]] | None = None,
        flush: Callable[[], None] | None = None,
        stop: Stop = never,
    ) -> None:
        """start: index of the first frame to look at. workers: threads, 0: one per core. make_worker: called in each.

        ahead: so many frames after one that is still needed are read however little memory there is. frames: gives the
        frames from `start` on, each with its mark, in the reader's thread; by default those of the footage, unmarked.
        flush: called when all looks were taken, to submit the last jobs.
        """
        self._footage, self._start, self._make_worker, self._stop = footage, start, make_worker, stop
        self._count = workers or os.cpu_count() or 1
        self._length = stretch_length(footage)
        self._frames, self._flush = frames or self._unmarked, flush
        self._limit = _memory_limit(footage, 2 * self._count * self._length + ahead)
        self._ahead = max(ahead, self._length + 1)
        self._board = threading.Condition()
        self._waiting: deque[_Stretch] = deque()
        self._jobs: deque[Callable[[], ResultT]] = deque()
        self._results: deque[LookT | ResultT | _Failure] = deque()
        self._held: dict[int, int] = {}
        """Bytes of the frames that are still needed, by serial, ascending."""
        self._used = self._read_count = self._looked_count = self._jobs_open = 0
        self._all_read = self._closed = False
        self._threads: list[threading.Thread] = []
        self.stopped = False

    def __enter__(self) -> Self:
        tasks = [self._read, *([self._run] * self._count)]
        self._threads = [threading.Thread(target=self._guarded, args=(task,), daemon=True) for task in tasks]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._board:
            self._closed = True
            self._board.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, job: Callable[[], ResultT]) -> None:
        """Have a job done by one of the threads; its result is iterated. Jobs go before frames."""
        with self._board:
            self._jobs.append(job)
            self._jobs_open += 1
            self._board.notify_all()

    def release(self, serial: int) -> None:
        """Say that a frame is no longer needed. Saying it twice is fine."""
        with self._board:
            self._used -= self._held.pop(serial, 0)
            self._board.notify_all()

    def __iter__(self) -> Iterator[LookT | ResultT]:
        is_flushed = False
        while True:
            if self._stop():
                self.stopped = True
                return
            with self._board:
                if not self._results:
                    if self._all_read and self._looked_count == self._read_count and not self._jobs_open:
                        if is_flushed:
                            return
                    else:
                        self._board.wait(POLL_SECS)
                        continue
                result = self._results.popleft() if self._results else None
            if result is None:
                is_flushed = True
                if self._flush is not None:
                    self._flush()
            elif isinstance(result, _Failure):
                raise result.error
            else:
                yield result

    def _guarded(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # handed to the thread that iterates, which raises it
            with self._board:
                self._results.append(_Failure(error))
                self._board.notify_all()

    def _unmarked(self) -> Iterator[tuple[Frame, bool]]:
        return ((frame, False) for frame in self._footage.frames(self._start))

    def _read(self) -> None:
        stretch, number = _Stretch(is_whole=True), -1
        for frame, mark in self._frames():
            size = _bytes_of(frame)
            with self._board:
                while not self._closed and not self._has_room(size):
                    self._board.wait()
                if self._closed:
                    return
                if frame.index // self._length != number:
                    number = frame.index // self._length
                    stretch.is_whole = True
                    stretch = _Stretch()
                    self._waiting.append(stretch)
                stretch.passes.append(Pass(self._read_count, frame, mark))
                self._held[self._read_count] = size
                self._used += size
                self._read_count += 1
                self._board.notify_all()
        with self._board:
            stretch.is_whole = self._all_read = True
            self._board.notify_all()

    def _has_room(self, size: int) -> bool:
        if not self._held or self._used + size <= self._limit:
            return True
        return self._read_count <= next(iter(self._held)) + self._ahead

    def _run(self) -> None:
        worker = self._make_worker()
        stretch: _Stretch | None = None
        while True:
            with self._board:
                while (task := self._next(stretch, worker.batch)) is None:
                    self._board.wait()
                if self._closed:
                    return
            if isinstance(task, _Stretch):
                stretch = task
                worker.begin()
            elif isinstance(task, list):
                self._finish(worker.look(task))
                task = None
            else:
                self._finish([task()], jobs=1)

    def _next(self, stretch: _Stretch | None, batch: int) -> _Stretch | list[Pass] | Callable[[], ResultT] | None:
        """What a thread does next; None when there is nothing to do yet. An end counts as something to do."""
        if self._closed:
            return []
        if self._jobs:
            return self._jobs.popleft()
        if stretch is not None and stretch.passes:
            if len(stretch.passes) >= batch or stretch.is_whole:
                return [stretch.passes.popleft() for _ in range(min(batch, len(stretch.passes)))]
            return None
        if (stretch is None or stretch.is_whole) and self._waiting:
            return self._waiting.popleft()
        return None

    def _finish(self, made: list[LookT] | list[ResultT], *, jobs: int = 0) -> None:
        with self._board:
            self._results.extend(made)
            self._jobs_open -= jobs
            self._looked_count += 0 if jobs else len(made)
            self._board.notify_all()


def _bytes_of(frame: Frame) -> int:
    pixels: int = frame.height * frame.width
    return pixels * (9 if frame.bit_depth > 8 else 6)


def _memory_limit(footage: FrameSource, frames: int) -> int:
    pixels = footage.info.width * footage.info.height
    wanted = frames * pixels * (9 if footage.info.bit_depth > 8 else 6)
    quarter = int(psutil.virtual_memory().available) // 4
    return int(max(LEAST_MEMORY, min(wanted, quarter)))
