"""Frames through several threads in bounded memory, a stretch (a few frames in a row) to a thread at a time.

    reader thread: decode → stretch queues    worker threads: one stretch each → results    caller: iterates the results

A stretch is a fixed run of frame indices, so what belongs together does not depend on the number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
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

Result = TypeVar("Result")
ResultOut = TypeVar("ResultOut", covariant=True)


class Worker(Protocol[ResultOut]):
    """What one thread does. `begin` comes before the frames of each stretch; `work` gets them in order."""

    def begin(self) -> None: ...

    def work(self, frame: Frame) -> ResultOut: ...


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _End:
    """Marks the end of a queue."""


def stretch_length(footage: FrameSource) -> int:
    """How many frames make a stretch of this footage."""
    pixels: int = max(1, footage.info.width * footage.info.height)
    return max(1, min(LONGEST_STRETCH, STRETCH_PIXELS // pixels))


class Stretches(Generic[Result]):
    """Iterates over what workers made of each frame, in the order they finish. Use as a context manager.

    Iteration ends early when `stop()` turns true (`stopped` tells); an error in any thread is raised here.
    """

    def __init__(
        self,
        footage: FrameSource,
        start: int,
        make_worker: Callable[[], Worker[Result]],
        *,
        workers: int = 0,
        stop: Stop = never,
    ) -> None:
        """start: index of the first frame to read. workers: threads, 0: one per core. make_worker: called in each."""
        self._footage, self._start, self._make_worker, self._stop = footage, start, make_worker, stop
        self._count = workers or os.cpu_count() or 1
        self._length = stretch_length(footage)
        self._budget = _Budget(_memory_limit(footage, self._count * self._length))
        self._stretches: SimpleQueue[SimpleQueue[Frame | _End] | _End] = SimpleQueue()
        self._results: SimpleQueue[Result | _Failure | _End] = SimpleQueue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.stopped = False

    def __enter__(self) -> Self:
        jobs = [self._read, *([self._run] * self._count)]
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._budget.close()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Result]:
        working = self._count
        while working:
            if self._stop():
                self.stopped = True
                return
            try:
                result = self._results.get(timeout=POLL_SECS)
            except Empty:
                continue
            if isinstance(result, _End):
                working -= 1
            elif isinstance(result, _Failure):
                raise result.error
            else:
                yield result

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # handed to the thread that iterates, which raises it
            self._results.put(_Failure(error))

    def _read(self) -> None:
        stretch: SimpleQueue[Frame | _End] = SimpleQueue()
        number = -1
        try:
            for frame in self._footage.frames(self._start):
                if self._stopping.is_set():
                    return
                if frame.index // self._length != number:
                    number = frame.index // self._length
                    stretch.put(_End())
                    stretch = SimpleQueue()
                    self._stretches.put(stretch)
                self._budget.take(_bytes_of(frame))
                stretch.put(frame)
        finally:
            stretch.put(_End())
            for _ in range(self._count):
                self._stretches.put(_End())

    def _run(self) -> None:
        worker = self._make_worker()
        while not isinstance(stretch := self._stretches.get(), _End):
            worker.begin()
            while not isinstance(frame := stretch.get(), _End):
                if not self._stopping.is_set():
                    self._results.put(worker.work(frame))
                self._budget.give_back(_bytes_of(frame))
                del frame
        self._results.put(_End())


class _Budget:
    """So many bytes of frames between decoding and done. One frame always passes, however large."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used, self._closed = limit, 0, False
        self._changed = threading.Condition()

    def take(self, amount: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._used == 0 or self._used + amount <= self._limit)
            self._used += amount

    def give_back(self, amount: int) -> None:
        with self._changed:
            self._used -= amount
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody pass who still waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _bytes_of(frame: Frame) -> int:
    pixels: int = frame.height * frame.width
    return pixels * (9 if frame.bit_depth > 8 else 6)


def _memory_limit(footage: FrameSource, frames: int) -> int:
    pixels = footage.info.width * footage.info.height
    wanted = frames * pixels * (9 if footage.info.bit_depth > 8 else 6)
    quarter = int(psutil.virtual_memory().available) // 4
    return int(max(LEAST_MEMORY, min(wanted, quarter)))
