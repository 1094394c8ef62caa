"""A video file as footage: every frame upright, with its planes and exact time; damage is named, never fatal."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.sidedata.sidedata import Type as SideData

from understudy.errors import NoFrames, UnreadableMedia
from understudy.imaging.turning import UPRIGHT, Turn, from_display_matrix
from understudy.media import planes as planar
from understudy.media.footage import FrameSource
from understudy.media.frames import Frame
from understudy.media.info import AudioTrack, ColourTags, FootageInfo, FootageKind

_INTERLACED = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}
_LOOK_AHEAD = 600  # packets read to judge the rate when nobody asked for a full count
_NOT_FOOTAGE = ("tty", "ansi", "bin", "lrc", "hls", "concat", "concatf", "ffmetadata", "sdp", "rtsp")
_SECURE = {"protocol_whitelist": "file"}

_CONCEALING = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "h263")
BROKEN = (av.FFmpegError, IndexError)
"""What reading packets of a damaged container raises; IndexError for a stream that appears on the way."""

_LATE_SOUND = Fraction(1, 10)
_WORTH_A_JUMP = 100  # frames; decoding fewer costs less than finding the place
_CAREFUL_PIXELS = 2560 * 1440


def _careful(info: FootageInfo) -> bool:
    """Whether to decode in one thread.

    Decoders that paint over damage say so reliably only then, and one core decodes 190 1080p frames/s anyway; larger
    pictures are worth the threads.
    """
    return info.codec in _CONCEALING and info.width * info.height <= _CAREFUL_PIXELS


class VideoSource(FrameSource):
    """Frames decoded from a video file, in the order in which they are shown."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._threads = threads
        self._turn = UPRIGHT
        info, self._turn = _describe(path, count=False)
        self._stamps: list[int] | None = None
        super().__init__(info)

    def stamps(self) -> list[int]:
        """Time of every frame in ticks, in order; empty where the container does not tell them without decoding."""
        if self._stamps is None:
            with _opened(self.info.path) as container:
                times = _times(container, picture_stream(container), None)
            whole = not times.cut and len(set(times.stamps)) == times.packets == (times.promised or times.packets)
            self._stamps = times.stamps if whole else []
        return self._stamps

    def frames(self, start: int = 0) -> Iterator[Frame]:
        with _opened(self.info.path) as container:
            yield from _Decoding(self, container, self._threads, self._turn).frames(start)


