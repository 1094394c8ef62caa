"""Frames through threads: in order inside a stretch, in bounded memory, and errors come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from understudy.errors import DiskFull
from understudy.media import FrameSource
from understudy.stages import stretches
from understudy.stages.stretches import LONGEST_STRETCH, Stretches, stretch_length


class Footage:
    """Frames without pixels that say how large they are, and counts those under way."""

    def __init__(self, count: int, *, width: int = 640, height: int = 480) -> None:
        self.info = SimpleNamespace(width=width, height=height, bit_depth=8)
        self.count, self.read = count, 0

    def frames(self, start: int = 0) -> Iterator[Any]:
        for index in range(start, self.count):
            self.read = index + 1
            yield SimpleNamespace(index=index, width=self.info.width, height=self.info.height, bit_depth=8)

    def as_source(self) -> FrameSource:
        return cast(FrameSource, self)


class Worker:
    """Reports (stretch number of this worker, frame index)."""

    def __init__(self, seconds: float = 0.0, fail_at: int = -1) -> None:
        self.seconds, self.fail_at, self.seen = seconds, fail_at, []  # type: ignore[var-annotated]

    def begin(self) -> None:
        self.seen = []

    def work(self, frame: Any) -> tuple[int, list[int]]:
        if frame.index == self.fail_at:
            raise DiskFull("no room")
        time.sleep(self.seconds)
        self.seen.append(frame.index)
        return frame.index, list(self.seen)


@pytest.mark.parametrize("start", [0, LONGEST_STRETCH, 3])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_sees_the_frames_of_its_stretch_in_order_and_no_others(workers: int, start: int) -> None:
    with Stretches(Footage(50).as_source(), start, Worker, workers=workers) as running:
        results = dict(running)
    assert sorted(results) == list(range(start, 50))
    for index, seen in results.items():
        first = max(start, index // LONGEST_STRETCH * LONGEST_STRETCH)
        assert seen == list(range(first, index + 1))


def test_reading_waits_when_workers_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    frame_bytes = 640 * 480 * 6
    monkeypatch.setattr(stretches, "_memory_limit", lambda footage, frames: 5 * frame_bytes)
    footage = Footage(40)
    with Stretches(footage.as_source(), 0, lambda: Worker(0.002), workers=1) as running:
        for done, _result in enumerate(running):
            assert footage.read <= done + 8
    assert footage.read == 40


def test_one_huge_frame_passes_however_small_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "_memory_limit", lambda footage, frames: 1)
    with Stretches(Footage(3, width=20000, height=20000).as_source(), 0, Worker, workers=2) as running:
        assert len(list(running)) == 3


def test_an_error_in_any_thread_is_raised_to_the_caller_and_threads_end() -> None:
    before = threading.active_count()
    with (
        pytest.raises(DiskFull),
        Stretches(Footage(500).as_source(), 0, lambda: Worker(0.001, 20), workers=2) as running,
    ):
        list(running)
    assert threading.active_count() == before


def test_stopping_ends_soon_and_says_so() -> None:
    done: list[int] = []
    with Stretches(
        Footage(5000).as_source(), 0, lambda: Worker(0.002), workers=2, stop=lambda: len(done) > 10
    ) as running:
        for index, _seen in running:
            done.append(index)
        assert running.stopped
    assert len(done) < 200


def test_large_frames_make_short_stretches() -> None:
    lengths = [
        stretch_length(Footage(1, width=w, height=h).as_source()) for w, h in ((1920, 1080), (3840, 2160), (6000, 4000))
    ]
    assert lengths == [12, 3, 1]
