"""Faces of DeepFaceLab 1.x: PNG files whose chunk `fcWp` holds the pickled data. They are only read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from understudy.errors import UnreadableFace
from understudy.facesets.container import MAX_PIXELS
from understudy.facesets.faces import Face
from understudy.facesets.metadata import from_payload

CHUNK = b"fcWp"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_FILE_BYTES = 256 * 1024 * 1024
_MAX_PIXELS_PER_BYTE = 4096
"""Deflate packs at most about 1030 to 1; a pixel has at least a byte here, or an eighth of one in pictures of two
colours, which no face is."""


def read_png_face(path: Path) -> Face:
    """Picture and data of an old face file. Raises UnreadableFace, and UnsafeFile for data that is more than data."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UnreadableFace(f"This file is larger than any face, over {_MAX_FILE_BYTES >> 20} MiB.")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFace(f"The file cannot be read: {error.strerror or error}.") from None
    return parse_png_face(data)


def parse_png_face(data: bytes) -> Face:
    """A face from the bytes of its PNG file; raises as `read_png_face`."""
    chunks = dict(_chunks(data))
    header, payload = chunks.get(b"IHDR", b""), chunks.get(CHUNK)
    if payload is None:
        raise UnreadableFace("This PNG has no face data.")
    if len(header) != 13:
        raise UnreadableFace("This PNG is damaged.")
    width, height = struct.unpack(">II", header[:8])
    if not 0 < width * height <= min(MAX_PIXELS, _MAX_PIXELS_PER_BYTE * len(data)):
        raise UnreadableFace(f"This PNG claims {width} x {height} pixels, which it cannot have.")
    meta = from_payload(payload)
    picture = _decoded(data)
    if picture is None:
        raise UnreadableFace("The picture of this PNG cannot be decoded.")
    return Face(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8), meta)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the chunks; of pixels only the name, since they are decoded elsewhere."""
    if not data.startswith(_SIGNATURE):
        raise UnreadableFace("This is no PNG file.")
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise UnreadableFace("This PNG is cut off.")
        yield name, b"" if name == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length
        if name == b"IEND":
            return


def _decoded(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)
