"""Pairs of crops that a restorer learns from: a sharp one, and the same made soft by a recipe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.networks.restorer import GRAIN, places
from understudy.training.enhancing.degrading import Cookbook, Pixels, degrade

MARGIN_PX = 24
"""Around a crop, degraded with it and cut off again, so that filters do not meet an edge."""


class SoftCrops:
    """Batches of (soft, sharp, place), made ahead by threads; batch i is the same whatever went before it."""

    def __init__(
        self,
        faces: NDArray[np.uint8],
        recipes: Cookbook,
        *,
        start: int,
        crop_px: int,
        batch_size: int,
        seed: int,
        workers: int,
    ) -> None:
        """faces: (N, S, S, 3) uint8, sharp. start: number of the first batch. crop_px: side, a multiple of 8."""
        self._faces, self._recipes, self._next = faces, recipes, start
        self._crop = min(crop_px, faces.shape[1] // GRAIN * GRAIN)
        self._batch_size, self._seed, self._workers = batch_size, seed, workers
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="crops")
        self._ahead: deque[Future[tuple[Tensor, Tensor, Tensor]]] = deque()

    def __enter__(self) -> SoftCrops:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor, Tensor]:
        while len(self._ahead) <= self._workers:
            self._ahead.append(self._pool.submit(self._batch, self._next))
            self._next += 1
        return self._ahead.popleft().result()

    def _batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        side, crop = self._faces.shape[1], self._crop
        rng = np.random.default_rng([self._seed, 11, number])
        corners = rng.integers(0, side - crop + 1, (2, self._batch_size))
        soft, sharp = [], []
        for top, left in corners.T:
            face = self._faces[int(rng.integers(len(self._faces)))]
            pair = _crop_pair(face, int(top), int(left), crop, self._recipes, rng)
            soft.append(pair[0])
            sharp.append(pair[1])
        return as_tensor(soft), as_tensor(sharp), places(corners[0], corners[1], crop, side)


def _crop_pair(
    face: Pixels, top: int, left: int, crop: int, recipes: Cookbook, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """A degraded crop and the sharp one. The corner of what is degraded is drawn too, so that no grid is learned."""
    side = face.shape[0]
    margins = MARGIN_PX + rng.integers(0, 8, 4)
    up, before = max(0, top - int(margins[0])), max(0, left - int(margins[1]))
    down, after = min(side, top + crop + int(margins[2])), min(side, left + crop + int(margins[3]))
    around = degrade(np.asarray(face[up:down, before:after]), recipes.draw(rng), rng, scale=side / 512)
    soft = around[top - up : top - up + crop, left - before : left - before + crop]
    return soft, np.asarray(face[top : top + crop, left : left + crop])


def as_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """(B,3,H,W) float32 0..1 of equally large pictures."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
