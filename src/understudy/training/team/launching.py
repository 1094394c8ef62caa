"""The devices that training runs on, set up by Lightning Fabric: one, several of this machine, or several machines.

    --device cuda:1            this process, on one device
    --devices 0,1              one process for each graphics card of this machine; the first is this process
    torchrun … train NAME      the processes that torchrun started, on as many machines

A team of this machine finds each other through a file and talks over the loopback, so that nothing of it can be reached
from the network. Machines find each other as torchrun says, over a network that must be trusted.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.devices import available, device_named
from understudy.errors import InvalidOption, ProcessLost, UsageError
from understudy.training.team.team import ALONE, LOST_HINT, Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch._C._distributed_c10d import Store

_meetings = itertools.count()
"""Which meeting of torchrun's processes this is: all of them come to every one."""

LOOPBACK = {"linux": "lo", "darwin": "lo0"}
"""The interface that only this machine sees; Windows finds it by the address."""


@dataclass(frozen=True)
class Seat:
    """One process's place among those that train together.

    devices: those of its machine, one for each process there, as `--device` has them. rank: its number among all.
    nodes: machines. meeting: the file through which the processes of one machine find each other; None where torchrun
    says how.
    """

    devices: tuple[str, ...]
    rank: int = 0
    nodes: int = 1
    meeting: Path | None = None

    @property
    def size(self) -> int:
        return len(self.devices) * self.nodes

    @property
    def local_rank(self) -> int:
        return self.rank % len(self.devices)

    @property
    def device(self) -> str:
        return self.devices[self.local_rank]


def launch(device: str = "auto") -> Fabric:
    """Fabric on one device: `auto` takes the best there is, else as `--device`. Raises InvalidOption."""
    from lightning_fabric import Fabric

    found = device_named(device).torch
    fabric = Fabric(accelerator=found.type, devices=1 if found.type == "cpu" else [found.index or 0])
    fabric.launch()
    return fabric


def devices_named(device: str, devices: str) -> list[str]:
    """The devices of this machine that `--device` and `--devices` name together, one for each process.

    devices: "" for the one of `device`; numbers of graphics cards such as `0,1`; how many, such as `2`: the best
    graphics cards, or so many processes on the processor; `all` graphics cards. Raises InvalidOption.
    """
    wanted = devices.replace(" ", "").strip(",")
    if not devices.strip():
        return [device_named(device).id]
    kind = "cpu" if device == "cpu" else device_named(device).kind
    cards = [found.id for found in available() if found.kind == "cuda"] if kind == "cuda" else []
    if wanted == "all":
        return cards or ["cpu"]
    if not all(part.isdigit() for part in wanted.split(",")):
        raise InvalidOption(
            f"--devices {devices} is neither a number nor a list of numbers.",
            hint="--devices 2 takes two devices, --devices 0,1 the graphics cards 0 and 1, --devices all every card.",
        )
    numbers = [int(part) for part in wanted.split(",")]
    if "," in devices:
        return [device_named(f"cuda:{number}").id for number in dict.fromkeys(numbers)]
    count = numbers[0]
    if count < 1 or (kind != "cpu" and count > max(1, len(cards))):
        raise InvalidOption(
            f"--devices {count} asks for more than the {max(1, len(cards))} that this machine has of {kind}.",
            hint="See what there is with: understudy doctor. Processes on the processor: --device cpu --devices 2",
        )
    return (cards or [device_named(device).id])[:count] if kind != "cpu" else ["cpu"] * count


def seat_by_torchrun(device: str = "auto", environment: Mapping[str, str] = os.environ) -> Seat:
    """This process's place among those that torchrun started, on devices of the kind that `--device` names.

    Raises UsageError where machines have different numbers of processes, InvalidOption for more than it has cards.
    """
    rank, size, local_size = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if size % local_size:
        raise UsageError(
            f"{size} processes, {local_size} of them on this machine: all machines must have equally many.",
            hint="Give torchrun the same --nproc-per-node on every machine.",
        )
    kind = "cpu" if device == "cpu" else device_named(device).kind
    return Seat(tuple(devices_named(kind, str(local_size))), rank, size // local_size)


@contextlib.contextmanager
def seated(seat: Seat, *, timeout_mins: float = 10.0) -> Iterator[tuple[Fabric, Team]]:
    """Fabric and the team, from when all have met until the block ends, however it ends.

    timeout_mins: how long a process that says nothing is waited for. Raises ProcessLost when not all come.
    """
    if seat.size == 1:
        yield launch(seat.device), ALONE
        return
    import torch.distributed as dist

    if dist.is_initialized():
        raise UsageError("This process is a member of another group of processes already.")
    fabric = _fabric(seat, timedelta(minutes=timeout_mins))
    try:
        with _environment(seat):
            try:
                _meet(seat, fabric.device.type, timedelta(minutes=timeout_mins))
                fabric.launch()
            except RuntimeError as error:  # also of what a missing process leads to: timeouts, refused connections
                raise ProcessLost(
                    f"Not all of {seat.size} processes that should train together came.",
                    hint=LOST_HINT,
                    cause=str(error),
                ) from error
        yield fabric, Team(seat.rank, seat.size)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _fabric(seat: Seat, timeout: timedelta) -> Fabric:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    from understudy.training.team.cluster import Cluster

    kind = device_named(seat.device).kind
    if kind == "mps":
        raise InvalidOption("Several processes cannot share the graphics of this machine.", hint="Leave --devices out.")
    cards = [device_named(device).torch.index or 0 for device in seat.devices]
    return Fabric(
        accelerator=kind,
        devices=len(seat.devices) if kind == "cpu" else cards,
        num_nodes=seat.nodes,
        strategy=DDPStrategy(process_group_backend=_backends(kind), timeout=timeout),
        plugins=[Cluster(seat)],
    )


def _backends(kind: str) -> str:
    """How tensors travel: messages between processors, gradients between graphics cards."""
    if kind != "cuda":
        return "gloo"
    import torch.distributed as dist

    return "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "cpu:gloo,cuda:gloo"


def _meet(seat: Seat, kind: str, timeout: timedelta) -> None:
    """Join the group through the file of this machine, or where torchrun says, each time under another name: its
    processes may meet again, for the next phase of a schedule."""
    import torch.distributed as dist
    from torch._C._distributed_c10d import FileStore, PrefixStore

    store: Store
    if seat.meeting is None:
        store = PrefixStore(f"meeting-{next(_meetings)}", _torchruns_store(seat.rank, seat.size, timeout))
        store.set_timeout(timeout)
    else:
        store = FileStore(str(seat.meeting), seat.size)
    dist.init_process_group(_backends(kind), store=store, rank=seat.rank, world_size=seat.size, timeout=timeout)


@functools.cache
def _torchruns_store(rank: int, size: int, timeout: timedelta) -> Store:
    """Where torchrun's processes leave word for each other, for as long as this one lives."""
    from torch.distributed.rendezvous import rendezvous

    store: Store
    store, _, _ = next(rendezvous("env://", rank, size, timeout=timeout))
    return store


@contextlib.contextmanager
def _environment(seat: Seat) -> Iterator[None]:
    """Let connections of one machine's processes stay on it, where the user has not said otherwise."""
    before = dict(os.environ)
    if seat.meeting is not None and sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    try:
        yield
    finally:
        for name in ("GLOO_SOCKET_IFNAME", "MASTER_ADDR", "MASTER_PORT"):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)
