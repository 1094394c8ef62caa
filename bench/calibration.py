"""How fast this machine is by itself, so that figures taken on different machines can be compared.

Matrix-product peaks bound training, memory bandwidth bounds what moves pictures, and core speed everything else.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from understudy.devices import available, cpu_model, matmul_peak, physical_cores


def calibrate(*, quick: bool = False) -> dict[str, Any]:
    """Machine, date and speeds: square products per device and type, copying memory, one core's loops."""
    size, rounds = (1024, 3) if quick else (2048, 7)
    peaks = {
        f"matmul_{dtype}_{device.id}_gflops": round(matmul_peak(dtype, device=device.id, size=size, rounds=rounds), 1)
        for device in available()
        for dtype in ("float32", "bfloat16")
    }
    return {
        "machine": cpu_model(),
        "cores": physical_cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not limited"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **peaks,
        "copy_gb_per_s": round(memory_bandwidth(), 2),
        "core_mloops_per_s": round(core_speed(), 2),
    }


def memory_bandwidth(*, mib: int = 256, rounds: int = 5) -> float:
    """GB/s of copying arrays larger than any cache with one core, reads and writes both counted; best of rounds."""
    source = np.ones(mib * 2**20 // 8, dtype=np.float64)
    target = np.empty_like(source)
    best = min(_seconds_of(lambda: np.copyto(target, source)) for _ in range(rounds))
    return 2 * source.nbytes / best / 1e9


def core_speed(*, loops: int = 2_000_000, rounds: int = 5) -> float:
    """Million turns of a plain Python loop per second, median: what one core does with branching code."""

    def turn() -> int:
        total = 0
        for number in range(loops):
            total += number & 3
        return total

    return loops / statistics.median(_seconds_of(turn) for _ in range(rounds)) / 1e6


def _seconds_of(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
