"""Whether a training fits into the memory that is free, before anything of it is allocated, and in how many pieces.

A batch that does not fit whole is learned in pieces: gradients are sums over samples, so those of two halves add up to
those of the whole, and the training is the same but for rounding and a little time. So the batch that was asked for
stands, and memory only decides how much of it is in work at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.devices import free_memory
from understudy.errors import OutOfMemory
from understudy.records import PrecisionChoice
from understudy.training.learning.precision import Precision
from understudy.training.memory.peak import MemoryNeed, training_memory
from understudy.training.options import TrainOptions

SAFE_SHARE = 0.92
"""How much of the free memory a plan fills: predictions are a few percent off, and the system wants some too."""

HARDLY = 1 / 8
"""Below this share of the free memory nobody needs a figure."""

PIXEL_BYTES = 16 << 10
"""More than any network here keeps for a pixel of a sample; only to tell small trainings from those worth a plan."""

Need = Callable[[TrainOptions, Precision, int], MemoryNeed]


@dataclass(frozen=True)
class MemoryPlan:
    """What a training needs on a device where `free` bytes are free, learned in so many `pieces` of the batch.

    advice: what else would make it smaller, each with the bytes it would need then.
    """

    need: MemoryNeed
    whole: MemoryNeed
    free: int
    batch_size: int
    pieces: int
    advice: tuple[tuple[str, int], ...] = ()

    @property
    def sentence(self) -> str:
        """What a person should know; empty where memory is no matter."""
        if self.pieces > 1:
            return (
                f"A batch of {self.batch_size} needs about {_gb(self.whole.total)} at once and {_gb(self.free)} are "
                f"free: each iteration goes in {self.pieces} pieces, which need {_gb(self.need.total)}, and learns "
                "the same. " + _told(self.advice)
            ).strip()
        if self.need.total < HARDLY * self.free:
            return ""
        return f"Training needs about {_gb(self.need.total)} of memory; {_gb(self.free)} are free."


def plan_memory(
    model_class: str,
    config: Mapping[str, Any],
    options: TrainOptions,
    precision: Precision,
    *,
    device: str,
    processes: int = 1,
    faithful: bool = False,
    free: int | None = None,
) -> MemoryPlan:
    """How a training fits on `device`, which so many `processes` share the batch of `options` on or beside.

    free: bytes, if not those that are free now. On a processor the processes share them; each graphics card has its
    own. Raises OutOfMemory when a batch in pieces of one sample does not fit either, and as `training_memory`.
    """
    kind = device.partition(":")[0]
    room = free_memory(device) if free is None else free
    share = room // processes if kind == "cpu" else room
    batch = max(1, options.batch_size // processes)

    def need(options: TrainOptions, precision: Precision, pieces: int) -> MemoryNeed:
        return training_memory(
            model_class,
            config,
            options,
            precision,
            batch_size=-(-batch // pieces),
            in_pieces=pieces * options.accumulate > 1,
            sharers=processes if options.shard else 1,
            device=device,
            faithful=faithful,
        )

    whole = need(options, precision, 1)
    if whole.total <= SAFE_SHARE * share:
        return MemoryPlan(whole, whole, share, batch, 1)
    for pieces in _divisions(batch):
        smaller = need(options, precision, pieces)
        if smaller.total <= SAFE_SHARE * share:
            return MemoryPlan(smaller, whole, share, batch, pieces, _advice(options, precision, kind, whole, need))
    least = need(options, precision, batch)
    advice = _advice(options, precision, kind, least, need, pieces=batch)
    raise OutOfMemory(
        f"Training this model needs {_gb(least.total)} even with a single face at a time, and {_gb(share)} are free.",
        hint=_told(advice) or "End other programs, or train a model of smaller numbers.",
    )


def hardly_matters(parameters: int, size: int, options: TrainOptions, free: int) -> bool:
    """Whether a training of so many weights at so many pixels is so small that no plan is worth its second."""
    return 32 * parameters + 4 * options.batch_size * size**2 * PIXEL_BYTES < HARDLY * free


def _divisions(batch: int) -> Iterator[int]:
    """2, 4, 8, … and at last as many pieces as there are samples."""
    pieces = 2
    while pieces < batch:
        yield pieces
        pieces *= 2
    if batch > 1:
        yield batch


def _advice(
    options: TrainOptions, precision: Precision, kind: str, now: MemoryNeed, need: Need, *, pieces: int = 1
) -> tuple[tuple[str, int], ...]:
    """Options that would need less, as they are typed, with the bytes that they would need."""
    changes: list[tuple[str, TrainOptions, Precision]] = []
    if not options.checkpointing:
        changes.append(("--checkpointing", options.but(checkpointing=True), precision))
    if kind != "cpu" and options.models_opt_on_gpu:
        changes.append(("--no-models-opt-on-gpu", options.but(models_opt_on_gpu=False), precision))
    if precision.dtype == "float32" and options.precision is not PrecisionChoice.BF16:
        changes.append(("--precision bf16", options, Precision("bfloat16", precision.channels_last, precision.threads)))
    found = [(flag, need(changed, kept, pieces).total) for flag, changed, kept in changes]
    return tuple((flag, total) for flag, total in found if total < 0.97 * now.total)


def _told(advice: tuple[tuple[str, int], ...]) -> str:
    if not advice:
        return ""
    return "Less memory: " + ", ".join(f"{flag} ({_gb(total)})" for flag, total in advice) + "."


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 100e9 else f"{count / 1e9:.0f} GB"
