"""The planes of one decoded picture as arrays: reading, copying, turning, and colour conversion both ways.

A pixel format is either understood here (planar YUV, grey, planar or packed RGB) or exchanged on reading for one that
holds the same samples in another order (`plain_format`).
"""

from __future__ import annotations

import functools
import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from understudy.imaging.turning import Turn
from understudy.media.info import ColourTags

Array = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]

_SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2), "411": (4, 1), "410": (4, 4)}
_PACKED = (
    "rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr", "rgb48le", "bgr48le", "rgba64le",
    "bgra64le",
)  # fmt: skip

# The same samples in another order. Everything else goes to the nearest format that loses nothing.
_SAME_SAMPLES = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "uyyvyy411": "yuv411p",
    "p010le": "yuv420p10le", "p010be": "yuv420p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le",
    "p210le": "yuv422p10le", "p212le": "yuv422p12le", "p216le": "yuv422p16le", "p410le": "yuv444p10le",
    "y210le": "yuv422p10le", "y212le": "yuv422p12le", "pal8": "rgba", "monow": "gray", "monob": "gray",
    "ya8": "rgba", "ya16le": "rgba64le", "ya16be": "rgba64le", "rgb48be": "rgb48le", "rgba64be": "rgba64le",
    "x2rgb10le": "gbrp10le", "ayuv64le": "yuva444p16le",
}  # fmt: skip

# Luma weights of red and blue (ITU-T H.273, table 4).
_WEIGHTS = {
    "bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11), "bt470bg": (0.299, 0.114), "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593), "bt2020c": (0.2627, 0.0593),
}  # fmt: skip
_SWS_MATRIX = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7, "bt2020nc": 9, "bt2020c": 9}


class Family(StrEnum):
    YUV = "yuv"
    GREY = "grey"
    RGB = "rgb"


@dataclass(frozen=True)
class Layout:
    """Where the samples of a pixel format are. order: the plane (or, when packed, the channel) of R, G, B."""

    name: str
    family: Family
    bits: int
    sub: tuple[int, int] = (1, 1)  # luma samples per chroma sample, across and down
    packed: int = 0  # channels in the one plane, 0 when each has its own
    order: tuple[int, int, int] = (0, 1, 2)
    alpha: int | None = None  # plane or channel
    full: bool = False  # always full range, whatever the tags say
    real: bool = False  # floating point

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.real:
            return np.dtype("<f4") if self.bits == 32 else np.dtype("<f2")
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype("<u2")

    @property
    def peak(self) -> int:
        """The code of white in full range; 1 for floating point."""
        return 1 if self.real else (1 << self.bits) - 1


@functools.cache
def layout_of(name: str) -> Layout | None:
    """The layout of a pixel format by FFmpeg's name, None where it is not understood here."""
    if found := re.fullmatch(r"yuv([aj]?)(420|422|444|440|411|410)p(?:(9|10|12|14|16)le)?", name):
        kind, sub, depth = found.groups()
        alpha = 3 if kind == "a" else None
        return Layout(name, Family.YUV, int(depth or 8), _SUBSAMPLING[sub], alpha=alpha, full=kind == "j")
    if found := re.fullmatch(r"gray(?:(9|10|12|14|16)le)?", name):
        return Layout(name, Family.GREY, int(found[1] or 8), full=True)
    if found := re.fullmatch(r"gbr(a?)p(f?)(?:(9|10|12|14|16|32)le)?", name):
        alpha = 3 if found[1] else None
        return Layout(
            name, Family.RGB, int(found[3] or 8), order=(2, 0, 1), alpha=alpha, full=True, real=bool(found[2])
        )
    if name in _PACKED:
        letters = re.sub(r"(24|48le|64le)$", "", name)
        bits = 16 if name.endswith("le") else 8
        order = (letters.index("r"), letters.index("g"), letters.index("b"))
        alpha = letters.index("a") if "a" in letters else None
        return Layout(name, Family.RGB, bits, packed=len(letters), order=order, alpha=alpha, full=True)
    return None


