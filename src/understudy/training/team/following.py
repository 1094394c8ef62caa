"""What every process of a team but the first does: join the session of the first, then follow its orders.

The session that is joined is the first one's as a saved state holds it: training that resumes exactly from a file also
goes on exactly in another process. The same way it is brought back in line whenever the first process has gone back to
an earlier state.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.errors import ProcessLost, UnderstudyError
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import Checkpoint
from understudy.training.saved.learner_state import saved_average
from understudy.training.saved.plain_values import from_plain, to_plain
from understudy.training.session import Session
from understudy.training.state import TrainState
from understudy.training.team.team import Order, Team

WEIGHT, MOMENT, AVERAGE = "w:", "m:", "e:"


def send_state(session: Session, state: TrainState) -> None:
    """Let the others be where this session is: its networks, optimisers and counters. For the first process."""
    team = session.team
    if team.alone:
        return
    tensors = _named(session)
    team.order(Order.STATE, to_plain(session.body(state)))
    team.send(tensors)


def received_state(team: Team, told: Mapping[str, Any], folder: Path) -> Checkpoint:
    """What `send_state` sent, after its order was heard; `folder` is the model's, which is not looked into."""
    body = from_plain(dict(told))
    tensors = team.receive()
    parts = {
        kind: {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}
        for kind in (WEIGHT, MOMENT, AVERAGE)
    }
    average = parts[AVERAGE] or None
    return Checkpoint(int(body["iteration"]), parts[WEIGHT], parts[MOMENT], body, folder, ema=average)


def follow(session: Session) -> tuple[Order, dict[str, Any]]:
    """Do what the first process says until it says something that concerns more than this session: that.

    Options that cannot be taken here can as little be taken by the first process, which orders those from before then.
    Raises what spoke against them where it goes on with them, and ProcessLost when it, or any other, is gone.
    """
    refused: UnderstudyError | None = None
    while True:
        order, told = session.team.hear()
        if refused is not None and order is not Order.OPTIONS:
            raise refused
        match order:
            case Order.STEP:
                session.step(next(session.batches))
            case Order.OPTIONS:
                refused = _applied(session, TrainOptions.of(**told))
            case Order.COMPARE:
                session.team.differ(_sum_of_bits(session))
            case Order.WAIT:
                pass
            case Order.MOMENTS:
                session.tensors()
            case _:
                return order, told


def keep_in_line(session: Session, state: TrainState, *, other_faces: bool = False) -> None:
    """Let the others be where the first process is, if the faces are others or they have drifted apart, since different
    machines may round differently. For the first process, where it saves: a resumed run then equals this one."""
    team = session.team
    if team.alone:
        return
    if not other_faces:
        team.order(Order.COMPARE)
        if not team.differ(_sum_of_bits(session)):
            return
    send_state(session, state)


def _applied(session: Session, options: TrainOptions) -> UnderstudyError | None:
    """Go on with other options; what speaks against it, if something does."""
    try:
        session.apply(options)
    except ProcessLost:
        raise
    except UnderstudyError as error:
        return error
    return None


def _named(session: Session) -> dict[str, Tensor]:
    weights, moments = session.tensors()
    parts = {WEIGHT: weights, MOMENT: moments, AVERAGE: saved_average(session.learner) or {}}
    return {f"{kind}{name}": tensor for kind, part in parts.items() for name, tensor in part.items()}


def _sum_of_bits(session: Session) -> int:
    """A number that is another one when a bit of a weight is."""
    total = 0
    for weight in session.learner.net.parameters():
        bits = weight.detach().contiguous().view(torch.int32)
        total = (31 * total + int(bits.sum(dtype=torch.int64))) % (1 << 60)
    return total
