"""The training loop: one page for every class of model, and what it reports and writes down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from understudy.errors import TrainingDiverged
from understudy.report import Metrics, Progress, Report, Stop, never, silent
from understudy.training.checkpoints import DIVERGED_HINT
from understudy.training.clock import Clock
from understudy.training.commands import Commands
from understudy.training.desk import Desk
from understudy.training.following import send_state
from understudy.training.history import History
from understudy.training.session import Session
from understudy.training.state import Ended, TrainState
from understudy.training.step import GRADIENT_LENGTH
from understudy.training.way_back import roll_back

STEP_NAME = "Training"
PROGRESS_SECS = 0.2
HISTORY_LOSSES = ("src", "dst")
"""What the history keeps: the sums that the reference reports for each person. The rest is reported as it happens."""


def train_loop(
    session: Session, *, report: Report = silent, stop: Stop = never, commands: Commands | None = None
) -> tuple[TrainState, Ended]:
    """Train until the target iteration, a plateau or until `stop()`, and leave everything saved.

    Returns where training is then, and why it ended. `commands`: what people ask meanwhile.
    What goes wrong on the way is gone back from (`guard.py`). Raises TrainingDiverged where that is not wanted or does
    not help; the saved states are those from before.
    """
    state, saving = session.state, SaveClock(first=session.is_new)
    clock, journal, desk = Clock(), Journal(session.history, session.watch), Desk(session, commands, report)
    progress = ProgressClock(state.iteration, report)
    ended: Ended | None = None

    while (ended := session.reason_to_end(state)) is None and not (stop() or desk.stopping):
        if not desk.paused:
            with clock.data():
                batch = next(session.batches)
            losses = session.step(batch, report)  # {"src": (), "dst": (), …}: still on the device
            state = state.after(session.batch_size)
            journal.note(state.iteration, losses)
            progress.advance(state.iteration, session.options.target_iter)
        desk.attend(state)  # from here on the options may be others

        evaluating = session.evaluation_due(state)
        drawing = desk.draw or state.due(session.options.preview_every)
        recording = session.recording_due(state)
        keeping = desk.save or saving.due(session.options.save_minutes)
        reading = state.due(session.log_every) or session.reason_to_end(state) is not None
        try:
            if journal and (reading or evaluating or drawing or recording or keeping):
                values = journal.read()  # the one place where the device and Python wait for each other
                report(Metrics(state.iteration, {**values, **clock.read()}))
            if evaluating:
                session.evaluate(state, report)
            if drawing:
                session.draw(state, report, again=desk.draw)
            if recording:
                session.record(state)
            if keeping:
                session.save(state, report)
                if session.refresh(state):
                    send_state(session, state)
                saving.done()
            if desk.back_up:
                session.back_up(state, report)
        except TrainingDiverged as trouble:
            journal.forget()
            state = roll_back(session, trouble, report)
        if evaluating or drawing or recording or keeping or desk.paused:
            clock.skip()

    journal.read()
    session.save(state, report)
    session.draw(state, report)
    progress.end(state.iteration, session.options.target_iter)
    return state, ended or Ended.STOPPED


class Journal:
    """Losses on their way from the device to the history, read in blocks so that a GPU seldom waits."""

    def __init__(self, history: History, watch: Callable[[int, Mapping[str, float]], None]) -> None:
        """watch: looks at the losses of each iteration that was read, and may raise TrainingDiverged."""
        self._history, self._watch = history, watch
        self._pending: list[tuple[int, Mapping[str, Tensor]]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, iteration: int, losses: Mapping[str, Tensor]) -> None:
        """Remember the losses of an iteration; each is a scalar tensor."""
        self._pending.append((iteration, losses))

    def forget(self) -> None:
        """Drop what is pending."""
        self._pending = []

    def read(self) -> dict[str, float]:
        """Write what is pending to the history; the mean of each loss over it. Raises TrainingDiverged."""
        if not self._pending:
            return {}
        newest = self._pending[-1][1]
        names = [name for name in newest if all(name in losses for _, losses in self._pending)]  # options may change
        rows = torch.stack([torch.stack([losses[name] for name in names]) for _, losses in self._pending])
        table = rows.double().cpu().tolist()
        entries = [
            (iteration, dict(zip(names, row, strict=True)))
            for (iteration, _), row in zip(self._pending, table, strict=True)
        ]
        self._pending = []
        for iteration, losses in entries:
            require_finite(losses, iteration)
        kept = [(iteration, {name: losses[name] for name in HISTORY_LOSSES}) for iteration, losses in entries]
        self._history.append(kept)
        for iteration, losses in entries:
            self._watch(iteration, losses)
        return {name: sum(losses[name] for _, losses in entries) / len(entries) for name in names}


def require_finite(losses: Mapping[str, float], iteration: int) -> None:
    """Raise TrainingDiverged when a loss is no finite number."""
    for name, value in losses.items():
        if not math.isfinite(value):
            what = "The length of the gradient" if name == GRADIENT_LENGTH else f"The loss {name}"
            raise TrainingDiverged(
                f"{what} became {value} at iteration {iteration}. Nothing of it was saved.",
                hint=DIVERGED_HINT,
                iteration=iteration,
            )


class SaveClock:
    """When to save: every so many minutes, and right after the first iteration of a new model, so that a disk without
    room or permission shows at once and not after the first interval."""

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._last = time.monotonic()  # a clock that is set back or forth neither causes nor skips a save

    def due(self, minutes: float) -> bool:
        return self._first or time.monotonic() - self._last >= minutes * 60

    def done(self) -> None:
        self._first, self._last = False, time.monotonic()


class ProgressClock:
    """Reports the iteration a few times a second, with a rate that leaves out the first one's start-up."""

    def __init__(self, start: int, report: Report) -> None:
        self._start, self._report = start, report
        self._first_at: float | None = None
        self._last_report_at = -math.inf

    def advance(self, iteration: int, target_iter: int) -> None:
        now = time.perf_counter()
        self._first_at = self._first_at or now
        if now - self._last_report_at >= PROGRESS_SECS:
            self._last_report_at = now
            self.end(iteration, target_iter)

    def end(self, iteration: int, target_iter: int) -> None:
        """Report now, whatever the clock says."""
        self._report(Progress(STEP_NAME, iteration, target_iter or None, "iterations", self.rate(iteration)))

    def rate(self, iteration: int) -> float | None:
        """Iterations per second between the first finished one and now; None until two are done."""
        done = iteration - self._start - 1
        if self._first_at is None or done < 1:
            return None
        return done / (time.perf_counter() - self._first_at)
