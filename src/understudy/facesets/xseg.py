"""The mask stored with a face: a PNG, or a JPEG where PNG would be too large, of a resolution of its own."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import FacesetError, UnreadableFace
from understudy.facesets.container import parse_header

Mask = npt.NDArray[np.float32]

MAX_BYTES = 50_000
"""What a stored mask may take, so that it fits into the face file beside the rest."""

_MAX_PIXELS = 2048 * 2048
"""Larger than any face; a few bytes may claim more, and decoding them would take seconds and gigabytes."""

_PNG = b"\x89PNG\r\n\x1a\n"


def encode_mask(mask: npt.NDArray[np.floating]) -> bytes:
    """The stored form of a mask (H, W) or (H, W, C) in 0..1; of several channels the first is kept.

    Values are cut to 8 bits, not rounded. A mask whose PNG is larger than MAX_BYTES becomes a grey JPEG of the best
    quality that fits. Raises FacesetError when no quality fits.
    """
    grey = mask if mask.ndim == 2 else mask[..., 0]
    levels = np.clip(np.asarray(grey, np.float32) * np.float32(255), 0, 255).astype(np.uint8)
    data = _encoded(".png", levels, [])
    if len(data) <= MAX_BYTES:
        return data
    best = _best_jpeg(levels)
    if best is None:
        raise FacesetError(
            f"A mask of {levels.shape[1]} x {levels.shape[0]} pixels is too detailed to be stored in a face file.",
            hint="Store the mask at a lower resolution, such as 256 x 256.",
        )
    return best


def decode_mask(data: bytes) -> Mask:
    """A stored mask as (H, W) float32 in 0..1, whichever way it was encoded; of several channels the first.

    Raises UnreadableFace.
    """
    height, width = _claimed_size(data)
    if not 0 < height * width <= _MAX_PIXELS:
        raise UnreadableFace(f"The stored mask claims {width} x {height} pixels.", hint="Apply the mask again.")
    try:
        levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        levels = None
    if levels is None:
        raise UnreadableFace("The stored mask cannot be decoded.", hint="Apply the mask again.")
    grey = np.asarray(levels if levels.ndim == 2 else levels[..., 0])
    white = 65535 if grey.dtype == np.uint16 else 255
    return np.asarray(grey / np.float32(white), np.float32)


def _best_jpeg(levels: npt.NDArray[np.uint8]) -> bytes | None:
    """The first of quality 100, 99, … 0 that fits; found by halving, as size grows with quality."""
    low, high = 0, 100
    best: bytes | None = None
    while low <= high:
        middle = (low + high + 1) // 2
        data = _encoded(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, middle])
        if len(data) <= MAX_BYTES:
            best, low = data, middle + 1
        else:
            high = middle - 1
    return best


def _encoded(suffix: str, levels: npt.NDArray[np.uint8], parameters: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, levels, parameters)
    if not done:
        raise FacesetError(f"A mask of shape {levels.shape} could not be encoded.")
    return data.tobytes()


def _claimed_size(data: bytes) -> tuple[int, int]:
    if data.startswith(_PNG) and len(data) >= 24:
        _require_whole_chunks(data)
        width, height = struct.unpack(">II", data[16:24])
        return int(height), int(width)
    size = parse_header(data).size if data.startswith(b"\xff\xd8\xff") else None
    if size is None:
        raise UnreadableFace("The stored mask is neither PNG nor JPEG.", hint="Apply the mask again.")
    return size


def _require_whole_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk that claims more bytes than are left: the decoder would make room for them first."""
    at, end = len(_PNG), len(data)
    while at < end:
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > end:
            raise UnreadableFace("The stored mask is cut off.", hint="Apply the mask again.")
        if data[at + 4 : at + 8] == b"IEND":
            return
        at += 12 + length
