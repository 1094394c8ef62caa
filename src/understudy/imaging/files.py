"""Still pictures in and out of files. What a file is is judged by its content, never by its name."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from understudy.errors import EncodingFailed, UnreadableMedia, UnsupportedMedia
from understudy.imaging.turning import UPRIGHT, Turn, from_exif

Array = np.ndarray[Any, Any]

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dpx", ".webp", ".bmp")
"""Names that a folder of frames is searched for, lower case."""

_quiet = threading.Lock()  # the filter of warnings is one for all threads


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    rgb: (H, W, 3) uint8, uint16 (white at 65535) or float32 in linear light (EXR; may exceed 1). matte: (H, W)
    float32 in 0..1, None where opaque; colours are not premultiplied. problem: what is wrong with a file that could
    be read in part. kind, bit_depth: what the file holds. turn: the EXIF turn that was applied.
    """

    rgb: Array
    matte: Array | None = None
    problem: str | None = None
    kind: str = ""
    bit_depth: int = 8
    turn: Turn = UPRIGHT


def read_image(path: Path) -> Picture:
    """Read a JPEG, PNG, TIFF, WebP, BMP, OpenEXR or DPX file, turned upright by its EXIF tag.

    Grey and palette pictures become RGB, CMYK is converted. A truncated JPEG gives the rows that are there, and
    `problem` says so.
    Raises UnreadableMedia for anything that is no picture, UnsupportedMedia for one that is refused on purpose.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableMedia(
            f"The picture cannot be opened: {error.strerror}.", hint="Check the name and the permissions.", path=path
        ) from error
    return decode_image(data, path)


def decode_image(data: bytes, path: Path | None = None) -> Picture:
    """`read_image` for bytes; `path` is only named in errors."""
    if not data:
        raise UnreadableMedia("The file is empty.", hint="Copy or render it again.", path=path)
    kind = kind_of(data)
    if kind is None:
        raise UnreadableMedia(
            "This is no picture that can be read: its first bytes match no known format.",
            hint="Use PNG, JPEG, TIFF, WebP, BMP, OpenEXR or DPX.",
            path=path,
        )
    reader = {"exr": _read_exr, "dpx": _read_dpx}.get(kind, _read_with_opencv)
    try:
        return reader(data, kind, path)
    except (ValueError, OSError, SyntaxError, struct.error, zlib.error, cv2.error, MemoryError) as error:
        raise _unreadable(kind, path, (str(error).strip().splitlines() or ["damaged"])[-1]) from error


def kind_of(data: bytes) -> str | None:
    """What the first bytes say: jpeg, png, tiff, webp, bmp, exr, dpx, or None."""
    for kind, start in (
        ("jpeg", b"\xff\xd8\xff"), ("png", b"\x89PNG\r\n\x1a\n"), ("tiff", b"II*\0"), ("tiff", b"MM\0*"),
        ("bmp", b"BM"), ("exr", b"\x76\x2f\x31\x01"), ("dpx", b"SDPX"), ("dpx", b"XPDS"),
    ):  # fmt: skip
        if data.startswith(start):
            return kind
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _read_with_opencv(data: bytes, kind: str, path: Path | None) -> Picture:
    turn = from_exif(_orientation(data, kind))
    problem = _truncation(data, kind)
    if problem and kind != "jpeg":
        raise ValueError(problem)
    if problem:
        data += b"\xff\xd9"  # an end marker lets the decoder hand over the rows that are there
    if _needs_pillow(data, kind):
        rgb, matte = _read_with_pillow(data)
    else:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError("the data cannot be decoded")
        rgb, matte = _split(decoded)
    if kind != "tiff" or rgb.dtype != np.uint8:  # Pillow turns TIFF files by itself
        rgb = np.ascontiguousarray(turn.apply(rgb))
        matte = None if matte is None else np.ascontiguousarray(turn.apply(matte))
    return Picture(rgb, matte, problem, kind, 16 if rgb.dtype == np.uint16 else 8, turn)


def _split(decoded: Array) -> tuple[Array, Array | None]:
    """RGB and matte of what OpenCV decoded: grey, BGR or BGRA, of any depth."""
    if decoded.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"samples of type {decoded.dtype} are not supported")
    if decoded.ndim == 2:
        return cast(Array, cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB)), None
    if decoded.shape[2] == 3:
        return cast(Array, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)), None
    if decoded.shape[2] != 4:
        raise ValueError(f"{decoded.shape[2]} channels are not supported")
    return cast(Array, cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB)), _matte(decoded[..., 3])


def _matte(alpha: Array) -> Array | None:
    peak = np.iinfo(alpha.dtype).max
    return None if (alpha == peak).all() else alpha.astype(np.float32) / np.float32(peak)


def _needs_pillow(data: bytes, kind: str) -> bool:
    """Whether OpenCV reads this kind of file wrongly: four-channel JPEG, 8-bit TIFF, palettes with alpha."""
    if kind == "jpeg":
        return _jpeg_channels(data) == 4
    if kind == "png":
        return data[25:26] in (b"\x03", b"\x04")  # palette; grey with alpha
    return kind == "tiff" and _tiff_bits(data) <= 8


def _read_with_pillow(data: bytes) -> tuple[Array, Array | None]:
    from PIL import Image

    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but readable tags; what cannot be read raises
        try:
            image: Image.Image = Image.open(io.BytesIO(data))
        except Image.DecompressionBombError as error:  # of a kind of its own
            raise ValueError(str(error)) from error
        has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    if not has_alpha:
        return pixels, None
    return np.ascontiguousarray(pixels[..., :3]), _matte(pixels[..., 3])


def _read_exr(data: bytes, kind: str, path: Path | None) -> Picture:
    import tempfile

    import OpenEXR

    if path is None or not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "plate.exr"
            copy.write_bytes(data)
            return _read_exr(data, kind, copy)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            pixels = {name: channel.pixels for name, channel in file.channels().items()}
    except RuntimeError as error:
        raise _unreadable(kind, path, str(error)) from error
    names = ["R", "G", "B"] if {"R", "G", "B"} <= pixels.keys() else ["Y"] * 3 if "Y" in pixels else []
    if not names or len({pixels[name].shape for name in names}) > 1:
        raise UnsupportedMedia(
            f"This OpenEXR file has no R, G, B of one size; its channels: {', '.join(sorted(pixels)) or 'none'}.",
            hint="Render the beauty layer as R, G, B (and A).",
            path=path,
        )
    rgb = np.stack([pixels[name] for name in names], axis=2).astype(np.float32)
    half = all(pixels[name].dtype == np.float16 for name in names)
    bad = ~np.isfinite(rgb)
    matte = pixels["A"].astype(np.float32) if "A" in pixels and pixels["A"].shape == rgb.shape[:2] else None
    matte = None if matte is None or (matte == 1).all() else np.clip(matte, 0, 1)
    problem = f"{int(bad.any(axis=2).sum())} pixels are not numbers and were set to black" if bad.any() else None
    rgb[bad] = 0
    return Picture(rgb, matte, problem, kind, 16 if half else 32)


def _read_dpx(data: bytes, kind: str, path: Path | None) -> Picture:
    """DPX by FFmpeg's decoder, taken as display-encoded: what headers say of the transfer curve is rarely true."""
    import av

    try:
        context = av.CodecContext.create("dpx", "r")
        frames = context.decode(av.Packet(data))
        frames = frames or context.decode(None)
        if not frames:
            raise ValueError("no picture inside")
        rgb = cast(Array, frames[0].reformat(format="rgb48le", threads=1).to_ndarray())
    except av.FFmpegError as error:
        raise _unreadable(kind, path, str(error)) from error
    bits = max(component.bits for component in frames[0].format.components)
    if bits == 8:
        rgb = (rgb >> 8).astype(np.uint8)
    return Picture(np.ascontiguousarray(rgb), None, None, kind, bits)


