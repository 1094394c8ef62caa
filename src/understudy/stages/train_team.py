"""The team of a training: the devices that options or torchrun name, and the processes started for them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import ProcessLost
from understudy.files import parse_json
from understudy.report import Note, Report
from understudy.training.options import TrainOptions
from understudy.training.saved.models import ModelRecord
from understudy.training.team.launching import (
    Seat,
    devices_named,
    launch,
    seat_by_torchrun,
    seated,
)
from understudy.training.team.team import ALONE, LOST_HINT, Order, Team
from understudy.training.team.torchrun import rank_by_torchrun
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LEAVE_SECS = 15.0
"""How long a process may take to leave when training has ended."""


@contextlib.contextmanager
def team_for(workspace: Workspace, record: ModelRecord, options: TrainOptions) -> Iterator[tuple[Fabric, Team]]:
    """This process as the first of all that options or torchrun name; the others begin to load faces meanwhile.

    However the block ends, the others leave. Raises ProcessLost, with what the lost one had to say, and InvalidOption
    for devices that are not here.
    """
    seat = _first_seat(options)
    if seat.size == 1:
        yield launch(seat.device), ALONE
        return
    with _assistants(workspace, seat, options) as assistants:
        try:
            with seated(assistants.seat, timeout_mins=options.team_timeout) as (fabric, team):
                team.average = bool(record.imported if options.faithful is None else options.faithful)
                team.order(Order.OPEN, {"record": asdict(record), "options": options.model_dump(mode="json")})
                try:
                    yield fabric, team
                finally:
                    _dismiss(team)
        except ProcessLost as error:
            raise assistants.explain(error) from error


def part(device: str, *, timeout_mins: float) -> None:
    """Tell torchrun's other processes, which wait for another training to begin, that there is none."""
    if rank_by_torchrun() is None:
        return
    with seated(seat_by_torchrun(device), timeout_mins=timeout_mins) as (_, team):
        team.order(Order.END)


def shared_out(options: TrainOptions, team: Team, report: Report) -> TrainOptions:
    """The options with a batch that the team can divide equally, with a note where that is another one."""
    batch = team.shared(options.batch_size)
    if batch == options.batch_size:
        return options
    report(Note(f"--batch-size {options.batch_size} becomes {batch}: {team.size} processes share it equally."))
    return options.but(batch_size=batch)


def record_from(told: dict[str, Any]) -> ModelRecord:
    """The record that the first process sent with its order to open."""
    return ModelRecord(**{**told, "events": tuple(told["events"])})


def _first_seat(options: TrainOptions) -> Seat:
    if rank_by_torchrun() is not None:
        return seat_by_torchrun(options.device)
    return Seat(tuple(devices_named(options.device, options.devices)))


def _dismiss(team: Team) -> None:
    """Tell the others to leave, if they can hear it: in the middle of a step they leave when the connection closes."""
    if team.at_rest:
        with contextlib.suppress(ProcessLost):
            team.order(Order.END)


@dataclass(eq=False)
class _Assistants:
    """The processes that were started here, in the order of their seats."""

    seat: Seat
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def await_all(self) -> None:
        """Wait until all are there to meet the first. Raises ProcessLost when one ends instead."""
        for number, process in enumerate(self.processes, start=1):
            assert process.stdout is not None
            told = _read(process.stdout.readline())
            if "ready" not in told:
                raise self._lost(number, told)

    def explain(self, error: ProcessLost) -> ProcessLost:
        """The same error with the reason of the process that gave one, if one did."""
        for number, process in enumerate(self.processes, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
            if process.poll() is None:
                continue
            assert process.stdout is not None
            told = _last_word(process.stdout.read())
            if told.get("code") not in (None, "process-lost"):
                return self._lost(number, told)
            if process.returncode not in (0, 1):
                return self._lost(number, {"message": f"it ended with code {process.returncode}"})
        return error

    def end(self) -> None:
        """Wait until all have left; those that do not are ended."""
        for process in self.processes:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(LEAVE_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _lost(self, number: int, told: dict[str, Any]) -> ProcessLost:
        device, said = self.seat.devices[number], told.get("message", "it ended without a word")
        hint = str(told.get("hint") or LOST_HINT)
        return ProcessLost(f"The process on {device} (number {number}) is gone: {said}", hint=hint)


@contextlib.contextmanager
def _assistants(workspace: Workspace, seat: Seat, options: TrainOptions) -> Iterator[_Assistants]:
    """A process for each device of this machine but the first; none under torchrun, which has started them."""
    if seat.nodes > 1 or rank_by_torchrun() is not None:
        yield _Assistants(seat)
        return
    with tempfile.TemporaryDirectory(prefix="understudy-team-") as folder:
        first = replace(seat, meeting=Path(folder) / "meeting")
        started = _Assistants(first)
        try:
            for rank in range(1, seat.size):
                started.processes.append(_start(workspace, replace(first, rank=rank), options))
            started.await_all()
            yield started
        finally:
            started.end()


def _start(workspace: Workspace, seat: Seat, options: TrainOptions) -> subprocess.Popen[bytes]:
    """One process; it lives as long as its standard input is open and speaks JSON lines."""
    order = {
        "workspace": str(workspace.root),
        "seat": {**asdict(seat), "meeting": str(seat.meeting)},
        "timeout_mins": options.team_timeout,
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "understudy.stages.train_assistant", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
        creationflags=_without_a_window(),
    )


def _without_a_window() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW
    return 0


def _last_word(said: bytes) -> dict[str, Any]:
    """The last thing that a process told before it ended, whatever libraries have printed around it."""
    return next((told for line in reversed(said.splitlines()) if (told := _read(line))), {})


def _read(line: bytes) -> dict[str, Any]:
    try:
        told = parse_json(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
