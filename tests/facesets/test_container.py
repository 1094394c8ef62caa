"""Face data inside JPEG files: found wherever it can be, written so that the strictest reader finds it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from understudy.errors import FacesetError, UnreadableFace
from understudy.facesets import FaceMeta, decode_jpeg, encode_jpeg
from understudy.facesets.container import MAX_PAYLOAD, parse_header, replace_payload
from understudy.facesets.faces import meta_of
from understudy.facesets.metadata import to_payload

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (40, 56, 3), np.uint8)


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def after_soi(jpeg: bytes, *pieces: bytes) -> bytes:
    return jpeg[:2] + b"".join(pieces) + jpeg[2:]


def pillow_jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, "JPEG", **options)  # type: ignore[arg-type]
    return out.getvalue()


class StrictReader:
    """Walks a JPEG as the oldest reader of face files does, by the published rules of that format.

    It knows no restart intervals and no other APP0 than JFIF, ends the scan at the first FF D9, and wants nothing after
    the end; of several APP15 it takes the last. Raises ValueError where that reader gives up.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.markers: list[int] = []
        self.payload: bytes | None = None
        self.shape: tuple[int, int] | None = None
        while self.at < len(data):
            self.step()

    def step(self) -> None:
        if self.data[self.at] != 0xFF:
            raise ValueError("corrupted")
        marker = self.data[self.at + 1]
        self.at += 2
        self.markers.append(marker)
        if marker == 0xD8 and len(self.markers) > 1:
            raise ValueError("second beginning")
        if marker == 0xDD:
            raise ValueError("restart interval")
        if marker not in (*range(0xD0, 0xDA),):
            self.segment(marker)

    def segment(self, marker: int) -> None:
        (length,) = struct.unpack(">H", self.data[self.at : self.at + 2])
        payload = self.data[self.at + 2 : self.at + length]
        self.at += length
        if marker == 0xE0 and (payload[:5] != b"JFIF\x00" or len(payload) < 14):
            raise ValueError("unknown APP0")
        if marker in (0xC0, 0xC2):
            self.shape = struct.unpack(">HH", payload[1:5])
        if marker == 0xEF:
            self.payload = payload
        if marker == 0xDA:
            end = self.data.find(b"\xff\xd9", self.at)
            self.at = len(self.data) if end < 0 else end


SOURCES = {
    "ours": encode_jpeg(PICTURE, 90),
    "progressive": pillow_jpeg(progressive=True),
    "no subsampling": pillow_jpeg(subsampling=0),
    "with comment": pillow_jpeg(comment=b"hello"),
    "with EXIF": pillow_jpeg(exif=Image.Exif().tobytes() or b"Exif\x00\x00"),
    "restart markers": pillow_jpeg(restart_marker_blocks=1),
    "trailing bytes": encode_jpeg(PICTURE, 90) + b"\x00\x01\x02",
    "two pictures": encode_jpeg(PICTURE, 90) * 2,
    "missing end": encode_jpeg(PICTURE, 90)[:-2],
    "other APP0": after_soi(encode_jpeg(PICTURE, 90), segment(0xE0, b"JFXX\x00\x10")),
    "empty APP5": after_soi(encode_jpeg(PICTURE, 90), segment(0xE5, b"")),
    "no APP at all": b"\xff\xd8" + encode_jpeg(PICTURE, 90)[20:],
    "foreign APP15": after_soi(encode_jpeg(PICTURE, 90), segment(0xEF, b"something else"), segment(0xEF, b"again")),
    "fill bytes": after_soi(encode_jpeg(PICTURE, 90), b"\xff\xff\xff"),
    "grey": encode_jpeg(np.repeat(PICTURE[..., :1], 3, axis=2), 90),
}


@pytest.mark.parametrize("name", SOURCES)
def test_whatever_comes_in_a_strict_reader_opens_what_goes_out(name: str, meta: FaceMeta) -> None:
    source, payload = SOURCES[name], to_payload(meta)
    written = replace_payload(source, payload)
    strict = StrictReader(written)
    assert strict.payload == payload
    assert strict.shape == PICTURE.shape[:2]
    assert strict.markers.count(0xEF) == 1
    assert strict.markers[-1] == 0xD9
    assert parse_header(written).payloads == [payload]
    picture = decode_jpeg(written)
    if name != "missing end":  # OpenCV refuses to decode the source, but not what is written, which has an end
        apart = np.abs(picture.astype(int) - decode_jpeg(source))
        assert apart.max() <= (4 if name == "restart markers" else 0)


def test_data_goes_after_the_last_app_segment(meta: FaceMeta) -> None:
    source = after_soi(encode_jpeg(PICTURE, 90), segment(0xE1, b"Exif\x00\x00"))
    markers = [item.marker for item in parse_header(replace_payload(source, to_payload(meta))).segments]
    assert markers[:4] == [0xE1, 0xE0, 0xEF, 0xDB]
    plain = replace_payload(encode_jpeg(PICTURE, 90), b"x")
    assert plain[20:22] == b"\xff\xef"


def test_writing_twice_is_writing_once(meta: FaceMeta) -> None:
    once = replace_payload(SOURCES["ours"], to_payload(meta))
    assert replace_payload(once, to_payload(meta)) == once


def test_too_much_data_is_refused_with_its_size() -> None:
    replace_payload(SOURCES["ours"], b"x" * MAX_PAYLOAD)
    with pytest.raises(FacesetError, match="65534 bytes"):
        replace_payload(SOURCES["ours"], b"x" * (MAX_PAYLOAD + 1))


def test_of_several_data_segments_the_last_readable_counts(meta: FaceMeta) -> None:
    ours = segment(0xEF, to_payload(meta))
    older = segment(0xEF, to_payload(meta.but(source_filename="older.png")))
    foreign = segment(0xEF, b"\x00Photo")
    jpeg = after_soi(encode_jpeg(PICTURE, 90), older, ours, foreign)
    assert meta_of(parse_header(jpeg)).source_filename == meta.source_filename


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_jpeg_is_no_face(data: bytes) -> None:
    with pytest.raises(UnreadableFace):
        decode_jpeg(data)
    with pytest.raises(UnreadableFace):
        replace_payload(data, b"x")


def test_a_header_that_claims_a_huge_picture_is_not_believed() -> None:
    jpeg = bytearray(SOURCES["ours"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65535, 65535)
    with pytest.raises(UnreadableFace, match="65535 x 65535"):
        decode_jpeg(bytes(jpeg))
    jpeg[at : at + 4] = struct.pack(">HH", 5000, 5000)
    with pytest.raises(UnreadableFace, match="5000 x 5000"):
        decode_jpeg(bytes(jpeg))


@pytest.mark.parametrize("progressive", [False, True])
def test_an_empty_picture_is_a_picture(progressive: bool) -> None:
    out = io.BytesIO()
    Image.new("L", (4000, 3000)).save(out, "JPEG", progressive=progressive, optimize=True, quality=1)
    assert decode_jpeg(out.getvalue()).shape == (3000, 4000, 3)


def test_exif_turns_are_not_applied() -> None:
    """Landmarks are in the pixels as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_jpeg(pillow_jpeg(exif=exif)).shape == PICTURE.shape


def test_colours_come_back_in_order() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    mean = decode_jpeg(encode_jpeg(red, 95)).mean(axis=(0, 1))
    assert mean[0] > 190
    assert mean[1:].max() < 10
