"""Every process of a training but the first: `python -m understudy.stages.train_assistant ORDER`, or one of torchrun's.

It loads the faces, takes over the first process's state and follows it. It writes nothing: neither the model nor a
result, only what it must say to the one that started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import ProcessLost, UnderstudyError
from understudy.training.options import TrainOptions
from understudy.training.team.launching import Seat, seated
from understudy.training.team.team import Order, Team
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from understudy.training.faces.bank import FaceBank


def assist(
    workspace: Workspace, seat: Seat, *, timeout_mins: float = 10.0, joined: Callable[[Team], None] = lambda team: None
) -> bool:
    """Train along from this seat until the first process says that it is over; False where there was nothing to do.
    `joined`: told when all have met.

    Raises ProcessLost when another process is gone, and what loading faces raises.
    """
    with seated(seat, timeout_mins=timeout_mins) as (fabric, team):
        joined(team)
        order, told = team.hear()
        if order is Order.OPEN:
            _train_along(workspace, fabric, team, told)
    return order is Order.OPEN


def _train_along(workspace: Workspace, fabric: Fabric, team: Team, opening: dict[str, Any]) -> None:
    from understudy.stages.task_faces import faces_for
    from understudy.stages.train_team import record_from
    from understudy.training.opening import join_session
    from understudy.training.team.following import follow, received_state

    record, options = record_from(opening["record"]), TrainOptions.of(**opening["options"])

    def load_faces(wanted: TrainOptions) -> tuple[FaceBank, FaceBank]:
        found = faces_for(workspace, record, wanted)
        return found.src, found.dst

    banks = load_faces(options)
    order, told = team.hear()
    while order is not Order.END:
        match order:
            case Order.STATE:
                options = TrainOptions.of(**told["options"])
                found = received_state(team, told, workspace.models)
                session = join_session(record, options, *banks, found, fabric=fabric, team=team)
                session.load_faces = load_faces
                session.share_out()
                order, told = follow(session)
                options = session.options
            case Order.FACES:
                banks = load_faces(options)
                order, told = team.hear()
            case _:
                order, told = team.hear()


def main(line: str) -> int:
    """What a team's first process starts. Whoever started it holds its standard input: it ends with that."""
    order = json.loads(line)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the first process, which decides
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    told = {**order["seat"], "devices": tuple(order["seat"]["devices"]), "meeting": Path(order["seat"]["meeting"])}
    try:
        workspace = Workspace.open(Path(order["workspace"]))
        import understudy.stages.train  # noqa: F401 - what takes seconds comes before the meeting

        _say({"ready": True})
        from understudy.training.memory.shortage import told_of_shortage

        with told_of_shortage():
            assist(workspace, Seat(**told), timeout_mins=order["timeout_mins"], joined=stop_by_signal)
    except UnderstudyError as error:
        _say(error.as_json())
        return 1 if isinstance(error, ProcessLost) else error.exit_code
    return 0


def stop_by_signal(team: Team) -> None:
    """Let SIGTERM, which a scheduler sends, stop the whole training cleanly."""

    def ask(*_: object) -> None:
        team.stop_wanted = True

    signal.signal(signal.SIGTERM, ask)


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


def _end_with_the_starter() -> None:
    """Leave when nobody holds the other end any more. Not by an exception: the main thread may wait in a library; and
    not by a buffered read, whose lock would be missed when the main thread ends first."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
