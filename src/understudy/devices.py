"""What this machine has to compute with, and how fast it is: processors, memory, matrix-product peak."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from understudy.errors import InvalidOption

if TYPE_CHECKING:
    import torch

Kind = Literal["cpu", "cuda", "mps"]

_CGROUP = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Device:
    """Something that networks run on. id: what `--device` takes. memory: bytes in all; 0 where nobody says."""

    id: str
    kind: Kind
    name: str
    memory: int

    @property
    def torch(self) -> torch.device:
        import torch

        return torch.device(self.id)


def available() -> list[Device]:
    """Every device, best first, the processor last."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        found.append(Device(f"cuda:{index}", "cuda", facts.name, facts.total_memory))
    found.sort(key=lambda device: -device.memory)
    if torch.backends.mps.is_available():
        found.append(Device("mps", "mps", "Apple GPU", psutil.virtual_memory().total))
    return [*found, Device("cpu", "cpu", cpu_model(), psutil.virtual_memory().total)]


def best_device() -> Device:
    """The GPU with most memory, or the processor."""
    return available()[0]


def device_named(text: str) -> Device:
    """The device that a person named: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. Raises InvalidOption."""
    devices = available()
    if text in ("", "auto"):
        return devices[0]
    for device in devices:
        if text in (device.id, device.kind):
            return device
    known = ", ".join(device.id for device in devices)
    raise InvalidOption(
        f"There is no device {text!r} here.", hint=f"This machine has: {known}. `auto` takes the first."
    )


def physical_cores() -> int:
    """Cores that this process may use, counting a core with two hardware threads once; at least 1.

    A container's share counts: 64 threads on 2 cores' worth of time would spend it waiting for each other.
    """
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    process = psutil.Process()
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else cores
    share = _container_numbers("cpu.max")
    if len(share) == 2:
        allowed = min(allowed, round(share[0] / share[1]))
    return max(1, min(cores, allowed))


def computing_threads() -> int:
    """Threads inside one operation on a processor: as many as OMP_NUM_THREADS says, by which people and batch systems
    share a machine out, else one for each core that this process may use. Threads that have no core of their own wait
    for each other: beside another busy program a training step takes several times as long with two as with one.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else physical_cores()


def available_memory() -> int:
    """Bytes of main memory that could be used now without swapping, within a container's limit where there is one."""
    free = int(psutil.virtual_memory().available)
    limit, used = _container_numbers("memory.max"), _container_numbers("memory.current")
    return min(free, max(0, limit[0] - used[0])) if limit and used else free


def free_memory(device: str) -> int:
    """Bytes that could be taken on a device now: of a graphics card what no program holds and what torch holds unused,
    else main memory."""
    if device.partition(":")[0] != "cuda":
        return available_memory()
    import torch

    where = torch.device(device)
    held = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
    return int(torch.cuda.mem_get_info(where)[0]) + held


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's name, such as `AMD EPYC`, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_peak(dtype: str = "float32", *, device: str = "cpu", size: int = 2048, rounds: int = 7) -> float:
    """The best of `rounds` square matrix products, in GFLOP/s: the calibration that training figures stand beside.

    dtype: a torch type's name. Uses torch's present number of threads.
    """
    import torch

    where = torch.device(device)
    left, right = (torch.randn(size, size, device=where).to(getattr(torch, dtype)) for _ in range(2))
    out = torch.mm(left, right)
    best = float("inf")
    for _ in range(rounds):
        _wait(where)
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        _wait(where)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def _container_numbers(name: str) -> list[int]:
    """The numbers in a control file of Linux's cgroup v2; empty where there is none or it says `max`."""
    try:
        return [int(word) for word in (_CGROUP / name).read_text().split()]
    except (OSError, ValueError):
        return []


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def keep_freed_memory() -> None:
    """Ask the C library to keep freed blocks instead of giving them back, so that each step finds them mapped.

    Without it a training step of 0.6 s spends 2 % fetching the same 40 MB from the system again. Only glibc has the
    setting; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 512 << 20)
