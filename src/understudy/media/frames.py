"""One frame of footage: its source planes, its time, and RGB views of it made on demand."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, TypeVar, cast

import av
import cv2
import numpy as np

from understudy.imaging.transfer import linear_from_srgb, srgb_from_linear
from understudy.media import planes as planar
from understudy.media.info import UNTAGGED, ColourTags

Array = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]
T = TypeVar("T")


class RectLike(Protocol):
    """Anything with four sides in frame pixels."""

    @property
    def left(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def right(self) -> float: ...
    @property
    def bottom(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Patch:
    """A region laid over a frame: image (h, w, 3) float32 RGB 0..1, alpha (h, w) float32 0..1, box in frame pixels."""

    image: Array
    alpha: Array
    box: Box


@dataclass(frozen=True, eq=False)
class Frame:
    """One upright picture.

    index: 0-based position (in a numbered sequence: number minus first number, so a gap keeps its place). name: the
    file name in a folder, else `%05d.png` of the 1-based decode index; face files and merged frames use its stem. pts,
    duration: in units of time_base, as stored; None for pictures without time. picture: the source samples, an
    av.VideoFrame, or an (H, W, 3) RGB array of uint8, uint16 or linear float32. patches: what was composited onto it;
    the planes and the views below have it applied. alpha: matte of a picture, None where opaque.

    The arrays are shared: callers copy before they write. Safe to use from several threads, and to pickle.
    """

    index: int
    name: str
    picture: av.VideoFrame | Array
    pts: int | None = None
    time_base: Fraction = Fraction(1, 1000)
    duration: int | None = None
    damaged: bool = False
    tags: ColourTags = UNTAGGED
    alpha: Array | None = None
    patches: tuple[Patch, ...] = ()
    _views: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=threading.RLock, init=False, repr=False)

    @classmethod
    def from_rgb(
        cls, rgb: Array, *, index: int = 0, pts: int | None = None, time_base: Fraction | None = None
    ) -> Frame:
        """A frame of an (H, W, 3) RGB array: uint8, uint16, or float32 in linear light."""
        return cls(index, f"{index + 1:05d}.png", rgb, pts, time_base or Fraction(1, 1000))

    @classmethod
    def from_luma(
        cls, levels: Array, *, index: int, pts: int | None, time_base: Fraction, duration: int | None = None
    ) -> Frame:
        """A grey video frame whose full-range luma is `levels` (H, W) uint8, exactly."""
        height, width = levels.shape
        even = height % 2 == 0 and width % 2 == 0
        size = (height // 2, width // 2) if even else (height, width)
        neutral = np.full(size, 128, np.uint8)
        picture = planar.frame_from_planes([levels, neutral, neutral], "yuvj420p" if even else "yuvj444p")
        return cls(index, f"{index + 1:05d}.png", picture, pts, time_base, duration, tags=ColourTags("pc"))

    def named(self, name: str) -> Frame:
        """The same frame under another name."""
        return self if name == self.name else dataclasses.replace(self, name=name)

    @property
    def height(self) -> int:
        return self.picture.height if isinstance(self.picture, av.VideoFrame) else int(self.picture.shape[0])

    @property
    def width(self) -> int:
        return self.picture.width if isinstance(self.picture, av.VideoFrame) else int(self.picture.shape[1])

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of the sample layout; of arrays the planar or packed RGB name that fits."""
        if isinstance(self.picture, av.VideoFrame):
            return self.picture.format.name
        return {"u1": "rgb24", "u2": "rgb48le"}.get(self.picture.dtype.str[1:], "gbrpf32le")

    @property
    def bit_depth(self) -> int:
        """Bits per sample: 8 to 16; 16 for half and 32 for full float."""
        layout = planar.layout_of(self.pix_fmt)
        return layout.bits if layout else 8

    @property
    def is_linear(self) -> bool:
        """Whether the samples are linear light (float plates); the RGB views are then display-encoded (sRGB curve)."""
        return not isinstance(self.picture, av.VideoFrame) and self.picture.dtype.kind == "f"

    @property
    def time(self) -> Fraction | None:
        """Seconds, exactly, on the footage's own clock."""
        return None if self.pts is None else self.pts * self.time_base

    @property
    def rgb8(self) -> Array:
        """(H, W, 3) uint8 RGB, C-contiguous. Made once; 1 ms for 8-bit 1080p."""
        return self._view("rgb8", self._make_rgb8)

    @property
    def rgb(self) -> Array:
        """(H, W, 3) float32 RGB in 0..1, normalised by the bit depth. Made once."""
        return self._view("rgb", self._make_rgb)

    @property
    def rgb16(self) -> Array:
        """(H, W, 3) uint16 RGB, white at 65535. Made once."""
        return self._view("rgb16", self._make_rgb16)

    @property
    def matte(self) -> Array | None:
        """(H, W) float32 alpha in 0..1; None where there is none or every pixel is opaque."""
        return self._view("matte", self._make_matte)

    def region(self, box: Box) -> Array:
        """(h, w, 3) float32 RGB in 0..1 of the box (left, top, right, bottom) alone; cheaper than the whole `rgb`."""
        left, top, right, bottom = box
        if self.bit_depth > 8 or "rgb" in self._views:
            return cast(Array, self.rgb[top:bottom, left:right])
        return self.rgb8[top:bottom, left:right] * np.float32(1 / 255)

    def native(self) -> av.VideoFrame:
        """The picture in its own pixel format with what was composited applied; the source frame if nothing was."""
        return self._view("native", self._make_native)

    def planes(self) -> list[Array]:
        """The samples of `native()` as arrays, one (h, w) per plane or one (h, w, channels). Not to be written to."""
        return planar.planes_of(self.native())

    def _view(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._views:
                self._views[name] = make()
            return cast(T, self._views[name])

    def _make_rgb8(self) -> Array:
        if self.patches:
            return self._patched(self._base().rgb8, 255, np.dtype(np.uint8))
        if isinstance(self.picture, av.VideoFrame):
            return planar.rgb8_of(self.picture, self.tags)
        if self.picture.dtype == np.uint8:
            return np.ascontiguousarray(self.picture)
        if self.picture.dtype == np.uint16:
            return ((self.picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.rint(self.rgb * np.float32(255)).astype(np.uint8)

    def _make_rgb16(self) -> Array:
        if self.patches:
            return self._patched(self._base().rgb16, 65535, np.dtype(np.uint16))
        if not isinstance(self.picture, av.VideoFrame) and self.picture.dtype == np.uint16:
            return np.ascontiguousarray(self.picture)
        if self.bit_depth <= 8:
            return self.rgb8.astype(np.uint16) * np.uint16(257)
        return np.rint(self.rgb * np.float32(65535)).astype(np.uint16)

    def _make_rgb(self) -> Array:
        if self.patches:
            return self._patched(self._base().rgb, 1, np.dtype(np.float32))
        if self.bit_depth <= 8:
            return self.rgb8 * np.float32(1 / 255)
        if isinstance(self.picture, av.VideoFrame):
            return planar.rgb_of(self.picture, self.tags)
        if self.picture.dtype == np.uint16:
            return self.picture * np.float32(1 / 65535)
        return srgb_from_linear(np.clip(self.picture, 0, 1))

    def _patched(self, base: Array, peak: int, dtype: np.dtype[Any]) -> Array:
        array = base.copy()
        for patch in self.patches:
            left, top, right, bottom = patch.box
            values = patch.image
            if peak > 1:
                values = np.clip(values * np.float32(peak), 0, peak)
                np.rint(values, out=values)
            region = array[top:bottom, left:right]
            cv2.copyTo(values.astype(dtype), (patch.alpha > 0).view(np.uint8), region)
        return array

    def _make_matte(self) -> Array | None:
        if isinstance(self.picture, av.VideoFrame):
            return planar.matte_of(self.picture)
        return self.alpha

    def _make_native(self) -> av.VideoFrame:
        source = self.picture
        if not self.patches:
            return source if isinstance(source, av.VideoFrame) else self._frame_of_array(source)
        if not isinstance(source, av.VideoFrame):
            return self._frame_of_array(self._patched_array(source))
        made = planar.copy_of(source)
        view = self._base()
        for patch in self.patches:
            seen = view.region(patch.box)
            planar.write_region(made, self.tags, patch.image, patch.alpha, seen, patch.box)
            view = dataclasses.replace(view, patches=(*view.patches, patch)) if len(self.patches) > 1 else view
        return made

    def _patched_array(self, source: Array) -> Array:
        if source.dtype == np.uint8:
            return self.rgb8
        if source.dtype == np.uint16:
            return self.rgb16
        array = source.copy()
        for patch in self.patches:
            left, top, right, bottom = patch.box
            values = linear_from_srgb(np.clip(patch.image, 0, 1))
            np.copyto(array[top:bottom, left:right], values, where=(patch.alpha > 0)[..., None])
        return array

    def _frame_of_array(self, array: Array) -> av.VideoFrame:
        planes = [array]
        if array.dtype.kind == "f":
            planes = [array[..., i].astype(np.float32) for i in (1, 2, 0)]
        made = planar.frame_from_planes(planes, self.pix_fmt)
        made.pts, made.time_base = self.pts, self.time_base
        return made

    def _base(self) -> Frame:
        """This frame without its patches; shared, so that its views are made once."""
        return self._view("base", lambda: dataclasses.replace(self, patches=()))

    def __getstate__(self) -> dict[str, Any]:
        state = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.init}
        if isinstance(self.picture, av.VideoFrame):
            arrays = [np.ascontiguousarray(plane) for plane in planar.planes_of(self.picture)]
            state["picture"] = (self.picture.format.name, arrays, _codes_of(self.picture))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["picture"], tuple):
            name, arrays, codes = state["picture"]
            picture = planar.frame_from_planes(arrays, name)
            picture.color_range, picture.colorspace, picture.color_trc, picture.color_primaries = codes
            picture.pts = state["pts"]
            picture.time_base = state["time_base"]
            state["picture"] = picture
        for name, value in {**state, "_views": {}, "_lock": threading.RLock()}.items():
            object.__setattr__(self, name, value)


def _codes_of(picture: av.VideoFrame) -> tuple[int, int, int, int]:
    return picture.color_range, picture.colorspace, picture.color_trc, picture.color_primaries


def composite_onto(frame: Frame, image: Array, alpha: Array, box: Box | RectLike) -> Frame:
    """A new frame whose samples differ from `frame` only where alpha > 0.

    image: (h, w, 3) float32 RGB in 0..1, the finished colours of the box (already blended with the plate); alpha:
    (h, w) float32 0..1, how much of each colour is new; box: whole pixels (left, top, right, bottom), which may reach
    over the edge of the frame. In the native pixel format luma and RGB samples change where alpha > 0, chroma samples
    where any pixel they cover has; every other sample stays byte for byte. The work is done when the planes or a view
    are asked for, on the box alone. Raises ValueError when the shapes do not fit the box.
    """
    left, top, right, bottom = _sides(box)
    if image.shape != (bottom - top, right - left, 3) or alpha.shape != image.shape[:2]:
        raise ValueError(f"image {image.shape} and alpha {alpha.shape} do not fit the box {(left, top, right, bottom)}")
    inside = (max(left, 0), max(top, 0), min(right, frame.width), min(bottom, frame.height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        return frame
    rows, columns = slice(inside[1] - top, inside[3] - top), slice(inside[0] - left, inside[2] - left)
    patch = Patch(
        np.asarray(image[rows, columns], np.float32), np.asarray(alpha[rows, columns], np.float32), inside
    )  # fmt: skip
    if not patch.alpha.any():
        return frame
    made = dataclasses.replace(frame, patches=(*frame.patches, patch))
    made._views["base"] = frame._base() if frame.patches else frame
    return made


def _sides(box: Box | RectLike) -> Box:
    if isinstance(box, tuple):
        left, top, right, bottom = box
    else:
        return int(box.left), int(box.top), int(box.right), int(box.bottom)
    return int(left), int(top), int(right), int(bottom)
