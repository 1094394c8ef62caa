"""A face of a faceset as the crop that a network is trained on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.devices import physical_cores
from understudy.errors import UnderstudyError
from understudy.facesets import Face
from understudy.geometry import conversion
from understudy.geometry.pose import pose
from understudy.masks import eyes_mouth_mask, face_mask, label_mask
from understudy.records import FaceType, Skipped

LEAST_HEIGHT = 32
"""Pixels below which a picture has no masks of eyes and mouth."""

FARTHEST = 1 << 20
"""Pixels beyond which a landmark cannot lie."""

AHEAD = 64
"""Faces that are under way at a time."""


class StoredFace(Protocol):
    """What a bank needs of a faceset's entry."""

    @property
    def name(self) -> str: ...

    def read(self) -> Face: ...


class MadeCrop(NamedTuple):
    """pixels: (S,S,4) uint8, RGB and mask; with eyes and mouth (S,S,5); with the whole picture behind it 3 more. yaw:
    which way the face looks, in radians, positive to the right of the picture."""

    pixels: NDArray[np.uint8]
    yaw: float


Number = TypeVar("Number", np.uint8, np.float32)


def make_crop(
    face: StoredFace, size: int, face_type: FaceType, eyes_mouth: bool, *, whole: bool = False, labels: bool = False
) -> MadeCrop | Skipped:
    """A face as a crop of that size and face type, or why it cannot be one. whole: with all of its picture too, of
    whatever face type, shrunk to the size. labels: with its label as its mask, as XSeg learns from it."""
    try:
        stored = face.read()
        if not stored.meta.has_landmarks:
            return Skipped(key_of(face), "it has no landmarks")
        if not _spans_a_face(stored.meta.landmarks):
            return Skipped(key_of(face), "its landmarks do not span a face")
        if labels:
            return _labelled_crop(key_of(face), stored, size, face_type)
        full = face_mask(stored)
        masks = [full, _eyes_and_mouth(stored, full)] if eyes_mouth else [full]
        crop = np.empty((size, size, 3 + len(masks) + 3 * whole), np.uint8)
        crop[..., :3] = convert_picture(stored.rgb8, stored, size, face_type)
        for channel, mask in enumerate(masks, start=3):
            converted = convert_picture(mask, stored, size, face_type, mask=True)
            crop[..., channel] = np.rint(255 * converted.clip(0, 1))
        if whole:
            crop[..., -3:] = cv2.resize(stored.rgb8, (size, size), interpolation=cv2.INTER_LINEAR)
        return MadeCrop(crop, -pose(stored.meta.landmarks, stored.width).yaw)
    except UnderstudyError as error:
        return Skipped(key_of(face), str(error.context.get("reason", error.message)))  # the item names the file
    except (ValueError, np.linalg.LinAlgError, cv2.error) as error:
        return Skipped(key_of(face), f"its landmarks lead nowhere: {error}")


def key_of(face: StoredFace) -> str:
    """What a face is called in its faceset: its file's name, behind its person's where there are several."""
    return str(getattr(face, "key", face.name))


def make_crops(
    faces: Sequence[StoredFace],
    size: int,
    face_type: FaceType,
    eyes_mouth: bool,
    *,
    whole: bool = False,
    labels: bool = False,
    workers: int = 0,
) -> Generator[MadeCrop | Skipped, None, None]:
    """The crops of some faces in their order, made in parallel, a bounded number ahead. workers: 0 uses every core.

    Closing the iterator before its end drops what was not begun.
    """
    waiting = iter(faces)
    make = partial(make_crop, size=size, face_type=face_type, eyes_mouth=eyes_mouth, whole=whole, labels=labels)
    pool = ThreadPoolExecutor(workers or physical_cores(), thread_name_prefix="crops")
    try:
        queue = [pool.submit(make, face) for face in islice(waiting, AHEAD)]
        while queue:
            yield queue.pop(0).result()
            queue.extend(pool.submit(make, face) for face in islice(waiting, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _spans_a_face(landmarks: NDArray[np.float64]) -> bool:
    """Whether landmarks (68,2) are numbers, not all in one point or line, and not beyond all pictures."""
    return bool(np.abs(landmarks).max() < FARTHEST and np.ptp(landmarks, axis=0).min() >= 1)


def _labelled_crop(name: str, face: Face, size: int, face_type: FaceType) -> MadeCrop | Skipped:
    """A face and its label, both by Lanczos' filter and black beyond the edge, as the reference makes them."""
    label = label_mask(face)
    if label is None:
        return Skipped(name, "it has neither outlines nor an applied mask")
    crop = np.empty((size, size, 4), np.uint8)
    for channels, part in ((slice(3), face.rgb8 / np.float32(255)), (slice(3, 4), label[..., None])):
        converted = _by_lanczos(np.asarray(part, np.float32), face, size, face_type)
        crop[..., channels] = np.rint(255 * converted.clip(0, 1)).reshape(size, size, -1)
    return MadeCrop(crop, -pose(face.meta.landmarks, face.width).yaw)


def _by_lanczos(picture: NDArray[np.float32], face: Face, size: int, face_type: FaceType) -> NDArray[np.float32]:
    if face.meta.face_type != face_type:
        matrix = conversion(face.meta.landmarks, size, face_type)
        return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LANCZOS4), np.float32)
    if picture.shape[1] == size:
        return picture
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LANCZOS4), np.float32)


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


def _eyes_and_mouth(face: Face, full: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the eyes and the inside of the mouth are; nowhere in a picture too small to tell."""
    return eyes_mouth_mask(face.meta.landmarks, full) if face.height >= LEAST_HEIGHT else np.zeros_like(full)
