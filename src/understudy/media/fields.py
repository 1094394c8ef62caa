"""Interlaced footage: seeing that it is, whatever its flags say, and making whole pictures of its fields.

An interlaced frame holds two moments, one in its even and one in its odd rows. Where something moves, rows of the two
do not fit together: the edge is combed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from enum import StrEnum
from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np

from understudy.media import planes as planar
from understudy.media.frames import Frame

Array = np.ndarray[Any, Any]

LOOKED_AT = 40
"""Frames from the front that are looked at; a film that begins with stills tells nothing in them."""

_ORDERED = 1.25
_COMBED = 0.3
_WHOLE = 1.5
"""Ratios of misfits. Of whole pictures the two that reach into the next frame are alike, whatever moves; of fields one
is nearer. Where fields repeat, as in film on television, a frame may be less combed than the next field is far."""

_CHANGED = 10  # code values of 255 by which a pixel that moves differs from the frame before
_LEAST = 0.002  # of the picture: less movement tells nothing


class Scan(StrEnum):
    """How the pictures were taken: whole, or as fields with the top or the bottom one first."""

    PROGRESSIVE = "progressive"
    TFF = "tff"
    BFF = "bff"


def scan_of(lumas: Iterable[Array]) -> Scan | None:
    """What most of the moving frames say; None when too little moves. lumas: (H, W) of consecutive frames, any depth.

    Rows of two fields fit the better the nearer their moments are. The bottom field of one frame and the top field of
    the next are neighbours in time when the top field comes first, and three fields apart when it comes second.
    """
    votes = dict.fromkeys(Scan, 0)
    before: Array | None = None
    for luma in lumas:
        after = luma[: luma.shape[0] // 2 * 2].astype(np.float32)
        if before is not None and before.shape == after.shape and (vote := _vote(before, after)):
            votes[vote] += 1
        before = after
    best = max(votes, key=lambda scan: votes[scan])
    return best if votes[best] >= 3 and votes[best] > 2 * (sum(votes.values()) - votes[best]) else None


def _vote(before: Array, after: Array) -> Scan | None:
    """By the pixels that change, since all others fit in any case."""
    peak = 255 if after.max() < 256 else 65535 if after.max() > 4095 else 4095 if after.max() > 1023 else 1023
    changed = np.abs(after - before) > _CHANGED * peak / 255
    moving = changed[0:-2:2] | changed[1:-1:2]
    if moving.mean() < _LEAST:
        return None
    within = _misfit(after[0::2], after[1::2], moving)
    top_later = _misfit(after[0::2], before[1::2], moving)
    bottom_later = _misfit(before[0::2], after[1::2], moving)
    if bottom_later > _ORDERED * top_later and within > _COMBED * top_later:
        return Scan.TFF
    if top_later > _ORDERED * bottom_later and within > _COMBED * bottom_later:
        return Scan.BFF
    return Scan.PROGRESSIVE if min(top_later, bottom_later) > _WHOLE * within else None


def _misfit(top: Array, bottom: Array, where: Array) -> float:
    """How far rows of the bottom field lie from the middle of the rows of the top field around them."""
    return float(np.abs(2 * bottom[:-1] - top[:-1] - top[1:])[where].mean())


def whole_pictures(frames: Iterable[Frame], order: Scan, *, per_field: bool) -> Iterator[Frame]:
    """Frames made whole by FFmpeg's bwdif, in their own pixel format and depth.

    order: which field was taken first. per_field: a picture of every field, twice as many, each at its own time;
    else one of each frame, at the frame's.
    """
    made: _Bwdif | None = None
    for frame in frames:
        if made is None or not made.fits(frame):
            yield from made.rest() if made is not None else ()
            made = _Bwdif(frame, order, per_field=per_field)
        yield from made.take(frame)
    yield from made.rest() if made is not None else ()


class _Bwdif:
    """One run of the filter; it holds back a frame, since it looks at the next one."""

    def __init__(self, like: Frame, order: Scan, *, per_field: bool) -> None:
        self._waiting: list[Frame] = []
        self._per_field = per_field
        self._shape = (like.pix_fmt, like.width, like.height)
        self._given = 0
        mode = "send_field" if per_field else "send_frame"
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=like.width, height=like.height, format=av.VideoFormat(like.pix_fmt), time_base=Fraction(1, 25)
        )
        parity = "bff" if order is Scan.BFF else "tff"
        filter_ = self._graph.add("bwdif", f"mode={mode}:parity={parity}:deint=all")
        sink = self._graph.add("buffersink")
        source.link_to(filter_)
        filter_.link_to(sink)
        self._graph.configure()

    def fits(self, frame: Frame) -> bool:
        return self._shape == (frame.pix_fmt, frame.width, frame.height)

    def take(self, frame: Frame) -> Iterator[Frame]:
        picture = planar.copy_of(frame.native())
        picture.pts, picture.time_base = self._given, Fraction(1, 25)
        self._given += 1
        self._waiting.append(frame)
        self._graph.push(picture)
        yield from self._pull()

    def rest(self) -> Iterator[Frame]:
        self._graph.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[Frame]:
        while True:
            try:
                pictures = [self._next() for _ in range(1 + self._per_field)]
            except (av.BlockingIOError, av.EOFError):
                return
            frame = self._waiting.pop(0)
            following = self._waiting[0] if self._waiting else None
            for second, picture in enumerate(pictures):
                yield self._made(frame, following, picture, second)

    def _next(self) -> av.VideoFrame:
        picture = self._graph.pull()
        assert isinstance(picture, av.VideoFrame)
        return picture

    def _made(self, frame: Frame, following: Frame | None, picture: av.VideoFrame, second: int) -> Frame:
        if not self._per_field:
            return dataclasses.replace(frame, picture=picture)
        stamp = duration = None
        if frame.pts is not None:
            step = following.pts - frame.pts if following is not None and following.pts is not None else frame.duration
            stamp, duration = 2 * frame.pts + second * (step or 0), step
        return dataclasses.replace(
            frame, index=2 * frame.index + second, picture=picture, pts=stamp, time_base=frame.time_base / 2,
            duration=duration,
        )  # fmt: skip
