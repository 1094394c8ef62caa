"""One optimiser step of df-ud 128 and of Quick96, by each of ours, beside torch's own and the speed of memory.

Ours and torch's update the same weights in turn, in one process, and of each the least time counts: the round that
other programs disturbed least. In bfloat16 each takes gradients in bfloat16 and brings working copies up to date, which
torch's do by casting before and after. The bound is the time that memory needs to read and write once what the step
must, at the speed of copying with as many threads, measured in between.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from understudy.devices import best_device, keep_freed_memory, physical_cores
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.networks.saehd import DF, SaehdConfig
from understudy.records import Archi
from understudy.training.optimisers import AdaBelief, Adam, AdamW, Lion, Optimiser, OptimiserType, RMSprop

SLACK = 1.3
"""How much longer than the bound a step may take."""

Step = Callable[[], float]
"""Takes one step and gives its seconds; what belongs to no step, such as setting gradients, is not counted."""


def run(quick: bool = False) -> dict[str, Any]:
    """The best of 9 alternated rounds for each network, number type, and one thread and all of them.

    quick: 3 rounds, all threads, smaller networks, bfloat16 of the reference's optimisers only.
    """
    device = best_device().torch
    if device.type == "cpu":
        keep_freed_memory()
    threads = sorted({1, physical_cores()}) if device.type == "cpu" else [0]
    threads = threads[-1:] if quick else threads
    numbers = {"ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16} if quick else {}
    rows = []
    for title, net, kinds in (
        ("df-ud 128", DF(SaehdConfig(size=128, archi=Archi.parse("df-ud"), **numbers)), (AdaBelief, Adam, AdamW, Lion)),
        ("Quick96", Quick96(Quick96Config(**numbers)), (RMSprop,)),
    ):
        net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for kind, compute, count in itertools.product(kinds, (torch.float32, torch.bfloat16), threads):
            if quick and kind not in (AdaBelief, RMSprop) and compute is not torch.float32:
                continue
            if count:
                torch.set_num_threads(count)
            bench = _Bench(dict(net.named_parameters()), compute, device)
            found = bench.race(bench.steps(kind), rounds=3 if quick else 9)
            about = {"network": title, "million": round(bench.count / 1e6, 1), "optimiser": kind.title}
            rows.append({**about, "numbers": str(compute).removeprefix("torch."), "threads": count, **found})
    return {
        "device": str(device),
        "meets_target": all(row["of bound"] <= SLACK and row["of AdamW fused"] <= 1 for row in rows),
        "rows": rows,
    }


class _Bench:
    """Weights and gradients that every contender works on; moments are each one's own."""

    def __init__(self, weights: Mapping[str, nn.Parameter], compute: torch.dtype, device: torch.device) -> None:
        self.weights, self.compute, self.device = weights, compute, device
        self.count = sum(weight.numel() for weight in weights.values())
        draw = torch.Generator(device).manual_seed(0)
        self.source = {name: torch.empty_like(w).normal_(0, 1e-3, generator=draw) for name, w in weights.items()}
        self.gradients = {name: source.to(compute, copy=True) for name, source in self.source.items()}
        self.buffers = torch.ones(2, 1 << 25, device=device)

    def steps(self, kind: OptimiserType) -> dict[str, Step]:
        """Every contender by name, ours first: as it is, with dropout, and with the length that the guard asks for."""
        flat = list(self.weights.values())
        self.bytes_moved = (12 + 8 * len(kind.moment_names)) * self.count
        ours = {"ours": {}, "ours, dropout": {"lr_dropout": 0.3}, "ours, guarded": {"guarded": True}}
        found = {
            name: self._ours(kind(self.weights.items(), lr=1e-5, compute=self.compute, **settings))  # type: ignore[arg-type]
            for name, settings in ours.items()
        }
        found["AdamW fused"] = self._torch(torch.optim.AdamW(flat, lr=1e-5, fused=True))
        found["AdamW foreach"] = self._torch(torch.optim.AdamW(flat, lr=1e-5, foreach=True))
        found["RMSprop foreach"] = self._torch(torch.optim.RMSprop(flat, lr=1e-5, foreach=True))
        return found

    def race(self, steps: Mapping[str, Step], *, rounds: int) -> dict[str, Any]:
        """A row of the table: milliseconds of each, ours beside the bound."""
        times: dict[str, list[float]] = {name: [] for name in steps}
        copying = []
        for turn in range(rounds + 1):
            copying.append(self._copying())
            for name, step in steps.items():
                seconds = step()
                if turn:  # the first round sets up moments and copies
                    times[name].append(seconds)
        best = {name: min(found) for name, found in times.items()}
        speed = max(copying)
        return {
            "ms": round(1000 * best["ours"], 1),
            "with dropout": round(1000 * best["ours, dropout"], 1),
            "guarded": round(1000 * best["ours, guarded"], 1),
            "ms per million": round(1e9 * best["ours"] / self.count, 2),
            "GB/s": round(self.bytes_moved / best["ours"] / 1e9, 1),
            "copy GB/s": round(speed / 1e9, 1),
            "of bound": round(best["ours"] * speed / self.bytes_moved, 2),
            "of AdamW fused": round(best["ours"] / best["AdamW fused"], 2),
            **{f"{name}, ms": round(1000 * best[name], 1) for name in steps if not name.startswith("ours")},
        }

    def _ours(self, optimiser: Optimiser) -> Step:
        def step() -> float:
            self._renew_gradients()
            for name, copy in optimiser.working().items():
                copy.grad = self.gradients[name]
            return self._seconds(optimiser.step)

        return step

    def _torch(self, optimiser: torch.optim.Optimizer) -> Step:
        wide = {name: torch.empty_like(weight) for name, weight in self.weights.items()}
        copies = {name: weight.detach().to(self.compute) for name, weight in self.weights.items()}

        @torch.no_grad()
        def work() -> None:
            if self.compute is not torch.float32:
                torch._foreach_copy_(list(wide.values()), list(self.gradients.values()))
            optimiser.step()
            if self.compute is not torch.float32:
                torch._foreach_copy_(list(copies.values()), list(self.weights.values()))

        def step() -> float:
            self._renew_gradients()
            for name, weight in self.weights.items():
                weight.grad = self.gradients[name] if self.compute is torch.float32 else wide[name]
            seconds = self._seconds(work)
            optimiser.zero_grad()
            return seconds

        return step

    def _renew_gradients(self) -> None:
        for name, gradient in self.gradients.items():
            gradient.copy_(self.source[name])

    def _copying(self) -> float:
        """Bytes per second of copying, reads and writes both counted."""
        seconds = self._seconds(lambda: self.buffers[0].copy_(self.buffers[1]))
        return self.buffers.numel() * self.buffers.element_size() / seconds

    def _seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