def _unreadable(kind: str, path: Path | None, detail: object) -> UnreadableMedia:
    return UnreadableMedia(
        f"The {kind.upper()} picture cannot be decoded ({detail}).", hint="Copy or render the file again.", path=path
    )


def _truncation(data: bytes, kind: str) -> str | None:
    if kind == "jpeg" and data.rfind(b"\xff\xd9", max(_start_of_scan(data), 0)) < 0:
        return "the file is cut off; the lower part of the picture is missing"
    if kind == "png" and b"IEND" not in data[-64:] and b"IEND" not in data:
        return "the file is cut off; the lower part of the picture is missing"
    if kind == "webp" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return "the file is cut off; part of the picture is missing"
    return None


def _jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """(marker, start of payload, end) of the segments before the first scan, the scan's header included."""
    segments = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            break
        segments.append((marker, at + 4, at + 2 + length))
        if marker == 0xDA:
            break
        at += 2 + length
    return segments


def _start_of_scan(data: bytes) -> int:
    return next((end for marker, _, end in _jpeg_segments(data) if marker == 0xDA), -1)


def _jpeg_channels(data: bytes) -> int:
    frames = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
    found = next((start for marker, start, _ in _jpeg_segments(data) if marker in frames), None)
    return data[found + 5] if found is not None and found + 5 < len(data) else 3


