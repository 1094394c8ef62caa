"""The training loop: one page for every class of model."""

from __future__ import annotations

from understudy.errors import TrainingDiverged
from understudy.report import Metrics, Report, Stop, never, silent
from understudy.training.clock import Clock
from understudy.training.commands import Commands
from understudy.training.desk import Desk
from understudy.training.journal import Journal
from understudy.training.learning.way_back import roll_back
from understudy.training.loop_clocks import ProgressClock, SaveClock
from understudy.training.session import Session
from understudy.training.state import Ended, TrainState
from understudy.training.team.following import keep_in_line


def train_loop(
    session: Session, *, report: Report = silent, stop: Stop = never, commands: Commands | None = None
) -> tuple[TrainState, Ended]:
    """Train until the target iteration, a plateau or until `stop()`, and leave everything saved.

    Returns where training is then, and why it ended. `commands`: what people ask meanwhile.
    What goes wrong on the way is gone back from (`guard.py`). Raises TrainingDiverged where that is not wanted or does
    not help; the saved states are those from before.
    """
    state, saving = session.state, SaveClock(first=session.is_new)
    clock, journal, desk = (
        Clock(),
        Journal(session.history, session.watch, session.learner.losses_kept),
        Desk(session, commands, report),
    )
    progress = ProgressClock(report)
    ended: Ended | None = None

    while (ended := session.reason_to_end(state)) is None and not (stop() or desk.stopping):
        if not desk.paused:
            with clock.data():
                batch = next(session.batches)
            losses = session.step(batch, report)  # {"src": (), "dst": (), …}: still on the device
            state = state.after(session.batch_size)
            journal.note(state.iteration, losses)
            progress.advance(state.iteration, session.options.target_iter)
        else:
            progress.leave_out()
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
                session.record(state, report)
            if keeping:
                session.save(state, report)
                keep_in_line(session, state, other_faces=session.refresh(state, report))
                saving.done()
            if desk.back_up:
                session.back_up(state, report)
        except TrainingDiverged as trouble:
            journal.forget()
            state = roll_back(session, trouble, report)
        if evaluating or drawing or recording or keeping or desk.paused:
            clock.skip()

    desk.close(state)
    try:
        journal.read()
    except TrainingDiverged as trouble:
        state = roll_back(session, trouble, report)
    session.save(state, report)
    if desk.back_up:
        session.back_up(state, report)
    session.draw(state, report)
    progress.end(state.iteration, session.options.target_iter)
    return state, ended or Ended.STOPPED
