"""The processes that train one model together.

    first     order(STEP) ── its part of the batch ── gradients ─┐
    others    hear()      ── its part of the batch ── gradients ─┴─ added up ── the same update in each of them

The first process is the one that a person started. It alone reads and writes the model, draws, evaluates, takes
commands and decides what comes next; the others hear it, do it, and never look at a clock or at a file of the model.
What one of them hears is a number and JSON, nothing else: no process runs code that another one sends. Messages travel
beside the gradients, on processors, so that a graphics card never waits for one.

A process that dies closes its connections, and the next thing that the others do together fails at once; one whose
machine is gone is missed after a while (`--team-timeout`). Both become ProcessLost.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from understudy.errors import ProcessLost

BUCKET = 8 << 20
"""Numbers of gradients that travel together: enough that starting the journey costs nothing beside it."""

UNDER_WAY = 4
"""Buckets that travel at a time: their copies take memory."""

LOST_HINT = (
    "Everything up to the last saved state is kept: the same command goes on from there, with as many processes as "
    "there are then."
)


class Order(IntEnum):
    """What the first process tells the others to do next.

    WAIT: hear again. OPEN: the model, its options; load the faces. STATE: take over the state that is sent. STEP: draw
    and learn. OPTIONS: go on with these. FACES: load them again. COMPARE: are all still equal? MOMENTS: give those that
    are kept here. END: leave.
    """

    WAIT = 1
    OPEN = 2
    STATE = 3
    STEP = 4
    OPTIONS = 5
    FACES = 6
    COMPARE = 7
    MOMENTS = 8
    END = 9


@dataclass(eq=False)
class Team:
    """One process among `size`; rank 0 is the first. A team of one does nothing and costs nothing.

    average: divide gradients by `size`, as the reference does over devices; otherwise they are those of one process
    with the whole batch.
    """

    rank: int = 0
    size: int = 1
    average: bool = False

    def __post_init__(self) -> None:
        self.stop_wanted = False
        """Set in any process: that training should stop. The first one sees it with its next order."""
        self.at_rest = True
        """Nobody is in the middle of a step."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.size == 1

    def shared(self, batch_size: int) -> int:
        """A batch of about that size that can be divided equally, as the reference divides it."""
        return max(1, batch_size // self.size) * self.size

    def part(self, count: int) -> slice:
        """This process's samples of a batch of `count`, which is a multiple of `size`: sample i belongs to process
        i // (count / size)."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def order(self, order: Order, told: Mapping[str, Any] | None = None) -> None:
        """Tell the others what comes next, with JSON values. Learns from them whether one of them wants to stop."""
        if self.alone:
            return
        body = b"" if told is None else json.dumps(told).encode()
        self._exchange(order, len(body))
        if body:
            with _together():
                dist.broadcast(torch.frombuffer(bytearray(body), dtype=torch.uint8), src=0)

    @contextlib.contextmanager
    def stepping(self) -> Iterator[None]:
        """One step of everybody: ordered by the first process as it begins its own."""
        if self.leads:
            self.order(Order.STEP)
        self.at_rest = False
        yield
        self.at_rest = True

    def hear(self) -> tuple[Order, dict[str, Any]]:
        """Wait for what the first process wants next."""
        order, length = self._exchange(0, 0)
        if not length:
            return Order(order), {}
        body = torch.empty(length, dtype=torch.uint8)
        with _together():
            dist.broadcast(body, src=0)
        told = json.loads(body.numpy().tobytes())
        assert isinstance(told, dict)
        return Order(order), told

    def reduce(self, gradients: Sequence[Tensor]) -> None:
        """Add up gradients over all processes, in place; the same bits arrive in each of them."""
        if self.alone:
            return
        under_way: deque[_Journey] = deque()
        with _together():
            for bucket in _buckets(gradients):
                if len(under_way) == UNDER_WAY:
                    under_way.popleft().arrive()
                under_way.append(_Journey(bucket))
            for journey in under_way:
                journey.arrive()
        if self.average:
            torch._foreach_div_(list(gradients), self.size)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Means over the parts of a batch, as means over the whole of it: scalars, wherever they lie."""
        if self.alone or not values:
            return dict(values)
        together = torch.stack([value.float() for value in values.values()])
        with _together():
            dist.all_reduce(together)
        return dict(zip(values, (together / self.size).unbind(), strict=True))

    def whole(self, part: Tensor) -> Tensor:
        """The values of every sample of a batch (B, …), of those of this process's part (B / size, …)."""
        if self.alone:
            return part
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with _together():
            dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def send(self, tensors: Mapping[str, Tensor]) -> None:
        """Give tensors to all others, who take them with `receive`. They come from wherever they are, in any order."""
        if self.alone:
            return
        form = [
            [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in tensors.items()
        ]
        body = json.dumps(form).encode()
        with _together():
            dist.broadcast(torch.tensor(len(body)), src=0)
            dist.broadcast(torch.frombuffer(bytearray(body), dtype=torch.uint8), src=0)
            for tensor in tensors.values():
                dist.broadcast(_bytes_of(tensor.detach().cpu().contiguous()), src=0)

    def receive(self) -> dict[str, Tensor]:
        """What the first process sends, on the processor."""
        length = torch.tensor(0)
        with _together():
            dist.broadcast(length, src=0)
            body = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(body, src=0)
            found = {}
            for name, dtype, shape in json.loads(body.numpy().tobytes()):
                found[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                dist.broadcast(_bytes_of(found[name]), src=0)
        return found

    def spread(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        """Bring each tensor, which only its owner has right, to all, in place."""
        if self.alone:
            return
        with _together():
            waiting = [
                dist.broadcast(tensor, src=owner, async_op=True) for tensor, owner in zip(tensors, owners, strict=True)
            ]
            for work in waiting:
                work.wait()

    def differ(self, number: int) -> bool:
        """Whether not all processes give the same number."""
        if self.alone:
            return False
        extremes = torch.tensor([number, -number])
        with _together():
            dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
        return int(extremes[0]) != -int(extremes[1])

    def _exchange(self, order: int, length: int) -> tuple[int, int]:
        """One message of three numbers, of which everybody takes the greatest."""
        message = torch.tensor([order, length, int(self.stop_wanted)])
        with _together():
            dist.all_reduce(message, op=dist.ReduceOp.MAX)
        if message[2]:  # never back to False: a signal may set it at any time
            self.stop_wanted = True
        return int(message[0]), int(message[1])


ALONE = Team()
"""One process by itself."""


class _Journey:
    """A bucket of gradients on its way through all processes. Gradients that are no single stretch of memory travel as
    a copy."""

    def __init__(self, gradients: list[Tensor]) -> None:
        self._gradients = gradients
        self._own = len(gradients) == 1 and gradients[0].is_contiguous()
        self._flat = gradients[0].view(-1) if self._own else torch.cat([each.reshape(-1) for each in gradients])
        self._work = dist.all_reduce(self._flat, async_op=True)

    def arrive(self) -> None:
        assert self._work is not None
        self._work.wait()
        if not self._own:
            parts = torch.split(self._flat, [each.numel() for each in self._gradients])
            for gradient, part in zip(self._gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in order, so many together that they have BUCKET numbers at most; a large one travels by itself."""
    bucket: list[Tensor] = []
    filled = 0
    for gradient in gradients:
        if bucket and (filled + gradient.numel() > BUCKET or bucket[0].dtype is not gradient.dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(gradient)
        filled += gradient.numel()
    if bucket:
        yield bucket


def _bytes_of(tensor: Tensor) -> Tensor:
    """A contiguous tensor on the processor as its bytes, sharing its memory."""
    return tensor.reshape(-1).view(torch.uint8)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Something that every process does at the same time. What torch says when one is missing becomes ProcessLost."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise
        raise ProcessLost(
            "One of the processes that train together is gone or does not answer.", hint=LOST_HINT, cause=str(error)
        ) from error
