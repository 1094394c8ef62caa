"""Making the crops of a faceset: what is in the cache is taken from there, the rest is decoded and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.errors import EmptyFaceset, Interrupted, WorkspaceError
from understudy.facesets import FaceEntry
from understudy.records import FaceType, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.training.faces.crop_cache import CropCache, fingerprint
from understudy.training.faces.cropping import MadeCrop, StoredFace, key_of, make_crop, make_crops
from understudy.training.faces.crops import Crop, CropFile, Crops, Shape

FLUSH_EVERY = 200
"""Crops after which what was made is known to the next run even if this one is killed."""


@dataclass(frozen=True)
class BankSource:
    """How crops are made. whole: with the face's whole picture, as it lies in its file, behind the masks. find: a face
    by its key, to make a crop again that is damaged on disk. labels: with XSeg labels in the place of masks."""

    size: int
    face_type: FaceType
    eyes_mouth: bool = False
    whole: bool = False
    workers: int = 0
    find: Callable[[str], StoredFace | None] = lambda key: None
    labels: bool = False

    @property
    def shape(self) -> Shape:
        return (self.size, self.size, 4 + self.eyes_mouth + 3 * self.whole)

    def make(self, face: StoredFace) -> MadeCrop | Skipped:
        """A face as such a crop, or why it cannot be one."""
        return make_crop(face, self.size, self.face_type, self.eyes_mouth, whole=self.whole, labels=self.labels)


@dataclass(frozen=True, eq=False)
class Made:
    """The usable faces of a side, in order: their keys, persons, crops (numbers in `BankMaker.crops`), which way they
    look (rad), and 64 bits each that change with the face."""

    names: tuple[str, ...]
    who: tuple[str | None, ...]
    rows: NDArray[np.int64]
    yaws: NDArray[np.float64]
    known: NDArray[np.int64]
    skipped: tuple[Skipped, ...]


class BankMaker:
    """Makes the crops of one side, and of the faces that come later. budget: bytes held in memory."""

    def __init__(self, source: BankSource, budget: int, cache: CropCache | None = None) -> None:
        self.source, self._budget, self._cache = source, budget, cache
        self._spill: CropFile | None = None
        self._lost: WorkspaceError | None = None
        self.crops = Crops(source.shape, budget, cache.file if cache else None)
        self.crops.mend = self._mend
        self._newest: Made | None = None
        self._added = 0

    def spill_to(self, file: CropFile) -> None:
        """Without a cache: where what is beyond the budget lies."""
        self._spill = file
        self.crops = Crops(self.source.shape, self._budget, file)

    def make(
        self, faces: Sequence[StoredFace], before: Made | None = None, *, report: Report = silent, stop: Stop = never
    ) -> Made:
        """The crops of these faces, in their order. before: what was made earlier, which is taken over.

        Raises EmptyFaceset when no face is usable, Interrupted when `stop` turns true, and DiskFull.
        """
        progress = _Progress([_known_by(face, place) for place, face in enumerate(faces)])
        if before is not None:
            progress.take_over(before)
        with contextlib.ExitStack() as stack:
            if self._cache is not None and len(progress.missing):
                try:
                    stack.enter_context(self._cache.writing(stop))
                    self._from_cache(progress, self._cache, shrink=before is None)
                except WorkspaceError as error:
                    self._do_without_cache(error, report)
            self._decode(faces, progress, report, stop)
        if not progress.usable.any():
            why = next((f": {first.item}: {first.reason}" for first in progress.skipped), "")
            raise EmptyFaceset(
                f"None of {len(faces)} faces can be used for training{why.removesuffix('.')}.",
                hint="Extract faces first: understudy faceset extract src, and the same for dst.",
                skipped=progress.skipped[:10],
            )
        self._newest = progress.made(faces)
        return self._newest

    def _from_cache(self, progress: _Progress, cache: CropCache, *, shrink: bool) -> None:
        if shrink:
            cache.shrink(progress.known.tolist())
            self.crops = Crops(self.source.shape, self._budget, cache.file)
            self.crops.mend = self._mend
        missing = progress.missing
        kept = cache.kept(progress.known[missing].tolist())
        for place, face in zip(missing.tolist(), progress.known[missing].tolist(), strict=True):
            if face in kept:
                there = kept[face]
                row = self.crops.add(place=there.place, checksum=there.checksum)
                progress.rows[place], progress.yaws[place] = row, there.yaw

    def _decode(self, faces: Sequence[StoredFace], progress: _Progress, report: Report, stop: Stop) -> None:
        missing = progress.missing.tolist()
        source = self.source
        pace = Pace("Loading faces", len(missing), report, unit="faces")
        made = make_crops(
            [faces[place] for place in missing],
            source.size,
            source.face_type,
            source.eyes_mouth,
            whole=source.whole,
            labels=source.labels,
            workers=source.workers,
        )
        with contextlib.closing(made):
            for place, crop in zip(missing, made, strict=True):
                if stop():
                    raise Interrupted("Stopped while loading faces.", hint="The same command starts again.")
                if isinstance(crop, Skipped):
                    progress.skipped.append(crop)
                else:
                    progress.yaws[place] = crop.yaw
                    progress.rows[place] = self._keep(int(progress.known[place]), crop, report)
                pace.advance()

    def _keep(self, face: int, crop: MadeCrop, report: Report) -> int:
        """Put a new crop where it belongs; its number."""
        if self._cache is not None:
            try:
                return self._keep_in(self._cache, face, crop)
            except WorkspaceError as error:
                self._do_without_cache(error, report)
        if self._lost is not None and not self.crops.has_room:
            raise self._lost
        if self._spill is None:
            return self.crops.add(crop.pixels)
        place = len(self.crops)
        self._spill.write(place, crop.pixels)
        return self.crops.add(crop.pixels, place=place)

    def _keep_in(self, cache: CropCache, face: int, crop: MadeCrop) -> int:
        place = cache.add(face, *crop).place
        self._added += 1
        if self._added % FLUSH_EVERY == 0:
            cache.flush()
        return self.crops.add(crop.pixels, place=place)

    def _do_without_cache(self, error: WorkspaceError, report: Report) -> None:
        """Keep what comes in memory, as far as the budget goes. What is in the cache is read from there as before."""
        report(Note(f"{error.message} Faces are kept in memory instead.", "warning"))
        self._cache, self._lost = None, error

    def _mend(self, row: int) -> Crop | None:
        """A crop that is damaged on disk, made again; None where its face is gone or bad."""
        if self._newest is None:
            return None
        (found,) = np.nonzero(self._newest.rows == row)
        face = self.source.find(self._newest.names[found[0]]) if len(found) else None
        if face is None:
            return None
        made = self.source.make(face)
        return None if isinstance(made, Skipped) else made.pixels


@dataclass(eq=False)
class _Progress:
    """How far a bank is made: for each face its crop, −1 until it has one."""

    prints: list[int]
    skipped: list[Skipped] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = np.array(self.prints, np.int64)
        self.rows = np.full(len(self.prints), -1, np.int64)
        self.yaws = np.zeros(len(self.prints))

    @property
    def usable(self) -> NDArray[np.bool_]:
        return self.rows >= 0

    @property
    def missing(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self.usable)

    def take_over(self, before: Made) -> None:
        order = np.argsort(before.known)
        places = np.searchsorted(before.known, self.known, sorter=order).clip(max=len(order) - 1)
        found = before.known[order[places]] == self.known
        self.rows[found], self.yaws[found] = before.rows[order[places[found]]], before.yaws[order[places[found]]]

    def made(self, faces: Sequence[StoredFace]) -> Made:
        usable = self.usable
        kept = [face for face, good in zip(faces, usable.tolist(), strict=True) if good]
        return Made(
            tuple(key_of(face) for face in kept),
            tuple(getattr(face, "who", None) for face in kept),
            self.rows[usable],
            self.yaws[usable],
            self.known[usable],
            tuple(self.skipped),
        )


def _known_by(face: StoredFace, place: int) -> int:
    """What a face is known by; one that lies in no file is known by its place."""
    return fingerprint(face) if isinstance(face, FaceEntry) else place
