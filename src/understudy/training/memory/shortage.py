"""What to do when memory runs out in the middle of a step: the same work again, in smaller pieces.

A step is made of phases: the swapper, then each discriminator. Every phase adds up gradients over the pieces of
the batch and then updates its network once. Memory runs out while gradients are made, where most of it is needed: then
they are dropped, and the phase begins again with pieces of half the size. The result is the same but for rounding.

Where it runs out outside of a step, what is for people only is left out (`going_on_without`), and anything else ends
with an error of ours (`told_of_shortage`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from understudy.errors import OutOfMemory
from understudy.report import Note, Report
from understudy.training.optimisers import Optimiser

Result = TypeVar("Result")

WORDS = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "ALLOC_FAILED",
    "could not create a primitive",
    "could not create a memory",
    "can't start new thread",
)
"""How libraries say it that have no error of their own for it: torch, C++, CUDA, oneDNN, Python of its threads."""


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory is full, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


@contextmanager
def told_of_shortage() -> Iterator[None]:
    """Raise OutOfMemory where memory runs out in this block, in place of what libraries say."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_shortage(error):
            raise
        raise OutOfMemory(
            f"Memory is full ({_first_line(error)}).",
            hint="Everything up to the last saved state is kept: end other programs and run the same command again. "
            "Less memory: a smaller --batch-size, --checkpointing, --precision bf16, a smaller --cache-gb.",
        ) from error


@contextmanager
def going_on_without(what: str, report: Report) -> Iterator[None]:
    """Leave out the rest of the block where memory runs out in it, with a warning that says what there is none of."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_shortage(error):
            raise
        report(Note(f"Memory ran out: training goes on without {what} ({_first_line(error)}).", "warning"))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def in_memory(optimiser: Optimiser, work: Callable[[int], Result], cuts: int, most: int) -> tuple[Result, int]:
    """What `work(cuts)` gives, or with twice as many cuts each time that memory runs out; and with how many it went.

    work: makes gradients in that many pieces for each that was asked for, and updates `optimiser` by them. most: cuts
    at which a piece is a single sample. Raises OutOfMemory when that does not help, or when memory ran out within the
    update, which leaves weights that must not be saved.
    """
    while True:
        updates = optimiser.iterations
        try:
            return work(cuts), cuts
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            said = _first_line(error)
        # Here and not above: the error holds on to everything that the step had made.
        if optimiser.iterations != updates:
            raise OutOfMemory(
                f"Memory ran out while weights were updated ({said}). Nothing of that was saved.",
                hint="Run the same command again: it goes on from the last saved state. Less memory: half the "
                "--batch-size with --accumulate 2, --checkpointing, or --optimiser rmsprop.",
            )
        if cuts >= most:
            raise OutOfMemory(
                f"Memory is full even with a single face at a time ({said}).",
                hint="Everything up to the last saved state is kept. End other programs, train with --checkpointing or "
                "--precision bf16, or a model of smaller numbers.",
            )
        optimiser.drop_gradients()
        if optimiser.device.type == "cuda":
            torch.cuda.empty_cache()
        cuts = min(2 * cuts, most)
