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
    from understudy.stages.train_assistant import assist, stop_by_signal
    from understudy.training.team.launching import seat_by_torchrun

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    seat = seat_by_torchrun(options.device)
    door.quiet = True
    assist(door.workspace, seat, timeout_mins=options.team_timeout, joined=stop_by_signal)
    door.finished = True