def _orientation(data: bytes, kind: str) -> int:
    """The EXIF orientation, 1 where there is none."""
    if kind == "tiff":
        return _tiff_value(data, 274, 1)
    exif = _exif_block(data, kind)
    return _tiff_value(exif, 274, 1) if exif else 1


def _exif_block(data: bytes, kind: str) -> bytes | None:
    if kind == "jpeg":
        blocks = (data[start:end] for marker, start, end in _jpeg_segments(data) if marker == 0xE1)
        return next((block[6:] for block in blocks if block.startswith(b"Exif\0\0")), None)
    if kind == "png":
        return _chunk(data, b"eXIf", 8, "big", name_first=False)
    if kind == "webp":
        found = _chunk(data, b"EXIF", 12, "little", name_first=True)
        return found[6:] if found and found.startswith(b"Exif\0\0") else found
    return None


def _chunk(data: bytes, name: bytes, at: int, order: Any, *, name_first: bool) -> bytes | None:
    """The body of the first chunk called `name`, of PNG (length, name, body, sum) or RIFF (name, length, body)."""
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        length = int.from_bytes(second if name_first else first, order)
        if (first if name_first else second) == name:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1 if name_first else 4)
    return None


def _tiff_bits(data: bytes) -> int:
    return _tiff_value(data, 258, 1)


def _tiff_value(data: bytes, wanted: int, default: int) -> int:
    """The first short of a tag in the first directory of TIFF-structured data (TIFF files and EXIF blocks)."""
    order: Any = {b"II": "little", b"MM": "big"}.get(data[:2])
    if order is None or len(data) < 8:
        return default
    at = int.from_bytes(data[4:8], order)
    for i in range(int.from_bytes(data[at : at + 2], order)):
        entry = data[at + 2 + 12 * i : at + 14 + 12 * i]
        if len(entry) == 12 and int.from_bytes(entry[:2], order) == wanted:
            count = int.from_bytes(entry[4:8], order)
            if count <= 2:
                return int.from_bytes(entry[8:10], order)
            pointer = int.from_bytes(entry[8:12], order)
            return int.from_bytes(data[pointer : pointer + 2], order)
    return default


def encode_png(pixels: Array, matte: Array | None = None, *, compression: int = 1) -> bytes:
    """PNG bytes of (H, W, 3) RGB or (H, W) grey, uint8 or uint16; `matte` (H, W) float32 in 0..1 becomes the alpha.

    One filter for all rows (the difference to the row above) instead of a search per row: a third of the time, and
    files of footage are no larger.
    """
    stored = _bgr(pixels)
    if matte is not None:
        peak = np.iinfo(pixels.dtype).max
        alpha = np.rint(np.clip(matte, 0, 1) * peak).astype(pixels.dtype)
        stored = np.dstack([stored if stored.ndim == 3 else cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR), alpha])
    return _encode(
        ".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, compression, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    )


def encode_jpg(pixels: Array, *, quality: int = 95) -> bytes:
    """JPEG bytes of (H, W, 3) RGB or (H, W) grey uint8, without chroma subsampling from quality 90."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if quality >= 90 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    return _encode(
        ".jpg", _bgr(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    )  # fmt: skip


def write_exr(path: Path, linear: Array, matte: Array | None = None) -> None:
    """Write (H, W, 3) linear float as half-float OpenEXR with ZIP compression; not atomic, see files.writing."""
    import OpenEXR

    channels = {name: np.ascontiguousarray(linear[..., i], np.float16) for i, name in enumerate("RGB")}
    if matte is not None:
        channels["A"] = np.ascontiguousarray(matte, np.float16)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def _bgr(pixels: Array) -> Array:
    return cast(Array, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)) if pixels.ndim == 3 else pixels


def _encode(suffix: str, stored: Array, settings: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, stored, settings)
    if not done:
        raise EncodingFailed(f"A picture of {stored.shape[1]}x{stored.shape[0]} could not be written as {suffix[1:]}.")
    return bytes(data)
