"""The faces of one side as uint8 crops of the model's size and face type, each made once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.devices import available_memory
from understudy.records import FaceType, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.training.faces.bank_maker import BankMaker, BankSource, Made
from understudy.training.faces.crop_cache import crop_cache
from understudy.training.faces.cropping import StoredFace, convert_picture
from understudy.training.faces.crops import CropFile, Crops

__all__ = ["MEMORY_SHARE", "FaceBank", "StoredFace", "convert_picture", "parted"]

WITH_MASKS = 5
"""Channels of a crop at most without the whole picture: RGB and two masks."""

MEMORY_SHARE = 0.25
"""How much of the free memory one side's crops may fill before they are read from disk."""


class FaceBank:
    """Every face of one side, ready to be augmented. `FaceBank.load` makes one of a faceset.

    names: keys of the faces (file names, behind their person's name where there are several), in order. yaws: (N,)
    which way each looks, in radians, positive to the right of the picture; None where that is not known. persons: (N,)
    a number for each person, −1 for nobody, and who they are; None where nobody is told apart. skipped: faces that
    could not be used.
    """

    def __init__(
        self,
        crops: NDArray[np.uint8] | Crops,
        names: tuple[str, ...] = (),
        yaws: NDArray[np.float64] | None = None,
        skipped: tuple[Skipped, ...] = (),
        *,
        rows: NDArray[np.int64] | None = None,
        persons: NDArray[np.int32] | None = None,
        who: tuple[str, ...] = (),
    ) -> None:
        """crops: (N,S,S,4) uint8, RGB and the face mask (255: face), or (N,S,S,5) with the mask of eyes and mouth
        behind it, not copied; or where they are kept, with the number there of each face (rows)."""
        self.crops = crops if isinstance(crops, Crops) else Crops.of(crops)
        self.rows = np.arange(len(crops)) if rows is None else rows
        self.names, self.yaws, self.skipped = names, yaws, skipped
        self.persons, self.who = persons, who
        self.shown: FaceBank | None = None
        """Other faces of the side, for previews, where its own are not all that there is to see (mask networks)."""
        self.choice: tuple[str, ...] = ()
        """With `shown`: the names of all faces of the side, from which others may be shown."""
        self._maker: BankMaker | None = None
        self._made: Made | None = None

    @classmethod
    def load(
        cls,
        faces: Sequence[StoredFace],
        *,
        size: int,
        face_type: FaceType,
        eyes_mouth: bool = False,
        whole: bool = False,
        faceset: Path | None = None,
        caches: Path | None = None,
        budget: int | None = None,
        spill: Path | None = None,
        workers: int = 0,
        find: Callable[[str], StoredFace | None] = lambda key: None,
        labels: bool = False,
        report: Report = silent,
        stop: Stop = never,
    ) -> FaceBank:
        """Decode and convert every face that is not in the cache, in parallel. The order of `faces` is kept.

        whole: with all of each face's picture, of whatever face type, for its colours. labels: with XSeg labels in the
        place of masks; without eyes_mouth and whole, and never in a cache. faceset, caches: the folder that
        the faces are in and that of the workspace's caches; without them crops last as long as the process. budget:
        bytes to hold in memory (None: a quarter of what is free). spill: where a temporary file lies for what is
        beyond, if there is no cache (None: the system's folder). find: a face by its key, for a crop in the cache that
        turns out to be damaged. workers: 0 uses every core.

        What was made stays in the cache when this is interrupted.
        Raises EmptyFaceset when no face is usable, Interrupted when `stop` turns true, and DiskFull.
        """
        source = BankSource(size, face_type, eyes_mouth, whole, workers, find, labels)
        wanted = len(faces) * int(np.prod(source.shape))
        limit = int(MEMORY_SHARE * available_memory()) if budget is None else budget
        cache = None
        if faceset is not None and caches is not None:
            cache = crop_cache(caches, faceset, source.shape, str(face_type), bytes_wanted=wanted)
        maker = BankMaker(source, limit, cache)
        if cache is None and wanted > limit:
            maker.spill_to(CropFile.temporary(source.shape, spill))
        return cls._of_made(maker, maker.make(faces, report=report, stop=stop))

    def updated(
        self, faces: Sequence[StoredFace], *, report: Report = silent, stop: Stop = never
    ) -> tuple[FaceBank, BankChanges]:
        """The bank of these faces, in their order, and what is other than in this one, which stays as it is.

        Only faces that this bank does not hold are decoded. Raises as `load` does.
        """
        assert self._maker is not None
        assert self._made is not None
        bank = self._of_made(self._maker, self._maker.make(faces, self._made, report=report, stop=stop))
        return bank, _changes(self, bank)

    @classmethod
    def _of_made(cls, maker: BankMaker, made: Made) -> FaceBank:
        who = tuple(sorted({name for name in made.who if name is not None}))
        persons = None
        if who:
            numbers = {name: number for number, name in enumerate(who)}
            persons = np.array([-1 if name is None else numbers[name] for name in made.who], np.int32)
        bank = cls(maker.crops, made.names, made.yaws, made.skipped, rows=made.rows, persons=persons, who=who)
        bank._maker, bank._made = maker, made
        return bank

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        return self.crops.shape[0]

    @property
    def has_whole_faces(self) -> bool:
        """Whether each crop comes with all of its face's picture."""
        return self.crops.shape[2] > WITH_MASKS

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """All crops at once, (N,S,S,4 or 5) uint8, in a new array."""
        return self.crops.take(self.rows)

    @cached_property
    def digest(self) -> str:
        """Equal for banks of the same faces in the same order."""
        return hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogatepass")).hexdigest()

    def take(self, indexes: NDArray[np.int64], *, pinned: bool = False) -> Tensor:
        """The crops of these faces, (B,S,S,4 or 5) uint8; pinned: in memory that a graphics card copies from by
        itself."""
        out = torch.empty((len(indexes), *self.crops.shape), dtype=torch.uint8, pin_memory=pinned)
        self.crops.take(self.rows[indexes], out.numpy())
        return out

    def fetch(self, indexes: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """Pictures (B,3,S,S) and masks (B,1,S,S), or with eyes and mouth (B,2,S,S), float32 0..1, on `device`."""
        return parted(self.take(indexes, pinned=device.type == "cuda"), device)


class BankChanges(NamedTuple):
    """What differs between two states of a faceset: how many faces."""

    added: int
    changed: int
    removed: int
    renamed: int


def _changes(before: FaceBank, after: FaceBank) -> BankChanges:
    """How two banks of one maker differ. A face that has another name and is the same is renamed."""
    assert before._made is not None
    assert after._made is not None
    old = dict(zip(before.names, before._made.known.tolist(), strict=True))
    new = dict(zip(after.names, after._made.known.tolist(), strict=True))
    come = [key for key in new if key not in old]
    gone = {old[key] for key in old if key not in new}
    renamed = sum(new[key] in gone for key in come)
    changed = sum(known != old.get(key, known) for key, known in new.items())
    return BankChanges(len(come) - renamed, changed, len(old) - len(new) + len(come) - renamed, renamed)


def parted(crops: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Crops (B,S,S,4 or 5) uint8 as pictures (B,3,S,S) and masks (B,1 or 2,S,S), float32 0..1, on `device`; whole
    pictures behind the masks are left out."""
    channels = crops.shape[3] if crops.shape[3] <= WITH_MASKS else crops.shape[3] - 3
    planes = crops.to(device, non_blocking=True)[..., :channels].permute(0, 3, 1, 2).contiguous()
    there = planes.float().div_(255)
    return there[:, :3], there[:, 3:]


def whole_pictures(crops: Tensor) -> Tensor | None:
    """The whole pictures in crops (B,S,S,7 or 8) uint8 as (B,3,S,S) float32 0..1; None where there are none."""
    if crops.shape[3] <= WITH_MASKS:
        return None
    return crops[..., -3:].permute(0, 3, 1, 2).contiguous().float().div_(255)
