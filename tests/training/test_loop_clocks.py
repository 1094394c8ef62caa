"""What a training tells of its pace, and when it saves and backs up."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.report import Event, Progress
from understudy.training import loop_clocks
from understudy.training.history import History
from understudy.training.loop_clocks import WINDOW_SECS, ProgressClock, SaveClock
from understudy.training.options import TrainOptions
from understudy.training.session import Session
from understudy.training.state import TrainState


class Watch:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(perf_counter=lambda: self.now, monotonic=lambda: self.now)
        monkeypatch.setattr(loop_clocks, "time", clock)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def rates(events: list[Event]) -> list[float | None]:
    return [event.rate for event in events if isinstance(event, Progress)]


def test_the_rate_is_that_of_now(watch: Watch) -> None:
    """After the GAN is turned on the time left must not rest on the days before."""
    events: list[Event] = []
    clock = ProgressClock(events.append)
    for iteration in range(1, 101):
        watch.now += 0.5
        clock.advance(iteration, 1000)
    assert rates(events)[0] is None
    assert rates(events)[-1] == pytest.approx(2.0)
    for iteration in range(101, 141):
        watch.now += 1.0
        clock.advance(iteration, 1000)
    assert rates(events)[-1] == pytest.approx(1.0, rel=0.1)


def test_a_pause_is_no_iteration(watch: Watch) -> None:
    events: list[Event] = []
    clock = ProgressClock(events.append)
    for iteration in range(1, 11):
        watch.now += 0.5
        clock.advance(iteration, 0)
    clock.leave_out()
    watch.now += 3600
    for iteration in range(11, 14):
        watch.now += 0.5
        clock.advance(iteration, 0)
    assert rates(events)[-1] == pytest.approx(2.0)


def test_iterations_slower_than_the_window_still_have_a_rate(watch: Watch) -> None:
    events: list[Event] = []
    clock = ProgressClock(events.append)
    for iteration in range(1, 4):
        watch.now += 2 * WINDOW_SECS
        clock.advance(iteration, 0)
    assert rates(events)[-1] == pytest.approx(1 / (2 * WINDOW_SECS))


def test_fast_iterations_are_told_a_few_times_a_second(watch: Watch) -> None:
    events: list[Event] = []
    clock = ProgressClock(events.append)
    for iteration in range(1, 1001):
        watch.now += 0.001
        clock.advance(iteration, 0)
    assert len(events) <= 6


def test_saves_are_due_by_their_minutes_even_when_those_change(watch: Watch) -> None:
    clock = SaveClock(first=False)
    watch.now += 300
    assert not clock.due(10)
    assert clock.due(5)
    clock.done()
    assert not clock.due(5)
    assert SaveClock(first=True).due(10)


@pytest.mark.parametrize(
    ("waits_hours", "backups"), [([0.9, 0.2], 1), ([2.1, 0.1], 1), ([0.5, 0.6, 0.6, 0.4], 2), ([0.5, 0.4], 0)]
)
def test_automatic_backups_keep_their_beat(
    waits_hours: list[float], backups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for every hour that began, at the first save after it: late saves do not push all later ones back."""
    session: Any = object.__new__(Session)
    made: list[int] = []
    session.options = TrainOptions(autobackup_hour=1)
    session.history = History(tmp_path / "history.jsonl")
    session._backup_clock = time.monotonic()
    monkeypatch.setattr(Session, "back_up", lambda self, state, report: made.append(state.iteration))
    for iteration, hours in enumerate(waits_hours, start=1):
        session._backup_clock -= hours * 3600
        session.back_up_if_due(TrainState(iteration))
    assert len(made) == backups
