"""Aligned faces as JPEG files: finding and replacing the APP15 segment that carries their data.

    FF EF  LL LL  <payload>          LLLL: big-endian uint16, 2 + bytes of payload; so at most 65533 bytes fit

The reader minds nothing that it need not: restart intervals, any APP0, missing end, bytes after the end, foreign APP15
segments. The writer makes only what the strictest reader of this format opens: JFIF or no APP0, one APP15 after the
last APPn, no empty segments, no restart intervals, nothing after the end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import FacesetError, UnreadableFace

MAX_PAYLOAD = 65533
MAX_PIXELS = 8192 * 4320
"""Larger pictures are refused before decoding: a header can claim any size. Whole frames may be faces (mark_only)."""

_MAX_PIXELS_PER_BYTE = 512
"""JPEG spends at least two bits on a block of 64 pixels, so no picture has more than 256 pixels per byte."""

_SOI, _EOI, _SOS, _DRI, _APP0, _APP15, _DHT, _JPG, _DAC = 0xD8, 0xD9, 0xDA, 0xDD, 0xE0, 0xEF, 0xC4, 0xC8, 0xCC
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
_HINT = "Extract this face again, or move the file out of the faceset."


class Segment(NamedTuple):
    """One piece of a JPEG header: the marker byte and the bytes after its length field."""

    marker: int
    payload: bytes


@dataclass(frozen=True)
class JpegHeader:
    """A JPEG up to its first scan. scan_at: offset of the FF of the SOS marker; None where the file ends before."""

    segments: list[Segment] = field(default_factory=list)
    scan_at: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in pixels as the frame header claims; None without one."""
        for segment in self.segments:
            if segment.marker in _FRAME_HEADERS and len(segment.payload) >= 5:
                height, width = struct.unpack(">HH", segment.payload[1:5])
                return int(height), int(width)
        return None

    @property
    def payloads(self) -> list[bytes]:
        """What the APP15 segments hold, in file order."""
        return [segment.payload for segment in self.segments if segment.marker == _APP15]

    @property
    def restarts(self) -> bool:
        """Whether the scan has restart markers, which old readers of face files trip over."""
        return any(s.marker == _DRI and s.payload[:2] not in (b"", b"\x00\x00") for s in self.segments)


def parse_header(data: bytes) -> JpegHeader:
    """Walk the segments of a JPEG, or of its beginning, up to the first scan.

    Raises UnreadableFace when the bytes are no JPEG, and with `cut_off` in its context when more of them are needed.
    """
    if data[:2] != b"\xff\xd8":
        raise UnreadableFace("This is no JPEG file.", hint=_HINT)
    segments: list[Segment] = []
    at = 2
    while True:
        at = _skip_fill(data, at)
        if at + 1 >= len(data) or data[at + 1] == _EOI:
            return JpegHeader(segments)
        marker = data[at + 1]
        if marker == _SOS:
            return JpegHeader(segments, scan_at=at)
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        payload = _payload(data, at)
        segments.append(Segment(marker, payload))
        at += 4 + len(payload)


def _skip_fill(data: bytes, at: int) -> int:
    """The offset of the FF directly before a marker byte, past fill bytes."""
    if at < len(data) and data[at] != 0xFF:
        raise UnreadableFace("This JPEG is damaged: a segment does not end where it says.", hint=_HINT)
    while at + 1 < len(data) and data[at + 1] == 0xFF:
        at += 1
    return at


def _payload(data: bytes, at: int) -> bytes:
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    end = at + 2 + length
    if at + 4 > len(data) or end > len(data) or length < 2:
        raise UnreadableFace("This JPEG is cut off before its picture begins.", hint=_HINT, cut_off=True)
    return data[at + 4 : end]


def replace_payload(jpeg: bytes, payload: bytes) -> bytes:
    """The same picture with `payload` in its only APP15 segment, after the last APPn.

    The picture's own bytes are copied. Only where they hold restart markers, which old readers cannot skip, the picture
    is encoded again at quality 100. Raises FacesetError when the payload is too large and UnreadableFace for no JPEG.
    """
    if len(payload) > MAX_PAYLOAD:
        raise FacesetError(
            f"The data of this face takes {len(payload)} bytes; a face file has room for {MAX_PAYLOAD}.",
            hint="Simplify its polygons or remove its stored mask.",
        )
    header = parse_header(jpeg)
    if header.restarts:
        jpeg = encode_jpeg(decode_jpeg(jpeg), 100, full_colour=True)
        header = parse_header(jpeg)
    if header.scan_at is None:
        raise UnreadableFace("This JPEG has no picture in it.", hint=_HINT)
    kept = [segment for segment in header.segments if _worth_keeping(segment)]
    places = [i + 1 for i, segment in enumerate(kept) if _APP0 <= segment.marker <= _APP15]
    kept.insert(places[-1] if places else 0, Segment(_APP15, payload))
    pieces = [b"\xff\xd8"]
    for segment in kept:
        pieces += [struct.pack(">BBH", 0xFF, segment.marker, 2 + len(segment.payload)), segment.payload]
    return b"".join([*pieces, jpeg[header.scan_at : _end_of_picture(jpeg, header.scan_at)], b"\xff\xd9"])


def _worth_keeping(segment: Segment) -> bool:
    if segment.marker == _APP0:
        return segment.payload.startswith(b"JFIF\x00") and len(segment.payload) >= 14
    return segment.marker not in (_APP15, _DRI) and len(segment.payload) > 0


def _end_of_picture(jpeg: bytes, scan_at: int) -> int:
    """The offset of the end marker, or the end of the file where it is missing. Progressive files have many scans."""
    if jpeg.find(b"\xff\xd9", scan_at) == len(jpeg) - 2:  # the usual file: nothing else looks like its end
        return len(jpeg) - 2
    at = scan_at
    while True:
        at = jpeg.find(b"\xff", at)
        if at < 0 or at + 1 >= len(jpeg):
            return len(jpeg)
        marker = jpeg[at + 1]
        if marker == _EOI:
            return at
        if marker == 0xFF:
            at += 1
        elif marker == 0 or marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(jpeg[at + 2 : at + 4], "big"))


def encode_jpeg(rgb8: npt.NDArray[np.uint8], quality: int, *, full_colour: bool = False) -> bytes:
    """A baseline JPEG of an (H, W, 3) uint8 RGB picture, quality 1 to 100.

    full_colour: colour at the resolution of brightness (4:4:4); faces are made with half of it (4:2:0), as everywhere.
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb8, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise FacesetError(f"A picture of shape {rgb8.shape} could not be encoded as JPEG.")
    return data.tobytes()


def decode_jpeg(data: bytes) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 RGB of a JPEG; grey pictures become RGB, EXIF turns are not applied.

    Raises UnreadableFace for what cannot be decoded and for pictures of more than MAX_PIXELS.
    """
    size = parse_header(data).size
    if size is None:
        raise UnreadableFace("This JPEG has no picture in it.", hint=_HINT)
    if not 0 < size[0] * size[1] <= min(MAX_PIXELS, _MAX_PIXELS_PER_BYTE * len(data)):
        raise UnreadableFace(f"This JPEG claims {size[1]} x {size[0]} pixels, which it cannot have.", hint=_HINT)
    picture = _imdecode(data)
    if picture is None:
        raise UnreadableFace("The picture of this JPEG cannot be decoded.", hint=_HINT)
    return picture


def _imdecode(data: bytes) -> npt.NDArray[np.uint8] | None:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)