@functools.cache
def plain_format(name: str) -> str:
    """The pixel format that `name` is exchanged for on reading; itself where it is understood as it is."""
    if layout_of(name) is not None:
        return name
    if name in _SAME_SAMPLES:
        return _SAME_SAMPLES[name]
    little = re.sub("be$", "le", name)
    if layout_of(little) is not None:
        return little
    known = av.VideoFormat(name)
    bits = max(component.bits for component in known.components)
    if known.is_rgb or known.has_palette:
        return "rgba64le" if bits > 8 else "rgba"
    return "yuv444p16le" if bits > 8 else "yuv444p"


def plain(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame in a pixel format that is understood here; the same object where it already is."""
    name = plain_format(frame.format.name)
    if name == frame.format.name:
        return frame
    return _reformatter().reformat(frame, format=name, threads=1)


def planes_of(frame: av.VideoFrame) -> list[Array]:
    """The planes as arrays over the frame's own memory, padding cut off: (h, w), or (h, w, channels) when packed."""
    layout = _layout(frame)
    size = layout.dtype.itemsize
    arrays = []
    for plane in frame.planes:
        rows = np.frombuffer(cast(Any, plane), layout.dtype)[: plane.height * (plane.line_size // size)]
        rows = rows.reshape(plane.height, plane.line_size // size)
        if layout.packed:
            arrays.append(rows[:, : plane.width * layout.packed].reshape(plane.height, plane.width, layout.packed))
        else:
            arrays.append(rows[:, : plane.width])
    return arrays


def new_frame(width: int, height: int, name: str, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """An empty frame; times and colour tags as those of `like`."""
    made = av.VideoFrame(width, height, name)
    if like is not None:
        made.color_range, made.colorspace = like.color_range, like.colorspace
        made.color_trc, made.color_primaries = like.color_trc, like.color_primaries
        made.pts = like.pts
        if like.time_base:
            made.time_base = like.time_base
    return made


def frame_from_planes(planes: list[Array], name: str, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """A frame of its own memory holding `planes`."""
    height, width = planes[0].shape[:2]
    made = new_frame(width, height, name, like)
    for target, source in zip(planes_of(made), planes, strict=True):
        target[...] = source
    return made


def copy_of(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own memory with the same samples, times and tags."""
    return frame_from_planes(planes_of(frame), frame.format.name, frame)


def turned(frame: av.VideoFrame, turn: Turn) -> av.VideoFrame:
    """The upright frame with every sample kept: chroma that misses the turned grid is repeated to 4:4:4."""
    if turn == Turn():
        return frame
    layout = _layout(frame)
    planes = planes_of(frame)
    name = frame.format.name
    if layout.family is Family.YUV and not _grid_turns(layout, frame, turn):
        across, down = layout.sub
        for i in (1, 2):
            planes[i] = planes[i].repeat(down, axis=0).repeat(across, axis=1)[: frame.height, : frame.width]
        name = re.sub(r"(420|422|440|411|410)", "444", name)
    return frame_from_planes([turn.apply(plane) for plane in planes], name, frame)


def _grid_turns(layout: Layout, frame: av.VideoFrame, turn: Turn) -> bool:
    across, down = layout.sub
    if turn.transpose and across != down:
        return False
    flips_across, flips_down = (turn.flip_y, turn.flip_x) if turn.transpose else (turn.flip_x, turn.flip_y)
    return not (flips_across and frame.width % across) and not (flips_down and frame.height % down)


def effective(tags: ColourTags, width: int, height: int) -> ColourTags:
    """The tags with what is needed to convert filled in.

    Untagged footage is taken as BT.709 when HD (the longer side at least 1280 or the shorter above 576) and BT.601
    below, limited range: the rule that players follow.
    """
    high = max(width, height) >= 1280 or min(width, height) > 576
    matrix = tags.matrix if tags.matrix in _WEIGHTS else ("bt709" if high else "smpte170m")
    return ColourTags(tags.range or "tv", matrix, tags.transfer, tags.primaries)


def rgb8_of(frame: av.VideoFrame, tags: ColourTags) -> Array:
    """(H, W, 3) uint8 RGB, contiguous. Chroma of 8-bit 4:2:0 and 4:2:2 is repeated; 1 ms for 1080p."""
    layout = _layout(frame)
    array = _rgb_view(frame, tags, layout, "rgb24").to_ndarray()
    return np.ascontiguousarray(array)


def _rgb_view(frame: av.VideoFrame, tags: ColourTags, layout: Layout, name: str) -> av.VideoFrame:
    if layout.family is not Family.YUV:
        return _reformatter().reformat(frame, format=name, threads=1)
    tags = effective(tags, frame.width, frame.height)
    return _reformatter().reformat(
        frame, format=name, src_colorspace=_SWS_MATRIX[tags.matrix or "bt709"],
        src_color_range=2 if layout.full or tags.range == "pc" else 1, dst_color_range=2, threads=1,
    )  # fmt: skip


def rgb_of(frame: av.VideoFrame, tags: ColourTags) -> Array:
    """(H, W, 3) float32 RGB in 0..1 with the full precision of deep footage. Chroma is interpolated linearly."""
    layout = _layout(frame)
    planes = planes_of(frame)
    if layout.family is Family.GREY:
        grey = planes[0].astype(np.float32) / layout.peak
        return np.repeat(grey[..., None], 3, axis=2)
    if layout.family is Family.RGB:
        stored = [planes[0][..., i] for i in layout.order] if layout.packed else [planes[i] for i in layout.order]
        floats = [channel.astype(np.float32) for channel in stored]
        return cast(Array, np.stack(floats, axis=2) / np.float32(layout.peak))
    across, down = layout.sub
    height, width = planes[0].shape
    luma = planes[0].astype(np.float32)
    chroma: list[Array] = [plane.astype(np.float32) for plane in planes[1:3]]
    if layout.sub != (1, 1):
        size = (chroma[0].shape[1] * across, chroma[0].shape[0] * down)
        chroma = [cv2.resize(c, size, interpolation=cv2.INTER_LINEAR)[:height, :width] for c in chroma]
    matrix, offsets = ycc_from_rgb(tags, layout, width, height)
    inverse = np.linalg.inv(matrix)
    affine = np.hstack([inverse, -inverse @ offsets[:, None]])
    rgb = cv2.transform(np.dstack([luma, *chroma]), affine)
    return cast(Array, np.clip(rgb, 0, 1, out=rgb))


def ycc_from_rgb(tags: ColourTags, layout: Layout, width: int, height: int) -> tuple[Array, Array]:
    """The (3, 3) matrix and (3,) offsets from RGB in 0..1 to code values of Y, Cb, Cr."""
    tags = effective(tags, width, height)
    red, blue = _WEIGHTS[tags.matrix or "bt709"]
    green = 1 - red - blue
    luma = np.array([red, green, blue])
    rows = np.stack([
        luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red)),
    ])  # fmt: skip
    step = 1 << (layout.bits - 8)
    if layout.full or tags.range == "pc":
        return rows * layout.peak, np.array([0.0, 128 * step, 128 * step])
    return rows * (np.array([219, 224, 224])[:, None] * step), np.array([16.0, 128, 128]) * step


def matte_of(frame: av.VideoFrame) -> Array | None:
    """(H, W) float32 alpha in 0..1; None without one, or where every pixel is opaque."""
    layout = _layout(frame)
    if layout.alpha is None:
        return None
    planes = planes_of(frame)
    alpha = planes[0][..., layout.alpha] if layout.packed else planes[layout.alpha]
    if (alpha == layout.peak).all():
        return None
    return alpha.astype(np.float32) / np.float32(layout.peak)


def write_region(frame: av.VideoFrame, tags: ColourTags, image: Array, alpha: Array, view: Array, box: Box) -> None:
    """Write `image` into the frame's own planes where alpha > 0, in place.

    image and view: (h, w, 3) float32 RGB of the box, the picture wanted and the picture that was there; alpha: (h, w),
    how much of `image` is new. What shines through the new part (1 - alpha) is taken from the planes and not from the
    view, so whites beyond the nominal range and colours outside the RGB cube survive under a soft edge. A chroma
    sample changes when any pixel that it covers has alpha > 0, by the mean over those pixels.
    """
    layout = _layout(frame)
    planes = planes_of(frame)
    left, top, right, bottom = box
    if layout.family is Family.RGB:
        codes = _codes(image * np.float32(layout.peak), layout)
        for channel, i in enumerate(layout.order):
            target = planes[0][..., i] if layout.packed else planes[i]
            np.copyto(target[top:bottom, left:right], codes[..., channel], where=alpha > 0)
        return
    matrix, offsets = ycc_from_rgb(tags, layout, frame.width, frame.height)
    affine = np.hstack([matrix, offsets[:, None]])
    wanted = cv2.split(cv2.transform(np.ascontiguousarray(image, np.float32), affine))
    seen = cv2.split(cv2.transform(np.ascontiguousarray(view, np.float32), affine))
    kept = 1 - alpha
    _blend(planes[0][top:bottom, left:right], wanted[0] - kept * seen[0], kept, layout)
    if layout.family is Family.GREY:
        return
    cells, margins = _chroma_cells(box, layout.sub, frame.width, frame.height)
    size = (cells[2] - cells[0], cells[3] - cells[1])
    kept_share = _cell_means(kept, size, margins, 1.0)
    for i in (1, 2):
        fresh = _cell_means(wanted[i] - kept * seen[i], size, margins, 0.0)
        _blend(planes[i][cells[1] : cells[3], cells[0] : cells[2]], fresh, kept_share, layout)


def _blend(target: Array, fresh: Array, kept: Array, layout: Layout) -> None:
    """target becomes fresh + kept * target where not all is kept; both are contiguous float32 of its shape."""
    codes = target.astype(np.float32)
    codes *= kept
    codes += fresh
    np.copyto(target, _codes(codes, layout), where=kept < 1)


def _codes(values: Array, layout: Layout) -> Array:
    """The nearest code values. Changes `values`."""
    if layout.real:
        return values.astype(layout.dtype)
    np.rint(values, out=values)
    np.clip(values, 0, layout.peak, out=values)
    return values.astype(layout.dtype)


def _chroma_cells(box: Box, sub: tuple[int, int], width: int, height: int) -> tuple[Box, tuple[Box, Box]]:
    """The chroma samples under a box, and how far they reach over it.

    The margins (top, bottom, left, right) are of two kinds: inside the frame, where nothing is covered, and beyond its
    edge, where the last row or column counts again.
    """
    across, down = sub
    left, top, right, bottom = box
    cells = (left // across, top // down, -(-right // across), -(-bottom // down))
    outer = (0, max(0, cells[3] * down - height), 0, max(0, cells[2] * across - width))
    inner = (
        top - cells[1] * down, cells[3] * down - bottom - outer[1], left - cells[0] * across,
        cells[2] * across - right - outer[3],
    )  # fmt: skip
    return cells, (inner, outer)


def _cell_means(values: Array, size: tuple[int, int], margins: tuple[Box, Box], outside: float) -> Array:
    """Means of (h, w) float32 over the cells of a grid of `size` (columns, rows)."""
    inner, outer = margins
    if any(outer):
        # the frame's edge lies inside the margin, so a box that ends there has no inner margin on that side
        values = cv2.copyMakeBorder(values, *outer, cv2.BORDER_REPLICATE)
    if any(inner):
        values = cv2.copyMakeBorder(values, *inner, cv2.BORDER_CONSTANT, value=outside)
    if values.shape == (size[1], size[0]):
        return values
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0])


def converted(frame: av.VideoFrame, name: str, tags: ColourTags, size: tuple[int, int] | None = None) -> av.VideoFrame:
    """The frame in pixel format `name` and (width, height) `size`, in the matrix and range of `tags`."""
    width, height = size or (frame.width, frame.height)
    if frame.format.name == name and (width, height) == (frame.width, frame.height):
        return frame
    tags = effective(tags, width, height)
    matrix, source, target = _SWS_MATRIX[tags.matrix or "bt709"], layout_of(frame.format.name), layout_of(name)
    return _reformatter().reformat(
        frame, width=width, height=height, format=name, src_colorspace=matrix, dst_colorspace=matrix,
        src_color_range=_sws_range(source, tags), dst_color_range=_sws_range(target, tags), threads=1,
        interpolation="BICUBIC" if (width, height) != (frame.width, frame.height) else "BILINEAR",
    )  # fmt: skip


def _sws_range(layout: Layout | None, tags: ColourTags) -> int:
    return 2 if (layout is not None and layout.full) or tags.range == "pc" else 1


_local = threading.local()


def _reformatter() -> VideoReformatter:
    """One per thread: it keeps tables that are costly to make, and is not meant to be shared."""
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    return cast(VideoReformatter, _local.reformatter)


def _layout(frame: av.VideoFrame) -> Layout:
    layout = layout_of(frame.format.name)
    assert layout is not None, frame.format.name
    return layout
