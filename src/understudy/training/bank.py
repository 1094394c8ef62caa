"""The faces of one side as uint8 crops of the model's size and face type, each made once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.devices import available_memory, physical_cores
from understudy.errors import EmptyFaceset, Interrupted, UnderstudyError
from understudy.facesets import Face
from understudy.geometry import conversion
from understudy.geometry.pose import pose
from understudy.masks import eyes_mouth_mask, face_mask
from understudy.records import FaceType, Skipped
from understudy.report import Pace, Report, Stop, never, silent

MEMORY_SHARE = 0.25
"""How much of the free memory one side's crops may fill before they are mapped from disk."""

LEAST_HEIGHT = 32
"""Pixels below which a picture has no masks of eyes and mouth."""


class StoredFace(Protocol):
    """What a bank needs of a faceset's entry."""

    @property
    def name(self) -> str: ...

    def read(self) -> Face: ...


@dataclass(frozen=True, eq=False)
class FaceBank:
    """Every face of one side, ready to be augmented.

    pixels: (N,S,S,4) uint8, RGB and the face mask (255: face), or (N,S,S,5) with the mask of eyes and mouth behind it;
    a plain array, or mapped from disk beyond the budget.
    names: file names, in the order of `pixels`. yaws: (N,) which way each face looks, in radians, positive to the right
    of the picture; None where that is not known. skipped: faces that could not be used.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...] = ()
    yaws: NDArray[np.float64] | None = None
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def load(
        cls,
        faces: Sequence[StoredFace],
        *,
        size: int,
        face_type: FaceType,
        eyes_mouth: bool = False,
        budget: int | None = None,
        spill: Path | None = None,
        workers: int = 0,
        report: Report = silent,
        stop: Stop = never,
    ) -> FaceBank:
        """Decode and convert every face, in parallel. The order of `faces` is kept.

        eyes_mouth: with the masks of eyes and mouth. budget: bytes to hold in memory (None: a quarter of what is
        free); beyond it the crops go to a file in `spill` (None: the system's temporary folder) that vanishes with the
        process. workers: 0 uses every core.
        Raises EmptyFaceset when no face is usable and Interrupted when `stop` turns true.
        """
        pixels = _room((len(faces), size, size, 5 if eyes_mouth else 4), budget, spill)
        names: list[str] = []
        yaws: list[float] = []
        skipped: list[Skipped] = []
        pace = Pace("Loading faces", len(faces), report, unit="faces")
        with ThreadPoolExecutor(workers or physical_cores()) as pool:
            for face, crop in zip(faces, _convert_ahead(pool, faces, size, face_type, eyes_mouth), strict=False):
                if stop():
                    pool.shutdown(cancel_futures=True)
                    raise Interrupted("Stopped while loading faces.", hint="The same command starts again.")
                if isinstance(crop, Skipped):
                    skipped.append(crop)
                else:
                    pixels[len(names)] = crop.pixels
                    names.append(face.name)
                    yaws.append(crop.yaw)
                pace.advance()
        if not names:
            raise EmptyFaceset(
                f"None of {len(faces)} faces can be used for training.",
                hint="Extract faces first: understudy faceset extract src, and the same for dst.",
                skipped=skipped[:10],
            )
        return cls(pixels[: len(names)], tuple(names), np.array(yaws), tuple(skipped))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        return int(self.pixels.shape[1])

    def fetch(self, indexes: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """Pictures (B,3,S,S) and masks (B,1,S,S), or with eyes and mouth (B,2,S,S), float32 0..1, on `device`."""
        crops = torch.from_numpy(self.pixels[indexes]).to(device).permute(0, 3, 1, 2).float() / 255
        return crops[:, :3], crops[:, 3:]


Number = TypeVar("Number", np.uint8, np.float32)


def convert_picture(
    picture: NDArray[Number], face: Face, size: int, face_type: FaceType, *, mask: bool = False
) -> NDArray[Number]:
    """A picture (H,W,C) or mask (H,W) of `face`, as the square of another size and face type; same number type.

    Pictures bicubic with the edge repeated, masks bilinear with black beyond it. A picture of the wanted type and width
    is given back as it is.
    """
    how = cv2.INTER_LINEAR if mask else cv2.INTER_CUBIC
    if face.meta.face_type != face_type:
        matrix = conversion(face.meta.landmarks, size, face_type)
        border = cv2.BORDER_CONSTANT if mask else cv2.BORDER_REPLICATE
        return cast(NDArray[Number], cv2.warpAffine(picture, matrix, (size, size), flags=how, borderMode=border))
    if picture.shape[1] == size and picture.shape[0] == size:
        return picture
    return cast(NDArray[Number], cv2.resize(picture, (size, size), interpolation=how))


class _Crop(NamedTuple):
    """pixels: (S,S,4) uint8, with eyes and mouth (S,S,5). yaw: as in `FaceBank.yaws`."""

    pixels: NDArray[np.uint8]
    yaw: float


def _convert(face: StoredFace, size: int, face_type: FaceType, eyes_mouth: bool) -> _Crop | Skipped:
    """A face as a crop, or why not."""
    try:
        whole = face.read()
        if not whole.meta.has_landmarks:
            return Skipped(face.name, "it has no landmarks")
        full = face_mask(whole)
        masks = [full, _eyes_and_mouth(whole, full)] if eyes_mouth else [full]
        crop = np.empty((size, size, 3 + len(masks)), np.uint8)
        crop[..., :3] = convert_picture(whole.rgb8, whole, size, face_type)
        for channel, mask in enumerate(masks, start=3):
            converted = convert_picture(mask, whole, size, face_type, mask=True)
            crop[..., channel] = np.rint(255 * converted.clip(0, 1))
        return _Crop(crop, -pose(whole.meta.landmarks, whole.width).yaw)
    except UnderstudyError as error:
        return Skipped(face.name, error.message)


def _eyes_and_mouth(face: Face, full: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the eyes and the inside of the mouth are; nowhere in a picture too small to tell."""
    return eyes_mouth_mask(face.meta.landmarks, full) if face.height >= LEAST_HEIGHT else np.zeros_like(full)


def _convert_ahead(
    pool: ThreadPoolExecutor,
    faces: Sequence[StoredFace],
    size: int,
    face_type: FaceType,
    eyes_mouth: bool,
    ahead: int = 64,
) -> Iterator[_Crop | Skipped]:
    """Converted faces in order, with a bounded number under way."""
    waiting = iter(faces)
    queue = [pool.submit(_convert, face, size, face_type, eyes_mouth) for face in islice(waiting, ahead)]
    while queue:
        yield queue.pop(0).result()
        queue.extend(pool.submit(_convert, face, size, face_type, eyes_mouth) for face in islice(waiting, 1))


def _room(shape: tuple[int, ...], budget: int | None, spill: Path | None) -> NDArray[np.uint8]:
    """An empty array in memory, or in a file without a name where that is too much; at least one entry."""
    shape = (max(1, shape[0]), *shape[1:])
    limit = MEMORY_SHARE * available_memory() if budget is None else budget
    if np.prod(shape, dtype=np.int64) <= limit:
        return np.empty(shape, np.uint8)
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=spill) as file:  # the map keeps it alive
        return np.memmap(file, np.uint8, "w+", shape=shape)
