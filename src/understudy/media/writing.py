"""Frames out: a video with the times, tags and sound of its footage, or a folder of pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np

from understudy.errors import EncodingFailed
from understudy.files import TEMP_PREFIX, os_errors, write_bytes, writing
from understudy.imaging.files import encode_jpg, encode_png, write_exr
from understudy.imaging.transfer import linear_from_srgb
from understudy.media import planes as planar
from understudy.media.frames import Frame
from understudy.media.info import ColourTags, FootageInfo
from understudy.media.options import EncodeOptions, FrameFormat, VideoCodec, VideoFormat
from understudy.media.sound import Sound, SoundCut

_ENCODERS = {
    VideoCodec.H264: "libx264", VideoCodec.HEVC: "libx265", VideoCodec.FFV1: "ffv1", VideoCodec.PRORES: "prores_ks",
}  # fmt: skip
_HOLDS = {
    VideoFormat.MP4: (VideoCodec.H264, VideoCodec.HEVC, VideoCodec.FFV1),
    VideoFormat.MOV: (VideoCodec.H264, VideoCodec.HEVC, VideoCodec.PRORES),
    VideoFormat.MKV: (VideoCodec.H264, VideoCodec.HEVC, VideoCodec.FFV1, VideoCodec.PRORES),
    VideoFormat.AVI: (VideoCodec.H264, VideoCodec.FFV1),
}
_SAME_RGB = {  # 8-bit RGB in the order that FFV1 takes
    **dict.fromkeys(("gbrp", "rgb24", "bgr24", "rgb0", "0rgb", "0bgr"), "bgr0"),
    **dict.fromkeys(("gbrap", "rgba", "argb", "abgr"), "bgra"),
}
_ABOUT_THE_DISK = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
_MUXER = {VideoFormat.MKV: "matroska"}


@contextlib.contextmanager
def encoding_errors(path: Path, what: str, *, hint: str) -> Iterator[None]:
    """FFmpeg's errors as EncodingFailed, which begins with `what`; a disk that is full or refuses is told as it is."""
    with os_errors(path):
        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _ABOUT_THE_DISK:
                raise OSError(error.errno, error.strerror) from error
            raise EncodingFailed(f"{what}: {error}.", hint=hint, path=path) from error


