"""Batches for the mask network: the faces of both sides together, each in a sample of its own chance.

Sample number n of a run is a function of the seed, of n and of the faces, so the state is a few whole numbers. Samples
are made by worker threads, since most of the work is OpenCV's; beside a graphics card some batches ahead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.random import MT19937, RandomState, SeedSequence
from numpy.typing import NDArray
from torch import Tensor

from understudy.devices import physical_cores
from understudy.training.batches.samplers import Sampler, seed_of
from understudy.training.faces.bank import FaceBank
from understudy.training.masking.learner import MaskBatch
from understudy.training.masking.samples import FACE, Labelled, bend, draw, sample
from understudy.training.masking.spoiling import clipped

FACES, BEHIND, CHANCE = 0, 1, 6
"""Streams of random numbers: the order of the faces, that of those behind them, and what befalls each sample."""

AHEAD = 3
"""Batches made ahead beside a graphics card."""

GREY = (0.299, 0.587, 0.114)


class MaskBatches:
    """Batches for ever, of labelled faces, or in pretraining of any. See `batches.Batches`."""

    def __init__(
        self,
        src: FaceBank,
        dst: FaceBank,
        *,
        batch_size: int,
        seed: int = 0,
        pretraining: bool = False,
        faithful: bool = False,
        device: torch.device | str = "cpu",
        ahead: int | None = None,
        workers: int = 0,
    ) -> None:
        """src, dst: one of them may be empty; in pretraining both are the same. ahead: batches that are made
        meanwhile; None: as the device is better off. workers: 0 uses every core."""
        self.device = torch.device(device)
        self.part: Callable[[int], slice] = slice
        self.pretraining = pretraining
        """Whether the face in grey is the target."""
        self._batch_size, self._seed, self._faithful = batch_size, seed, faithful
        self._position = self._since = 0
        self._ahead = (AHEAD if self.device.type == "cuda" else 0) if ahead is None else ahead
        self._pool = ThreadPoolExecutor(workers or physical_cores(), thread_name_prefix="samples")
        self._begun: OrderedDict[int, Future[Labelled]] = OrderedDict()
        self._deal((src, dst))

    def __iter__(self) -> MaskBatches:
        return self

    def __next__(self) -> MaskBatch:
        return self.next()

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def banks(self) -> tuple[FaceBank, FaceBank]:
        return self._banks

    def next(self) -> MaskBatch:
        """The batch of this iteration."""
        made = self._made(self._position)
        self._position += self._batch_size
        for batch in range(self._ahead):
            self._begin(self._position + batch * self._batch_size)
        return self._on_device(made)

    def example(self, count: int) -> MaskBatch:
        """The first samples of the run, whatever was drawn meanwhile: for previews, which show the same each time."""
        return self._on_device([self._sample(number) for number in range(self._since, self._since + count)])

    def note(self, losses: Mapping[str, Tensor]) -> None:
        """Which faces are hard changes nothing here."""

    def configure(self, *, batch_size: int, faithful: bool, banks: tuple[FaceBank, FaceBank] | None = None) -> None:
        """Draw otherwise from the next batch on."""
        self._forget()
        self._batch_size, self._faithful = batch_size, faithful
        if banks is not None:
            self.replace_banks(*banks)

    def replace_banks(self, src: FaceBank, dst: FaceBank) -> None:
        """Draw from other faces from the next batch on; other ones are dealt anew."""
        before = self._digest
        self._deal((src, dst))
        self._deal_anew_unless(before)

    def state_dict(self) -> dict[str, Any]:
        """What was consumed; samples made ahead of that do not exist."""
        return {"seed": self._seed, "position": self._position, "since": self._since, "dealt": self._digest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; other faces are dealt anew."""
        self._seed, self._position, self._since = (int(state[name]) for name in ("seed", "position", "since"))
        self._deal(self._banks)
        self._deal_anew_unless(state["dealt"])

    @property
    def _digest(self) -> list[str]:
        return [bank.digest for bank in self._banks]

    def _deal_anew_unless(self, dealt: list[str]) -> None:
        if dealt != self._digest:
            self._since = self._position
            self._deal(self._banks)

    def _deal(self, banks: tuple[FaceBank, FaceBank]) -> None:
        self._forget()
        self._banks = banks
        self._sides = banks[:1] if self.pretraining else banks
        count = sum(len(bank) for bank in self._sides)
        seeds = [seed_of(seed_of(self._seed, stream), self._since) for stream in (FACES, BEHIND)]
        self._faces, self._behind = (Sampler(count, seed) for seed in seeds)

    def _forget(self) -> None:
        """Let go of what was made ahead: it may not be what comes next."""
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()

    def _begin(self, start: int) -> list[Future[Labelled]]:
        """The samples of the batch that begins at a position, this process's part of them, under way."""
        numbers = range(start, start + self._batch_size)[self.part(self._batch_size)]
        for number in numbers:
            if number not in self._begun:
                self._begun[number] = self._pool.submit(self._sample, number, *self._dealt(number))
        return [self._begun[number] for number in numbers]

    def _made(self, start: int) -> list[Labelled]:
        made = [future.result() for future in self._begin(start)]
        for number in [number for number in self._begun if number < start + self._batch_size]:
            del self._begun[number]
        return made

    def _dealt(self, number: int) -> tuple[int, int]:
        """Which face a sample shows, and which one is behind it. Not for threads: samplers remember a round."""
        place = number - self._since
        return int(self._faces.take(place, 1)[0]), int(self._behind.take(place, 1)[0])

    def _sample(self, number: int, face: int = -1, behind: int = -1) -> Labelled:
        if face < 0:
            face, behind = self._dealt(number)
        chance = RandomState(MT19937(SeedSequence([self._seed, CHANCE, number])))
        if self.pretraining:
            whole = self._face(face)
            bent = bend(whole, draw(len(whole.mask), FACE, chance), faithful=self._faithful)
            return Labelled(clipped(bent.picture), bent.mask)
        return sample(self._face(face), self._face(behind), chance, faithful=self._faithful)

    def _face(self, number: int) -> Labelled:
        for bank in self._sides:
            if number < len(bank):
                (crop,) = bank.crops.take(bank.rows[[number]])
                return Labelled(_float(crop[..., :3]), _float(crop[..., 3]))
            number -= len(bank)
        raise IndexError(number)

    def _on_device(self, made: list[Labelled]) -> MaskBatch:
        pictures = torch.from_numpy(np.stack([each.picture for each in made])).permute(0, 3, 1, 2)
        seen = pictures.to(self.device, non_blocking=True)
        if self.pretraining:
            weights = torch.tensor(GREY, device=self.device).view(1, 3, 1, 1)
            return MaskBatch(seen, (seen * weights).sum(1, keepdim=True))
        masks = torch.from_numpy(np.stack([each.mask for each in made]))[:, None]
        return MaskBatch(seen, masks.to(self.device, non_blocking=True))


def _float(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(levels, np.float32) / np.float32(255)
