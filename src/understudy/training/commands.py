"""What people ask of a training that runs: checked when they ask, carried out between two iterations.

    {"command": "set", "options": {"gan_power": "0.1"}}     others: save, backup, preview, pause, resume, stop

A door offers messages from any thread and has its answer at once; the loop takes what was accepted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from understudy.errors import InvalidOption, JobError
from understudy.training.options import TrainOptions
from understudy.training.options.needs import without_effect


class CommandKind(StrEnum):
    """What can be asked."""

    SET = "set"
    SAVE = "save"
    BACKUP = "backup"
    PREVIEW = "preview"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


@dataclass(frozen=True)
class Command:
    """One accepted request. options: with SET, all options as they are from then on."""

    kind: CommandKind
    options: TrainOptions | None = None


Check = Callable[[TrainOptions, Mapping[str, Any]], TrainOptions]
"""The options with some changed as asked, or InvalidOption with the reason why not."""


class Commands:
    """Requests to one training, in the order they were accepted. For any number of threads."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._waiting: list[Command] = []
        self._model = ""
        self._options = TrainOptions()
        self._check: Check | None = None
        self.iteration = 0
        self.paused = False

    def attend(self, model: str, options: TrainOptions, check: Check) -> None:
        """From here on the loop listens: requests are checked against these options and accepted.

        What an earlier training was asked for and ended without is nothing of this one's.
        """
        with self._arrived:
            self._model, self._options, self._check = model, options, check
            self._waiting, self.paused = [], False

    def settle(self, options: TrainOptions) -> None:
        """What was accepted could not be done: these options stand."""
        with self._arrived:
            self._options = options

    def leave(self) -> None:
        """The loop has ended: nothing is accepted any more."""
        with self._arrived:
            self._check = None

    def state(self) -> dict[str, Any]:
        """What training this is and where it is: model, iteration, paused."""
        return {"model": self._model, "iteration": self.iteration, "paused": self.paused}

    def offer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Check a request, accept it and answer: where training is, and with `set` what changes from what to what.

        Raises InvalidOption when an option cannot be set so, JobError when the training does not listen (yet).
        """
        kind, given = CommandKind(message["command"]), message.get("options") or {}
        if not isinstance(given, Mapping):
            raise InvalidOption("Options are given by name.", hint='Such as {"gan_power": 0.1}.')
        with self._arrived:
            if self._check is None:
                raise JobError("The training is still being prepared, or about to end.", hint="Try again in a moment.")
            command, more = Command(kind), {}
            if kind is CommandKind.SET:
                before, self._options = self._options, self._check(self._options, given)
                command = Command(kind, self._options)
                changes = differences(before, self._options)
                more = {"changed": changes, "notes": without_effect(self._options, changes)}
            self._waiting.append(command)
            self._arrived.notify_all()
            return {**self.state(), **more}

    def take(self) -> list[Command]:
        """What was accepted since the last call."""
        with self._arrived:
            taken, self._waiting = self._waiting, []
            return taken

    def wait(self, secs: float) -> None:
        """Sleep until something is accepted, `secs` at most."""
        with self._arrived:
            if not self._waiting:
                self._arrived.wait(secs)


def differences(before: TrainOptions, after: TrainOptions) -> dict[str, list[Any]]:
    """The options that differ, by name: [value before, value after], as JSON values."""
    old, new = ({name: getattr(options, name) for name in TrainOptions.model_fields} for options in (before, after))
    return {name: [_plain(old[name]), _plain(value)] for name, value in new.items() if value != old[name]}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
