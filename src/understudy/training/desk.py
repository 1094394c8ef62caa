"""Where the loop looks between two iterations for what people have asked of it."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.report import PAUSED, Note, Progress, Report
from understudy.training.commands import Command, CommandKind, Commands, differences
from understudy.training.options.needs import without_effect
from understudy.training.session import Session
from understudy.training.state import TrainState
from understudy.training.team.team import Order

NAP_SECS = 0.5
"""How long a paused training sleeps before it looks whether it should stop; a command wakes it at once."""


class Desk:
    """Carries out `set`, `pause` and `resume`; remembers `save`, `backup` and `preview` for the loop to do."""

    def __init__(self, session: Session, commands: Commands | None, report: Report) -> None:
        self._session, self._commands, self._report = session, commands, report
        self.paused = self.stopping = False
        self.save = self.back_up = self.draw = False

    def attend(self, state: TrainState) -> None:
        """Take what was asked since the last time; while training pauses, wait for it a moment."""
        self.save = self.back_up = self.draw = False
        if self._commands is None:
            return
        if self.paused:
            self._commands.wait(NAP_SECS)
            self._session.team.order(Order.WAIT)
        self._commands.iteration = state.iteration
        for command in self._commands.take():
            self._carry_out(command, state)
        self._commands.paused = self.paused

    def close(self, state: TrainState) -> None:
        """Accept nothing more, and do what was accepted since the last time: nobody is told so and then not heard."""
        self.save = self.back_up = self.draw = False
        if self._commands is None:
            return
        self._commands.leave()
        for command in self._commands.take():
            if command.kind not in (CommandKind.PAUSE, CommandKind.RESUME):
                self._carry_out(command, state)

    def _carry_out(self, command: Command, state: TrainState) -> None:
        match command.kind:
            case CommandKind.SET if command.options is not None:
                self._set(command, state)
            case CommandKind.SAVE:
                self.save = True
            case CommandKind.BACKUP:
                self.save = self.back_up = True
            case CommandKind.PREVIEW:
                self.draw = True
            case CommandKind.PAUSE if not self.paused:
                self.paused = self.save = True
                self._report(Progress(PAUSED, state.iteration, self._session.options.target_iter or None, "iterations"))
                self._report(Note(f"Paused at iteration {state.iteration}."))
            case CommandKind.RESUME if self.paused:
                self.paused = False
                self._report(Note(f"Training goes on from iteration {state.iteration}."))
            case CommandKind.STOP:
                self.stopping = True

    def _set(self, command: Command, state: TrainState) -> None:
        assert command.options is not None
        before = self._session.options
        changed = differences(before, command.options)
        try:
            self._session.apply(command.options, self._report)
        except UnderstudyError as error:  # such as a faceset that cannot be read now: no reason to end a training
            self._session.apply(before, self._report)
            if self._commands is not None:
                self._commands.settle(before)
            self._report(Note(f"Nothing was changed: {error.message}", "warning"))
            return
        told = ", ".join(f"{name} {before} → {after}" for name, (before, after) in changed.items())
        if told:
            self._session.note_change(state, told)
            self._report(Note(f"From iteration {state.iteration + 1} on: {told}."))
        for sentence in without_effect(command.options, changed):
            self._report(Note(sentence))
