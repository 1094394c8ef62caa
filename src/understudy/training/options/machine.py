"""Where and how a training computes."""

from __future__ import annotations

from enum import StrEnum

from understudy.options import Options, option
from understudy.records import PrecisionChoice


class Compiling(StrEnum):
    """Whether the passes through a network are compiled, or on CUDA recorded as graphs as well."""

    NO = "no"
    YES = "yes"
    GRAPHS = "graphs"


class MachineOptions(Options):
    """Device, arithmetic and memory."""

    models_opt_on_gpu: bool = option(
        True,
        "Keep the optimiser's state on the graphics card. Off: in the computer's memory, slower, for larger models.",
        group="Machine",
        live=True,
    )
    device: str = option("auto", "Where to train: auto, cpu, cuda:0, mps.", group="Machine")
    devices: str = option(
        "",
        "Several devices of this machine, which share each batch: 0,1 for these graphics cards, 2 for so many of them "
        "or, with --device cpu, for so many processes, all for every card. Nothing: the one of --device.",
        group="Machine",
    )
    shard: bool = option(
        False,
        "With several devices: keep a part of the optimiser's state on each instead of all of it on every one.",
        group="Machine",
    )
    team_timeout: float = option(
        10.0,
        "With several devices or machines: how long one that says nothing is waited for.",
        group="Machine",
        unit="min",
        ge=0.1,
        le=1440.0,
    )
    precision: PrecisionChoice = option(
        PrecisionChoice.AUTO,
        "Arithmetic of the networks. auto measures once what this machine gains from.",
        group="Machine",
        live=True,
    )
    threads: int = option(
        0,
        "Processor threads for the networks; 0: OMP_NUM_THREADS, else one for each core.",
        group="Machine",
        ge=0,
        le=1024,
        live=True,
    )
    compile: Compiling = option(
        Compiling.NO,
        "yes: make kernels for this network, a minute or more at every start, needs a compiler; graphs: record them "
        "too, on CUDA. For long trainings on a graphics card; a processor gains a few per cent.",
        group="Machine",
        live=True,
    )
    cache_gb: float = option(
        0.0,
        "Memory for faces that are ready to be shown; what does not fit is read from the cache on disk. 0 takes a "
        "quarter of what is free for each side.",
        group="Machine",
        unit="GB",
        ge=0.0,
        le=100_000.0,
    )
