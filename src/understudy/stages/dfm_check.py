"""A file for live use, tried against the network that it was made from, before anybody gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from understudy.errors import EmptyFaceset, IncompatibleModel
from understudy.facesets import Catalog, FaceEntry
from understudy.imaging.types import as_float
from understudy.records import FaceType
from understudy.report import Note, Report, Stop, never, silent, track
from understudy.training.faces.bank import FaceBank
from understudy.workspace import Workspace

Floats = NDArray[np.float32]
Draw = Callable[[Floats, float | None], Sequence[Floats]]
"""Faces (B,S,S,3) RGB 0..1, and a morph value → pictures and masks, each (B,S,S,…)."""

MORPHS = (0.0, 0.33, 0.75, 1.0)
"""What a network with a morph value is tried at: both ends, live tools' default, and one that cuts within a channel."""

PARTS = ("the face", "its mask", "the mask of dst")


@dataclass(frozen=True)
class Agreement:
    """How far two networks are apart, as pictures of 0..1. psnr_db: of faces and masks together."""

    largest: float
    psnr_db: float
    where: str
    faces: int

    def as_json(self) -> dict[str, Any]:
        return {"largest": self.largest, "psnr_db": round(self.psnr_db, 2), "faces": self.faces}


@dataclass(frozen=True)
class Tolerance:
    """What is let pass. largest: the largest difference of any number; psnr_db: the least likeness."""

    largest: float
    psnr_db: float

    def require(self, found: Agreement, path: Path) -> None:
        """Raise IncompatibleModel when a file is further from its network than this."""
        if found.largest <= self.largest and found.psnr_db >= self.psnr_db:
            return
        raise IncompatibleModel(
            f"The written file does not draw what the model draws: {found.where} differs by {found.largest:.2g} "
            f"(at most {self.largest:.2g}), likeness {found.psnr_db:.1f} dB (at least {self.psnr_db:.0f} dB). "
            "It is not delivered.",
            hint="In fewer bits it may be that this model cannot be written; without --quantize and --int8 it is the "
            "runtime here that is at fault, or a model of no sense (untrained, broken), which makes much of rounding.",
            largest=found.largest,
            path=path,
        )


def faces_to_try(
    workspace: Workspace,
    size: int,
    face_type: FaceType,
    count: int,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> Floats:
    """Aligned dst faces, evenly chosen, as the model sees them: (B,S,S,3) RGB 0..1; pictures of ours if there are none.

    Raises Interrupted.
    """
    try:
        with Catalog.open(workspace.dst.aligned, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            chosen = _evenly(catalog.require_faces(), count)
            bank = FaceBank.load(chosen, size=size, face_type=face_type, report=report, stop=stop)
            return as_float(bank.pixels[..., :3])
    except EmptyFaceset:
        report(Note("There are no dst faces here: the file is tried on a picture that comes with the program."))
        return built_in_faces(size, count)


def built_in_faces(size: int, count: int) -> Floats:
    """A face of the public domain in different places, light and tints: (B,S,S,3) RGB 0..1."""
    from skimage import data

    picture, chance = data.astronaut(), np.random.default_rng(0)
    faces: list[NDArray[Any]] = []
    for _ in range(count):
        matrix = cv2.getRotationMatrix2D((224, 112), chance.uniform(-20, 20), size / chance.uniform(120, 200))
        centred = np.array([[0, 0, size / 2 - 224], [0, 0, size / 2 - 112]])
        face = cv2.warpAffine(
            picture, matrix + centred, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
        )
        faces.append(np.clip(face / 255 * chance.uniform(0.5, 1.2) + chance.uniform(-0.1, 0.1, 3), 0, 1))
    return np.asarray(faces, np.float32)


def compare(
    ours: Draw,
    theirs: Draw,
    faces: Floats,
    morphs: Sequence[float | None],
    *,
    report: Report = silent,
    stop: Stop = never,
) -> Agreement:
    """How far two ways to draw are apart over all faces and morph values, one face at a time."""
    largest, where, squares, numbers, done = 0.0, PARTS[0], 0.0, 0, 0
    pairs = [(face, morph) for face in faces for morph in morphs]
    for face, morph in track(pairs, "Checking", report, stop, unit="faces"):
        for part, one, other in zip(PARTS, ours(face[None], morph), theirs(face[None], morph), strict=False):
            apart = np.abs(one - other)
            squares, numbers = squares + float(np.square(apart, dtype=np.float64).sum()), numbers + apart.size
            if not float(apart.max()) <= largest:
                largest, where = float(apart.max()), part
        done += 1
    psnr = -10 * np.log10(max(squares / max(1, numbers), 1e-20))
    return Agreement(largest, float(psnr), where, done)


def drawing(net: Any) -> Draw:
    """Our network as such a function: face, its mask and dst's of a swapper; the mask, not cut off, of XSeg."""

    def draw(faces: Floats, morph: float | None) -> Sequence[Floats]:
        given = torch.from_numpy(faces).permute(0, 3, 1, 2)
        with torch.inference_mode():
            drawn = net.swap(given, morph) if hasattr(net, "swap") else (torch.sigmoid(net(given)),)
        pictures = [part.float().permute(0, 2, 3, 1).numpy() for part in drawn]
        return [picture if picture.shape[3] == 3 else picture[..., 0] for picture in pictures]

    return draw


def _evenly(faces: Sequence[FaceEntry], count: int) -> list[FaceEntry]:
    places = np.linspace(0, len(faces) - 1, min(count, len(faces)))
    return [faces[int(place)] for place in places]
