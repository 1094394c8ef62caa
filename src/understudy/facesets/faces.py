"""Reading and writing one aligned face file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from understudy import files
from understudy.errors import UnderstudyError, UnreadableFace, UnsafeFile
from understudy.facesets import metadata
from understudy.facesets.container import JpegHeader, decode_jpeg, parse_header, replace_payload
from understudy.facesets.metadata import FaceMeta

FACE_SUFFIXES = (".jpg", ".jpeg")
"""Lower-case suffixes of files that may be faces. Faces are always written as .jpg."""

HEAD_BYTES = 16 * 1024
"""What is read of a file at first: nearly always enough for a face's data."""
_MAX_FILE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Face:
    """An aligned picture with its data. rgb8: (H, W, 3) uint8."""

    rgb8: npt.NDArray[np.uint8]
    meta: FaceMeta

    @property
    def height(self) -> int:
        return int(self.rgb8.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb8.shape[1])


def read_face(path: Path) -> Face:
    """The picture and the data of a face file. Raises UnreadableFace or UnsafeFile, naming the file."""
    with _naming(path):
        data = _read(path)
    return parse_face(data, path)


def read_meta(path: Path) -> FaceMeta:
    """The data of a face file; of the picture only the header is read. Raises UnreadableFace or UnsafeFile."""
    return read_header(path)[0]


def read_header(path: Path, head: bytes | OSError = b"") -> tuple[FaceMeta, tuple[int, int]]:
    """The data of a face file and its (height, width), from the first kilobytes of it.

    head: its first HEAD_BYTES, or what went wrong with them, when they have been read already.
    """
    try:
        if isinstance(head, OSError):
            raise _cannot_be_read(head)
        header = (_complete_header(head) if head else None) or parse_header_of(path)
        return meta_of(header), _size_of(header)
    except UnderstudyError as error:
        raise _named(error, path) from None


def parse_face(data: bytes, path: Path) -> Face:
    """A face from the bytes of its file; `path` only names it in errors."""
    with _naming(path):
        return Face(decode_jpeg(data), meta_of(parse_header(data)))


def write_face(path: Path, jpeg: bytes, meta: FaceMeta) -> None:
    """Write a face file atomically: the picture of `jpeg` with `meta` as its only data.

    Raises FacesetError when the data does not fit, before anything is touched; DiskFull and ReadOnlyWorkspace.
    """
    files.write_bytes(path, replace_payload(jpeg, metadata.to_payload(meta)), durable=False)


def write_meta(path: Path, meta: FaceMeta) -> None:
    """Give a face file other data; the bytes of its picture stay. Raises as `write_face` and `read_face` do.

    It may be the only copy of the face, so the new file is safe on the disk before it takes the old one's place.
    """
    with _naming(path):
        data = _read(path)
    files.write_bytes(path, replace_payload(data, metadata.to_payload(meta)))


def meta_of(header: JpegHeader) -> FaceMeta:
    """The data in a JPEG's APP15: of several segments the last that is ours. Raises UnreadableFace or UnsafeFile."""
    refused: UnderstudyError | None = None
    for payload in reversed(header.payloads):
        try:
            return metadata.from_payload(payload)
        except (UnreadableFace, UnsafeFile) as error:
            refused = refused or error
    if refused is not None:
        raise refused
    raise UnreadableFace(
        "This picture has no face data.", hint="Plain pictures need extracting first: understudy faceset extract src"
    )


def parse_header_of(path: Path) -> JpegHeader:
    """The JPEG header of a file, reading no more of it than needed."""
    try:
        with path.open("rb", buffering=0) as handle:
            return header_from(handle, _MAX_FILE_BYTES)
    except OSError as error:
        raise _cannot_be_read(error) from None


def header_from(handle: RawIOBase | BinaryIO, size: int) -> JpegHeader:
    """The JPEG header that begins where `handle` stands, reading no more of its `size` bytes than needed."""
    data = handle.read(min(HEAD_BYTES, size)) or b""
    while True:
        header = _complete_header(data)
        if header is not None:
            return header
        more = handle.read(min(len(data), size - len(data)))
        if not more:
            return parse_header(data)
        data += more


def _complete_header(data: bytes) -> JpegHeader | None:
    """The header at the beginning of a file; None when these bytes end before it does. Raises UnreadableFace."""
    try:
        header = parse_header(data)
    except UnreadableFace as error:
        if error.context.get("cut_off"):
            return None
        raise
    return header if header.scan_at is not None else None


def _size_of(header: JpegHeader) -> tuple[int, int]:
    if header.size is None:
        raise UnreadableFace("This JPEG has no picture in it.", hint="Extract this face again.")
    return header.size


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UnreadableFace(f"This file is larger than any face, over {_MAX_FILE_BYTES >> 20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFace(f"The file cannot be read: {error.strerror or error}.") from None


def _cannot_be_read(error: OSError) -> UnreadableFace:
    return UnreadableFace(f"The file cannot be read: {error.strerror or error}.")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file's name to an error that leaves the block."""
    try:
        yield
    except UnderstudyError as error:
        raise _named(error, path) from None


def _named(error: UnderstudyError, path: Path) -> UnderstudyError:
    """The error with the file's name; `reason` in its context is the message without it."""
    error.context.update(path=path, reason=error.message)
    error.message = f"{error.message} ({path.name})"
    error.args = (error.message,)
    return error
