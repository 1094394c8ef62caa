"""`understudy train` as torchrun starts it: the first process is the command as ever, the others train along."""

from __future__ import annotations

import signal

from understudy.cli.door import Door
from understudy.training.options import TrainOptions


def heed_torchrun() -> None:
    """Let torchrun's SIGTERM, which says that a process or machine is gone, stop the job as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def train_along(door: Door, options: TrainOptions) -> None:
    """Be one of the others until training is over. Prints nothing but an error: the first process has the result."""
    _assist(door, options.device, options.team_timeout)
    door.finished = True


def train_along_phases(door: Door, device: str, timeout_mins: float) -> None:
    """Be one of the others in one phase after the other, until the first process says that there are no more."""
    while _assist(door, device, timeout_mins):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # between two phases there is nothing to stop but this
    door.finished = True


def _assist(door: Door, device: str, timeout_mins: float) -> bool:
    from understudy.stages.train_assistant import assist, stop_by_signal
    from understudy.training.team.launching import seat_by_torchrun

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    door.quiet = True
    return assist(door.workspace, seat_by_torchrun(device), timeout_mins=timeout_mins, joined=stop_by_signal)
