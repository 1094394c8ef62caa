"""Frames through threads: in order inside a stretch, in bounded memory, joined by the caller, and errors come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from understudy.errors import DiskFull
from understudy.media import FrameSource
from understudy.stages import stretches
from understudy.stages.stretches import LONGEST_STRETCH, Pass, Stretches, stretch_length


class Footage:
    """Frames without pixels that say how large they are, and counts those that were read."""

    def __init__(self, count: int, *, width: int = 640, height: int = 480) -> None:
        self.info = SimpleNamespace(width=width, height=height, bit_depth=8)
        self.count, self.read = count, 0

    def frames(self, start: int = 0) -> Iterator[Any]:
        for index in range(start, self.count):
            self.read = index + 1
            yield SimpleNamespace(index=index, width=self.info.width, height=self.info.height, bit_depth=8)

    def as_source(self) -> FrameSource:
        return cast(FrameSource, self)


@dataclass(frozen=True)
class Seen:
    """What a worker says of a frame: what it saw of the stretch so far."""

    serial: int
    index: int
    stretch: tuple[int, ...]
    mark: bool = False


class Worker:
    """Remembers the frames of its stretch."""

    def __init__(self, seconds: float = 0.0, fail_at: int = -1, batch: int = 1) -> None:
        self.seconds, self.fail_at, self.batch = seconds, fail_at, batch
        self.seen: list[int] = []

    def begin(self) -> None:
        self.seen = []

    def look(self, passes: list[Pass]) -> list[Seen]:
        return [self._look(item) for item in passes]

    def _look(self, item: Pass) -> Seen:
        if item.frame.index == self.fail_at:
            raise DiskFull("no room")
        time.sleep(self.seconds)
        self.seen.append(item.frame.index)
        return Seen(item.serial, item.frame.index, tuple(self.seen), item.mark)


def looks_of(work: Stretches[Seen, Any]) -> list[Seen]:
    """Every look, each frame let go of at once."""
    looks = []
    with work:
        for look in work:
            work.release(look.serial)
            looks.append(look)
    return looks


@pytest.mark.parametrize("start", [0, LONGEST_STRETCH, 3])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 5, LONGEST_STRETCH])
def test_a_worker_sees_the_frames_of_its_stretch_in_order_and_no_others(workers: int, start: int, batch: int) -> None:
    work: Stretches[Seen, Any] = Stretches(Footage(50).as_source(), start, lambda: Worker(batch=batch), workers=workers)
    looks = looks_of(work)
    assert sorted(look.index for look in looks) == list(range(start, 50))
    assert sorted(look.serial for look in looks) == list(range(50 - start))
    for look in looks:
        first = max(start, look.index // LONGEST_STRETCH * LONGEST_STRETCH)
        assert look.stretch == tuple(range(first, look.index + 1))


def test_what_the_reader_noticed_comes_with_the_frame() -> None:
    footage = Footage(30)
    work: Stretches[Seen, Any] = Stretches(
        footage.as_source(), 0, Worker, workers=2, frames=lambda: ((f, f.index % 7 == 0) for f in footage.frames())
    )
    assert {look.index for look in looks_of(work) if look.mark} == {0, 7, 14, 21, 28}


def test_jobs_are_done_by_the_same_threads_and_their_results_come_too() -> None:
    """Also those that are submitted when the last look was taken."""
    held: list[Seen] = []

    def flush() -> None:
        for look in held:
            work.submit(partial(str, look.index))

    work: Stretches[Seen, str] = Stretches(Footage(40).as_source(), 0, Worker, workers=3, ahead=40, flush=flush)
    done = []
    with work:
        for item in work:
            if isinstance(item, str):
                done.append(int(item))
            elif item.index % 2:
                held.append(item)
            else:
                work.submit(partial(str, item.index))
    assert sorted(done) == list(range(40))


def test_reading_waits_when_frames_are_needed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    frame_bytes = 640 * 480 * 6
    monkeypatch.setattr(stretches, "_memory_limit", lambda footage, frames: 5 * frame_bytes)
    footage = Footage(80)
    work: Stretches[Seen, Any] = Stretches(footage.as_source(), 0, lambda: Worker(0.002), workers=1)
    with work:
        for done, look in enumerate(work):
            assert footage.read <= done + LONGEST_STRETCH + 4
            work.release(look.serial)
    assert footage.read == 80


def test_a_caller_that_needs_frames_ahead_gets_them_however_little_memory_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frame is let go of when the twentieth after it was seen: reading must not wait for what waits for it."""
    monkeypatch.setattr(stretches, "_memory_limit", lambda footage, frames: 1)
    footage, most = Footage(200), 0
    work: Stretches[Seen, Any] = Stretches(footage.as_source(), 0, Worker, workers=4, ahead=20)
    waiting: set[int] = set()
    with work:
        for look in work:
            waiting.add(look.serial)
            while waiting and all(serial in waiting for serial in range(min(waiting), min(waiting) + 21)):
                work.release(min(waiting))
                waiting.remove(min(waiting))
            if waiting:
                most = max(most, footage.read - min(waiting))
    assert footage.read == 200
    assert most <= 23


def test_one_huge_frame_passes_however_small_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "_memory_limit", lambda footage, frames: 1)
    work: Stretches[Seen, Any] = Stretches(Footage(3, width=20000, height=20000).as_source(), 0, Worker, workers=2)
    assert len(looks_of(work)) == 3


def test_an_error_in_any_thread_is_raised_to_the_caller_and_threads_end() -> None:
    before = threading.active_count()
    work: Stretches[Seen, Any] = Stretches(Footage(500).as_source(), 0, lambda: Worker(0.001, 20), workers=2)
    with pytest.raises(DiskFull):
        looks_of(work)
    assert threading.active_count() == before


def fail() -> str:
    raise DiskFull("no room")


def test_an_error_in_a_job_is_raised_too() -> None:
    before = threading.active_count()
    work: Stretches[Seen, str] = Stretches(Footage(500).as_source(), 0, Worker, workers=2)

    def run() -> None:
        with work:
            for _ in work:
                work.submit(fail)

    with pytest.raises(DiskFull):
        run()
    assert threading.active_count() == before


def test_an_error_of_the_reader_is_raised_too() -> None:
    def frames() -> Iterator[Any]:
        yield from ((frame, False) for frame in Footage(20).frames())
        raise DiskFull("no room")

    work: Stretches[Seen, str] = Stretches(Footage(500).as_source(), 0, Worker, workers=2, frames=frames)
    with pytest.raises(DiskFull):
        looks_of(work)


def test_stopping_ends_soon_and_says_so() -> None:
    done: list[int] = []
    work: Stretches[Seen, Any] = Stretches(
        Footage(5000).as_source(), 0, lambda: Worker(0.002), workers=2, stop=lambda: len(done) > 10
    )
    with work:
        for look in work:
            work.release(look.serial)
            done.append(look.index)
        assert work.stopped
    assert len(done) < 200


def test_footage_without_frames_ends_at_once() -> None:
    assert looks_of(Stretches(Footage(0).as_source(), 0, Worker, workers=2)) == []


def test_large_frames_make_short_stretches() -> None:
    lengths = [
        stretch_length(Footage(1, width=w, height=h).as_source()) for w, h in ((1920, 1080), (3840, 2160), (6000, 4000))
    ]
    assert lengths == [12, 3, 1]