class _Decoding:
    """One pass over a video."""

    def __init__(self, source: VideoSource, container: av.container.InputContainer, threads: int, turn: Turn) -> None:
        self.source, self.container, self.turn = source, container, turn
        self.stream = picture_stream(container)
        self.info = source.info
        self.stream.codec_context.thread_type = "NONE" if _careful(self.info) else "AUTO"
        self.stream.codec_context.thread_count = threads
        self.packets = self.lost = self.first = 0
        self.cut = False
        # AVI stores frames in slots of equal length and no times of showing; the decoder's guess is late by its delay.
        self.slots: list[int] | None = [] if self.info.container == "avi" else None
        self.size: tuple[str, int, int] | None = None

    def frames(self, start: int) -> Iterator[Frame]:
        pictures, count = self._from(start)
        self.first = count
        for picture, damage in _settled(pictures):
            if damage and count >= start:
                self.source._skip(f"{count + 1:05d}.png", damage)
            self._watch_for_change(picture, count)
            stamp = heapq.heappop(self.slots) if self.slots else picture.pts
            if count >= start:
                yield self._frame(count, picture, stamp, bool(damage))
            count += 1
        self._account(count)
        if not count:
            raise NoFrames(
                "Not one frame of the video could be decoded.",
                hint="Try to play it; if it plays, convert it, for example to H.264 in MP4.", path=self.info.path,
            )  # fmt: skip

    def _from(self, start: int) -> tuple[Iterator[av.VideoFrame], int]:
        """Pictures from `start`, or from the front where jumping there is not certain to be exact; which of the two."""
        stamps = self.source.stamps() if start >= _WORTH_A_JUMP and self.slots is None else []
        if start >= len(stamps):
            return self._pictures(), 0
        target = stamps[start]
        self.container.seek(target, stream=self.stream)
        pictures = itertools.dropwhile(lambda picture: picture.pts is None or picture.pts < target, self._pictures())
        first = next(pictures, None)
        if first is not None and first.pts == target:
            return itertools.chain([first], pictures), start
        return self._afresh(), 0

    def _afresh(self) -> Iterator[av.VideoFrame]:
        with _opened(self.info.path) as self.container:
            self.stream = picture_stream(self.container)
            self.packets = self.lost = 0
            yield from self._pictures()

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """Decoded frames as they come.

        With several threads a packet that fails takes good neighbours with it, so from the first failure on the file is
        read again without them.
        """
        given = 0
        try:
            for packet in self._read():
                for picture in packet.decode():
                    yield picture
                    given += 1
        except av.FFmpegError:
            yield from self._patiently(given + self.first)

    def _patiently(self, given: int) -> Iterator[av.VideoFrame]:
        """Frames after the first `given`, decoded in one thread; packets that fail are counted."""
        self.packets = 0
        with _opened(self.info.path) as self.container:
            self.stream = picture_stream(self.container)
            self.stream.codec_context.thread_type = "NONE"
            for packet in self._read():
                try:
                    pictures = packet.decode()
                except av.FFmpegError:
                    self.lost += 1
                    continue
                yield from pictures[given:]
                given = max(given - len(pictures), 0)

    def _read(self) -> Iterator[av.Packet[Any]]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except BROKEN:
                self.cut = True
                return
            if packet is None:
                return
            self.packets += packet.size > 0 and not packet.is_corrupt
            if self.slots is not None and packet.dts is not None:
                heapq.heappush(self.slots, packet.dts)
            yield packet

    def _frame(self, index: int, picture: av.VideoFrame, stamp: int | None, damaged: bool) -> Frame:
        tags = _tags_of(picture).or_else(self.info.tags)
        duration = picture.duration or None
        upright = planar.turned(planar.plain(picture), self.turn)
        base = Fraction(picture.time_base or self.info.time_base)
        return Frame(index, f"{index + 1:05d}.png", upright, stamp, base, duration, damaged, tags)

    def _watch_for_change(self, picture: av.VideoFrame, index: int) -> None:
        seen = (picture.format.name, picture.width, picture.height)
        if self.size is not None and seen != self.size:
            old, new = ("{} {}x{}".format(*values) for values in (self.size, seen))
            _add(self.info.problems, f"the picture changes from {old} to {new} at frame {index + 1}")
        self.size = seen

    def _account(self, count: int) -> None:
        """Name what the container promised and did not give."""
        if self.first:
            return
        promised = max(self.stream.frames, self.packets)
        short = self.stream.frames > self.packets
        missing = promised - count
        if missing <= 0 or not (short or self.lost or self.cut):
            return
        self.source._skip_run(count, missing, "the file ends before this frame" if short else "it could not be decoded")
        _add(self.info.problems, f"{missing} of {promised} frames are missing")


def _settled(pictures: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, str | None]]:
    """Each picture with what is wrong with it.

    The decoder flags the pictures whose own data is damaged. Those that were predicted from such a one are damaged too:
    B pictures shown before a flagged P picture, and after it everything up to the next clean key frame. A flagged B
    picture harms no P picture. Holds back at most one run of B pictures.
    """
    waiting: list[tuple[av.VideoFrame, str | None]] = []
    tainted = False
    for picture in pictures:
        flagged = picture.is_corrupt
        is_b = picture.pict_type == av.video.frame.PictureType.B
        if picture.key_frame and not flagged:
            tainted = False
        damage = "its data is damaged" if flagged else "it is predicted from a damaged frame" if tainted else None
        if is_b and len(waiting) < 32:
            waiting.append((picture, damage))
            continue
        if flagged:
            tainted = True
            waiting = [(held, harm or "it is predicted from a damaged frame") for held, harm in waiting]
        yield from waiting
        waiting = []
        yield picture, damage
    yield from waiting


def probe_video(path: Path, *, count: bool) -> FootageInfo:
    """What a video is. count: read it once through, without decoding, for the exact number of frames and the rate."""
    return _describe(path, count=count)[0]


def look_at_scan(path: Path) -> str | None:
    """What the moving pictures at the front show: progressive, tff or bff; None where too little moves."""
    from understudy.media.fields import LOOKED_AT, scan_of

    with _opened(path) as container:
        picture_stream(container).thread_type = "AUTO"
        pictures = itertools.islice(_whatever_decodes(container), LOOKED_AT)
        return scan_of(planar.planes_of(picture)[0] for picture in pictures)


