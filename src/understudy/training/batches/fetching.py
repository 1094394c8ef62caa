"""Fetching the next batch while the network learns from this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from understudy.training.batches.batch_plan import Plan


class Fetched(NamedTuple):
    """The crops of a plan, (B,S,S,C) uint8, of src, dst and src's partners, if it has any, on the device."""

    plan: Plan
    crops: tuple[Tensor, ...]


class Fetcher:
    """Runs one fetch at a time in a thread. On a graphics card it copies on a stream of its own, beside what the
    network computes; `take` lets the network's stream wait for the copy, not Python."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._under_way: Future[Fetched] | None = None

    def begin(self, fetch: Callable[[], Fetched]) -> None:
        """Start fetching."""
        self._under_way = self._thread.submit(self._run, fetch)

    def take(self) -> Fetched | None:
        """What was fetched, waited for where necessary; None where nothing was begun."""
        if self._under_way is None:
            return None
        fetched, self._under_way = self._under_way.result(), None
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for crops in fetched.crops:
                crops.record_stream(current)
        return fetched

    def _run(self, fetch: Callable[[], Fetched]) -> Fetched:
        if self._stream is None:
            return fetch()
        with torch.cuda.stream(self._stream):
            return fetch()