class VideoWriter:
    """Writes a video that takes its size, tags, times and sound from `like`; it appears under its name when complete.

        with VideoWriter(path, like=footage.info, options=options, audio_from=footage.info.path) as video:
            for frame in frames:
                video.write(frame)

    Frames must come in order. A frame of another size or pixel format is converted. Leaving the block by an error
    removes the unfinished file. sound_cut: which part of the sound, else all of it. metadata: of the whole file, such
    as its title. notes: what could not be kept exactly. Raises EncodingFailed when the format cannot
    hold the footage, DiskFull and ReadOnlyWorkspace from writing.
    """

    def __init__(
        self, path: Path, like: FootageInfo, *, options: EncodeOptions | None = None, audio_from: Path | None = None,
        sound_cut: SoundCut | None = None, metadata: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.path, self.like = Path(path), like
        self._sound_cut, self._metadata = sound_cut, metadata or {}
        self.options = options or EncodeOptions()
        self.count = 0
        self.notes: list[str] = []
        self._plan = plan(like, self.options)
        self._tags = _written_tags(like, self._plan.pix_fmt, linear=self.options.lossless)
        self._times = _Times(like, self._plan.variable, self.options)
        if like.vfr and not self._plan.variable:
            self._note(f"the varying times of dst became {float(self._times.rate):.3f} frames/s: avi keeps no times")
        if like.interlaced and "x264-params" not in self._plan.settings:
            self._note("the result is not marked as interlaced")
        self._stack = contextlib.ExitStack()
        self._audio_from = audio_from
        self._sound: Sound | None = None
        self._durations: dict[int, int] = {}
        self._last: int | None = None
        self._last_dts: int | None = None
        self._temp = self._stack.enter_context(writing(self.path))
        try:
            self._open()
        except BaseException as error:
            self._abandon(error)
            raise

    @property
    def pix_fmt(self) -> str:
        """The pixel format that is written."""
        return self._plan.pix_fmt

    def write(self, frame: Frame) -> None:
        """Append one frame."""
        picture = planar.converted(frame.native(), self._plan.pix_fmt, self._tags, (self.like.width, self.like.height))
        if picture is frame.native():
            picture = planar.copy_of(picture)  # its time is about to change, and the frame is shared
        stamp, duration = self._times.of(frame, self.count)
        if self._last is not None and stamp <= self._last:
            stamp = self._last + 1
            self._note("times that did not increase were moved by one tick")
        self._last = stamp
        picture.pts, picture.time_base = stamp, self._times.base
        self._durations[stamp] = duration
        self.count += 1
        with self._failing():
            for packet in self._stream.encode(picture):
                self._mux(packet)

    def finish(self) -> Path:
        """Write what is still held back and publish the file. Raises EncodingFailed when no frame was written."""
        try:
            if not self.count:
                raise EncodingFailed("There is no frame to write.", hint="Merge first.", path=self.path)
            with self._failing():
                for packet in self._stream.encode(None):
                    self._mux(packet)
                if self._sound is not None:
                    self._sound.finish()
                self._container.close()
            if self._sound is not None:
                self._sound.close()
        except BaseException as error:
            self._abandon(error)
            raise
        self._stack.close()
        return self.path

    def abandon(self) -> None:
        """Remove the unfinished file."""
        self._abandon(EncodingFailed("abandoned"))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self._abandon(error)

    def _open(self) -> None:
        form = self.options.format
        settings = {"movflags": "+faststart"} if form is VideoFormat.MP4 else {}
        if form in (VideoFormat.MP4, VideoFormat.MOV):
            settings["video_track_timescale"] = str(self._times.base.denominator)
            settings["movie_timescale"] = str(self._ticks_of_starts())
        with self._failing():
            self._container = av.open(
                str(self._temp), "w", format=_MUXER.get(form, str(form)), container_options=settings
            )  # fmt: skip
            self._stream = self._add_video()
            if self._audio_from is not None and self.options.include_audio and self.like.audio:
                self._sound = Sound(
                    self._container, self._audio_from, form, self._times.zero, self._note, self._sound_cut
                )  # fmt: skip
            self._container.metadata.update(self._metadata)
            self._container.start_encoding()

    def _ticks_of_starts(self) -> int:
        """Ticks per second in which MP4 says how much later a track begins: of the track that does begin later."""
        late = [track.rate for track in self.like.audio if track.start is not None and track.start > self._times.zero]
        return late[0] if late and late[0] and self.like.start == self._times.zero else self._times.base.denominator

    def _add_video(self) -> av.VideoStream:
        made, like, base = self._plan, self.like, self._times.base
        rate = like.rate or 1 / base
        stream = cast(
            av.VideoStream, self._container.add_stream(made.encoder, rate=rate, options=made.settings)
        )  # fmt: skip
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = like.width, like.height, made.pix_fmt
        context.time_base = stream.time_base = base
        context.framerate = rate
        context.thread_count = self.options.threads
        if like.sar != 1:
            context.sample_aspect_ratio = like.sar
            stream.sample_aspect_ratio = like.sar
        if made.bitrate:
            context.bit_rate = made.bitrate
        if made.tag:
            context.codec_tag = made.tag
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = self._tags.codes()
        if like.timecode and self.options.format in (VideoFormat.MP4, VideoFormat.MOV):
            stream.metadata["timecode"] = like.timecode
        return stream

    def _mux(self, packet: av.Packet[Any]) -> None:
        if packet.pts is not None and packet.time_base is not None:
            ticks = round(packet.pts * packet.time_base / self._times.base)
            duration = self._durations.pop(ticks, None)
            if duration:
                packet.duration = round(duration * self._times.base / packet.time_base)
        self._mend_order(packet)
        if self._sound is not None and packet.dts is not None and packet.time_base is not None:
            self._sound.up_to(packet.dts * packet.time_base)
        self._container.mux(packet)

    def _mend_order(self, packet: av.Packet[Any]) -> None:
        """Give packets a sane time of decoding where x265 does not: of clips shorter than its delay it is random."""
        if packet.pts is None or packet.time_base is None:
            return
        hour, last = round(3600 / packet.time_base), self._last_dts
        sane = packet.dts is not None and packet.pts - hour < packet.dts <= packet.pts
        if not sane or packet.dts is None or (last is not None and packet.dts <= last):
            step = round(self._times.step * self._times.base / packet.time_base)
            packet.dts = packet.pts - 4 * step if last is None else min(last + 1, packet.pts)
        self._last_dts = packet.dts

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _failing(self) -> contextlib.AbstractContextManager[None]:
        what = (
            f"{self._plan.codec} in {self.options.format} cannot hold this footage "
            f"({self._plan.pix_fmt} {self.like.width}x{self.like.height})"
        )
        hint = "Try --format mkv, or another --codec; --compatible always plays."
        return encoding_errors(self.path, what, hint=hint)

    def _abandon(self, error: BaseException) -> None:
        with contextlib.suppress(Exception):
            self._container.close()
        if self._sound is not None:
            self._sound.close()
        with contextlib.suppress(type(error)):
            self._stack.__exit__(type(error), error, error.__traceback__)


def _written_tags(like: FootageInfo, pix_fmt: str, *, linear: bool) -> ColourTags:
    """What the written planes mean: the tags of the footage, or those of video where its RGB becomes YUV.

    Linear plates are display-encoded on the way unless `linear`.
    """
    source, written = planar.layout_of(like.pix_fmt), planar.layout_of(pix_fmt)
    tags = like.tags
    if tags.transfer == "linear" and not linear:
        tags = dataclasses.replace(tags, transfer="iec61966-2-1", primaries=tags.primaries or "bt709")
    if written is None or written.family is not planar.Family.YUV:
        return tags
    if source is not None and source.family is planar.Family.RGB:
        return planar.effective(dataclasses.replace(tags, range=None, matrix=None), like.width, like.height)
    return dataclasses.replace(tags, range="pc") if written.full else tags


@dataclasses.dataclass(frozen=True)
class Plan:
    """How footage will be encoded. variable: whether the container keeps a time for every frame."""

    codec: VideoCodec
    encoder: str
    pix_fmt: str
    settings: dict[str, str]
    bitrate: int = 0
    tag: str = ""
    variable: bool = True


def plan(like: FootageInfo, options: EncodeOptions) -> Plan:
    """Choose codec, pixel format and encoder settings. Raises EncodingFailed for what does not go together."""
    pix_fmt = planar.plain_format(like.pix_fmt)
    if options.lossless:
        pix_fmt = _SAME_RGB.get(pix_fmt, pix_fmt)
    codec = options.codec
    if codec is VideoCodec.AUTO:
        codec = _fitting_codec(like, pix_fmt, options)
    if codec not in _HOLDS[options.format]:
        raise EncodingFailed(
            f"{options.format} files do not hold {codec}.",
            hint=f"Choose one of {', '.join(_HOLDS[options.format])}, or the format mkv.",
        )
    encoder = _ENCODERS[codec]
    if options.lossless and not _encodes(encoder, pix_fmt, like):
        raise EncodingFailed(
            f"{codec} cannot keep {pix_fmt} {like.width}x{like.height} without loss.",
            hint="Leave --codec away, or use --codec ffv1 --format mkv.",
        )
    written = pix_fmt if options.lossless else _nearest(encoder, pix_fmt, like, options)
    return Plan(
        codec, encoder, written, _settings(codec, options, like),
        0 if options.lossless else round(options.bitrate * 1e6),
        "hvc1" if codec is VideoCodec.HEVC and options.format is not VideoFormat.MKV else "",
        options.format is not VideoFormat.AVI,
    )  # fmt: skip


def _fitting_codec(like: FootageInfo, pix_fmt: str, options: EncodeOptions) -> VideoCodec:
    layout = planar.layout_of(pix_fmt)
    if options.lossless:
        return VideoCodec.H264 if _encodes("libx264", pix_fmt, like) else VideoCodec.FFV1
    deep = layout is not None and layout.bits > 8 and not options.compatible
    return VideoCodec.HEVC if deep and options.format is not VideoFormat.AVI else VideoCodec.H264


def _formats(encoder: str) -> list[str]:
    return [item.name for item in av.Codec(encoder, "w").video_formats or []]


def _encodes(encoder: str, pix_fmt: str, like: FootageInfo) -> bool:
    """Whether the encoder takes this pixel format at this size; x264 and x265 want whole chroma samples."""
    layout = planar.layout_of(pix_fmt)
    if pix_fmt not in _formats(encoder) or layout is None:
        return False
    if layout.family is planar.Family.GREY and encoder != "ffv1":
        return False  # decoders give grey H.264 and HEVC out as 4:2:0
    across, down = layout.sub
    return encoder == "ffv1" or not (like.width % across or like.height % down)


def _nearest(encoder: str, pix_fmt: str, like: FootageInfo, options: EncodeOptions) -> str:
    """The pixel format to encode: the footage's own if it can be, else the nearest that holds as much."""
    layout = planar.layout_of(pix_fmt)
    assert layout is not None
    is_video = layout.family is planar.Family.YUV
    bits = 8 if options.compatible or layout.bits == 8 else layout.bits if is_video and layout.bits > 10 else 10
    sub = {(2, 2): "420", (2, 1): "422"}.get(layout.sub, "444") if is_video and not options.compatible else "420"
    depths = {8: ("",), 10: ("10le", ""), 12: ("12le", "10le", "")}.get(bits, ("16le", "12le", "10le", ""))
    wanted = [] if options.compatible else [pix_fmt]
    letter = "j" if layout.full and layout.family is planar.Family.YUV else ""
    wanted += [f"yuv{letter}{s}p{depth}" for depth in depths for s in dict.fromkeys((sub, "422", "444"))]
    wanted += [f"yuv{s}p{depth}" for depth in depths for s in dict.fromkeys((sub, "422", "444"))]
    for name in wanted:
        if _encodes(encoder, name, like):
            return name
    raise EncodingFailed(
        f"{encoder} cannot encode {pix_fmt} {like.width}x{like.height}.", hint="Try --codec ffv1 --format mkv."
    )  # fmt: skip


def _settings(codec: VideoCodec, options: EncodeOptions, like: FootageInfo) -> dict[str, str]:
    if codec is VideoCodec.FFV1:
        return {"level": "3", "slicecrc": "1"}
    if codec is VideoCodec.PRORES:
        return {"profile": "3" if re.search("42[02]", like.pix_fmt) else "4"}
    settings = {"preset": str(options.preset)}
    if codec is VideoCodec.HEVC:
        settings["x265-params"] = "log-level=error" + (":lossless=1" if options.lossless else "")
    elif options.lossless:
        settings["qp"] = "0"
    if not options.lossless and not options.bitrate:
        settings["crf"] = str(options.crf)
    if options.format is VideoFormat.AVI:
        settings["bf"] = "0"  # AVI keeps no presentation times, so frames must be shown as they are stored
    if like.interlaced and codec is VideoCodec.H264 and not options.lossless:  # lossless fields of x264 are not exact
        settings["x264-params"] = "bff=1" if like.field_order == "bff" else "tff=1"
    return settings


class _Times:
    """Where on the result's clock a frame lies. zero: the time of the footage, of its first stream, that becomes 0."""

    def __init__(self, like: FootageInfo, variable: bool, options: EncodeOptions) -> None:
        self.rate = Fraction(options.fps).limit_denominator(1001) if options.fps else like.nominal_rate
        timed = like.rate is not None and variable
        self.base = like.time_base if timed else 1 / self.rate
        starts = [like.start, *(track.start for track in like.audio if track.start is not None)]
        self.zero = min(starts) if options.include_audio and like.audio else like.start
        self._offset = like.start - self.zero
        self._timed = timed
        self.step = max(1, round(1 / (self.rate * self.base)))

    def of(self, frame: Frame, position: int) -> tuple[int, int]:
        """Time stamp and duration in ticks of `base`."""
        if self._timed and frame.pts is not None:
            stamp = round((frame.pts * frame.time_base - self.zero) / self.base)
            duration = round(frame.duration * frame.time_base / self.base) if frame.duration else self.step
            return stamp, duration
        return round((position / self.rate + self._offset) / self.base), self.step


class FrameFolderWriter:
    """Writes frames as picture files named by their stem, each complete or not there at all.

    png: 8 bit for 8-bit sources, else 16 bit, RGB-exact; jpg: 8 bit; exr: half float, linear light. Thread-safe.
    """

    def __init__(self, folder: Path, format: FrameFormat = FrameFormat.PNG, *, quality: int = 95) -> None:  # noqa: A002
        self.folder, self.format, self.quality = Path(folder), format, quality
        with os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, frame: Frame) -> Path:
        """Where the frame goes."""
        return self.folder / f"{Path(frame.name).stem}.{self.format}"

    def write(self, frame: Frame) -> Path:
        """Write one frame. Raises DiskFull, ReadOnlyWorkspace."""
        path = self.path_of(frame)
        if self.format is FrameFormat.EXR:
            self._write_exr(path, frame)
        else:
            write_bytes(path, self._encoded(frame), durable=False)
        return path

    def _encoded(self, frame: Frame) -> bytes:
        if self.format is FrameFormat.JPG:
            return encode_jpg(frame.rgb8, quality=self.quality)
        return encode_png(frame.rgb16 if frame.bit_depth > 8 else frame.rgb8, frame.matte)

    def _write_exr(self, path: Path, frame: Frame) -> None:
        linear = np.dstack([frame.planes()[i] for i in (2, 0, 1)]) if frame.is_linear else linear_from_srgb(frame.rgb)
        temp = path.with_name(f"{TEMP_PREFIX}{path.name}")
        with os_errors(path):
            write_exr(temp, linear, frame.matte)
            temp.replace(path)