def _whatever_decodes(container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """Planar pictures with luma; of others nothing can be told."""
    with contextlib.suppress(*BROKEN):
        for packet in container.demux(picture_stream(container)):
            with contextlib.suppress(av.FFmpegError):
                for picture in packet.decode():
                    upright = planar.plain(picture)
                    layout = planar.layout_of(upright.format.name)
                    if layout is not None and not layout.packed and upright.height >= 8:
                        yield upright


def _opened(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path.absolute()), options=_SECURE, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if container.format.name in _NOT_FOOTAGE or not _moving(container):
        kind = container.format.long_name or container.format.name
        container.close()
        raise UnreadableMedia(
            f"There is no picture in this file (it looks like: {kind}).", hint="Choose a video file.", path=path
        )
    return container


def _moving(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Streams of moving pictures; the cover of an album is none."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def picture_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that is read: the default one, else the first."""
    streams = _moving(container)
    return next((s for s in streams if s.disposition & av.stream.Disposition.default), streams[0])


def _unreadable(path: Path, error: Exception) -> UnreadableMedia:
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return UnreadableMedia("The video file is empty (0 bytes).", hint="Copy it again.", path=path)
    return UnreadableMedia(
        f"This is no video that can be read: {getattr(error, 'strerror', None) or error}.",
        hint="If it was cut off while recording or copying, its index is missing: copy it again, or repair it with a "
        "tool for that; text and project files are no footage.",
        path=path,
    )


@dataclass(frozen=True)
class _Times:
    """Presentation times of packets in order of showing, and whether they are all of them."""

    stamps: list[int]
    last_duration: int
    packets: int
    promised: int
    whole: bool
    cut: bool


def _describe(path: Path, *, count: bool) -> tuple[FootageInfo, Turn]:
    with _opened(path) as container:
        stream = picture_stream(container)
        context = stream.codec_context
        first = _first_picture(container, path)
        times = _times(container, stream, None if count else _LOOK_AHEAD)
        turn = _turn_of(first)
        upright = planar.turned(planar.plain(first), turn)
        base = Fraction(stream.time_base or Fraction(1, 1000))
        rate, vfr = _rate(stream, times, base)
        tags = _tags_of(context)
        sar = Fraction(stream.sample_aspect_ratio or 1)
        frames, exact = _count(stream, times, rate, container, base)
        start = first.pts if first.pts is not None else (stream.start_time or 0)
        start = times.stamps[0] if container.format.name == "avi" and times.stamps else start
        info = FootageInfo(
            path, FootageKind.VIDEO, upright.width, upright.height, upright.format.name,
            _bits(upright.format.name), codec=context.name, container=container.format.name, rate=rate, vfr=vfr,
            frames=frames, frames_exact=exact, time_base=base, start=start * base,
            duration=_duration(stream, times, base, rate), tags=tags.or_else(_tags_of(first)), rotation=turn.degrees,
            mirrored=turn.mirrored, sar=1 / sar if turn.transpose else sar, interlaced=bool(first.interlaced_frame),
            field_order=_INTERLACED.get(context.field_order) if first.interlaced_frame else None,
            audio=_tracks(container), timecode=_timecode(container),
        )  # fmt: skip
        info = replace(info, scan=look_at_scan(path) if count else None)
        return replace(info, problems=_problems(info, stream, times)), turn


def _first_picture(container: av.container.InputContainer, path: Path) -> av.VideoFrame:
    """The first frame; the container has been read as far as that."""
    with contextlib.suppress(*BROKEN):
        for packet in container.demux(picture_stream(container)):
            with contextlib.suppress(av.FFmpegError):
                if pictures := packet.decode():
                    return pictures[0]
    raise NoFrames(
        "Not one frame of the video could be decoded.",
        hint="Try to play it; if it plays, convert it, for example to H.264 in MP4.", path=path,
    )  # fmt: skip


def _times(container: av.container.InputContainer, stream: Any, limit: int | None) -> _Times:
    stamps: list[int] = []
    packets = last_duration = 0
    latest = -(1 << 63)
    slotted = container.format.name == "avi"
    whole, cut = True, False
    with _opened(_path_of(container)) as fresh:
        same = fresh.streams[stream.index]
        try:
            for packet in fresh.demux(same):
                if not packet.size or packet.is_corrupt or packet.is_discard:
                    continue
                packets += 1
                stamp = packet.dts if slotted else packet.pts
                if stamp is not None:
                    stamps.append(stamp)
                    if stamp >= latest:
                        latest, last_duration = stamp, packet.duration or last_duration
                if limit is not None and packets >= limit:
                    whole = False
                    break
        except BROKEN:
            cut = True
    return _Times(sorted(stamps), last_duration, packets, stream.frames, whole, cut)


def _path_of(container: av.container.InputContainer) -> Path:
    return Path(container.name)


def _rate(stream: Any, times: _Times, base: Fraction) -> tuple[Fraction | None, bool]:
    """Frames per second and whether the steps vary by more than the rounding of the time base."""
    candidates = [Fraction(value) for value in (stream.average_rate, stream.base_rate, stream.guessed_rate) if value]
    stamps = times.stamps if len(times.stamps) == times.packets else []
    if len(stamps) < 2:
        return (candidates[-1] if candidates else None), False
    span = Fraction(stamps[-1] - stamps[0]) * base / (len(stamps) - 1)
    for rate in [*candidates, *([1 / span] if span else [])]:
        step = 1 / (rate * base)
        if all(abs(stamp - stamps[0] - i * step) <= 1 for i, stamp in enumerate(stamps)):
            return rate, False
    length = Fraction(stamps[-1] - stamps[0] + times.last_duration) * base
    return (len(stamps) / length if length else None), True


def _count(
    stream: Any, times: _Times, rate: Fraction | None, container: av.container.InputContainer, base: Fraction
) -> tuple[int | None, bool]:
    if times.whole and not times.cut:
        return times.packets, True
    if stream.frames:
        return int(stream.frames), False
    if stream.duration and rate:
        return round(stream.duration * base * rate), False
    if container.duration and rate:
        return round(Fraction(container.duration, av.time_base) * rate), False
    return None, False


def _duration(stream: Any, times: _Times, base: Fraction, rate: Fraction | None) -> Fraction | None:
    if times.whole and times.stamps:
        last = times.last_duration or (round(1 / (rate * base)) if rate else 0)
        return (times.stamps[-1] - times.stamps[0] + last) * base
    return stream.duration * base if stream.duration else None


def _problems(info: FootageInfo, stream: Any, times: _Times) -> list[str]:
    problems = []
    if times.cut or (times.whole and stream.frames > times.packets):
        problems.append(f"the file is cut off: it promises {stream.frames or 'more'} frames and holds {times.packets}")
    if info.vfr:
        problems.append("the frame rate varies; every frame keeps its own time")
    if info.interlaced and info.scan == "progressive":
        problems.append("it is marked as interlaced, but what moves is not combed")
    elif info.interlaced or info.scan in ("tff", "bff"):
        unsaid = "" if info.interlaced else ", though it does not say so"
        problems.append(f"the picture is interlaced{unsaid}: moving edges are combed")
    if info.sar != 1:
        problems.append(
            f"pixels are not square ({info.sar.numerator}:{info.sar.denominator}): faces look stretched unless squared"
        )
    if info.width % 2 or info.height % 2:
        problems.append(f"the size is odd ({info.width}x{info.height}): results store the colour of every pixel")
    for number, track in enumerate(info.audio):
        late = Fraction(0) if track.start is None else track.start - info.start
        if late > _LATE_SOUND:
            problems.append(f"sound track {number} begins {float(late):.2f} s after the picture; it stays there")
    if info.tags.transfer in ("smpte2084", "arib-std-b67"):
        problems.append("high dynamic range: worked on in its own encoding, where it looks flat; the tags are kept")
    return problems


def _turn_of(picture: av.VideoFrame) -> Turn:
    data = cast(Any, picture.side_data).get(SideData.DISPLAYMATRIX)
    return from_display_matrix(bytes(data)) if data is not None else UPRIGHT


def _tags_of(picture: av.VideoFrame | av.VideoCodecContext) -> ColourTags:
    return ColourTags.from_codes(
        picture.color_range, picture.colorspace, picture.color_trc, picture.color_primaries
    )  # fmt: skip


def _bits(name: str) -> int:
    layout = planar.layout_of(name)
    return layout.bits if layout else 8


def _tracks(container: av.container.InputContainer) -> tuple[AudioTrack, ...]:
    return tuple(
        AudioTrack(
            stream.index, stream.codec_context.name if stream.codec_context else "unknown",
            stream.codec_context.channels if stream.codec_context else 0,
            stream.codec_context.sample_rate if stream.codec_context else 0, _language(stream),
            bool(stream.disposition & av.stream.Disposition.default), _seconds(stream.start_time, stream.time_base),
            _seconds(stream.duration, stream.time_base),
        )
        for stream in container.streams.audio
    )  # fmt: skip


def _language(stream: Any) -> str | None:
    language = stream.metadata.get("language")
    return None if language in (None, "", "und") else str(language)


def _seconds(value: int | None, base: Fraction | None) -> Fraction | None:
    return None if value is None or base is None else value * Fraction(base)


def _timecode(container: av.container.InputContainer) -> str | None:
    for holder in (*container.streams, container):
        if code := holder.metadata.get("timecode"):
            return str(code)
    return None


def _add(problems: list[str], problem: str) -> None:
    if problem not in problems and len(problems) < 50:
        problems.append(problem)
