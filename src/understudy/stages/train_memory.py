"""The memory plan of a training, told before its first step."""

from __future__ import annotations

from understudy.devices import free_memory
from understudy.report import Note, Report
from understudy.training.learning.precision import choose
from understudy.training.memory.cost import imagined_network
from understudy.training.memory.memory_plan import hardly_matters, plan_memory
from understudy.training.options import TrainOptions
from understudy.training.saved.models import ModelRecord


def cuts_for_memory(
    record: ModelRecord, options: TrainOptions, device: str, *, processes: int = 1, report: Report
) -> int:
    """In how many parts each batch must go so that training fits into the memory that is free, with a note on it.

    processes: those that share this machine. Raises OutOfMemory when nothing fits.
    """
    parameters = sum(weight.numel() for weight in imagined_network(record.model_class, record.config).parameters())
    if hardly_matters(parameters, int(record.config["size"]), options, free_memory(device)):
        return 1
    plan = plan_memory(
        record.model_class,
        record.config,
        options,
        choose(device, options.precision),
        device=device,
        processes=processes,
        faithful=bool(record.imported if options.faithful is None else options.faithful),
    )
    if plan.sentence:
        report(Note(plan.sentence, "warning" if plan.pieces > 1 else "info"))
    return plan.pieces
