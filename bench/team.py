"""What training together costs beside the step itself: an order to all processes, and gradients added up.

Two processes of this machine over gloo. On a busy machine the figures say little.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MILLIONS = 20
ORDERS, ROUNDS = 500, 5


def run(quick: bool = False) -> dict[str, Any]:
    """Microseconds of an order, milliseconds to add up gradients of so many million weights, by number type."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(__file__).resolve().parents[1]
        case = {"meeting": str(Path(folder) / "meeting"), "millions": 2 if quick else MILLIONS}
        other = subprocess.Popen([sys.executable, "-m", "bench.team", json.dumps({**case, "rank": 1})], cwd=root)
        try:
            return _together({**case, "rank": 0})
        finally:
            other.wait(60)


def _together(case: dict[str, Any]) -> dict[str, Any]:
    import torch

    from understudy.training.team.launching import Seat, seated
    from understudy.training.team.team import Order

    seat = Seat(("cpu", "cpu"), case["rank"], meeting=Path(case["meeting"]))
    found: dict[str, Any] = {"million_weights": case["millions"]}
    with seated(seat, timeout_mins=2) as (_, team):
        times = []
        for _ in range(ORDERS):
            start = time.perf_counter()
            if team.leads:
                team.order(Order.WAIT)
            else:
                team.hear()
            times.append(time.perf_counter() - start)
        found["order_us"] = round(1e6 * sorted(times)[ORDERS // 2])
        for dtype in (torch.float32, torch.bfloat16):
            gradients = [torch.ones(case["millions"] * 10**6 // 40, dtype=dtype) for _ in range(40)]
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                team.reduce(gradients)
                times.append(time.perf_counter() - start)
            found[f"gradients_{str(dtype).removeprefix('torch.')}_ms"] = round(1e3 * sorted(times)[ROUNDS // 2], 1)
    return found


if __name__ == "__main__":
    _together(json.loads(sys.argv[1]))
