"""A part of a video as a video of its own: by encoding its frames anew, or by copying packets where that is exact."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av

from understudy.errors import EncodingFailed, Interrupted, UsageError
from understudy.files import os_errors, writing
from understudy.media.footage import open_footage
from understudy.media.frames import Frame
from understudy.media.info import FootageInfo
from understudy.media.options import CutOptions, EncodeOptions, StreamCopy, VideoCodec, VideoFormat
from understudy.media.sound import Sound, SoundCut
from understudy.media.timecode import Moment, advanced, clock, frames_of_code, parse_moment
from understudy.media.video import BROKEN, VideoSource, picture_stream, probe_video
from understudy.media.writing import VideoWriter, encoding_errors
from understudy.records import Skipped
from understudy.report import Pace, Report, Stop

HALF_A_MILLI = Fraction(1, 2000)
"""Typed and printed times are rounded to the millisecond, so a frame may be this much before the time that names it."""

_FORMATS = {".mp4": VideoFormat.MP4, ".m4v": VideoFormat.MP4, ".mov": VideoFormat.MOV, ".mkv": VideoFormat.MKV,
            ".webm": VideoFormat.MKV, ".avi": VideoFormat.AVI}  # fmt: skip
_MUXERS = {"avi": "avi", "mpegts": "mpegts", "mpeg": "vob", "flv": "flv", "gif": "gif", "mxf": "mxf", "asf": "asf",
           "ogg": "ogg"}  # fmt: skip
_OURS_TO_WRITE = ("major_brand", "minor_version", "compatible_brands", "encoder", "timecode", "duration")


@dataclass(frozen=True)
class Part:
    """Which frames: those of index `first` to before `end` that lie at `start` to before `stop` seconds.

    Seconds count from the first frame of the footage; None is no limit.
    """

    first: int = 0
    end: int | None = None
    start: Fraction | None = None
    stop: Fraction | None = None

    def place(self, index: int, seconds: Fraction) -> int:
        """-1 before the part, 0 in it, 1 after it."""
        if index < self.first or (self.start is not None and seconds < self.start - HALF_A_MILLI):
            return -1
        is_after = self.stop is not None and seconds >= self.stop - HALF_A_MILLI
        return 1 if is_after or (self.end is not None and index >= self.end) else 0


@dataclass
class Cut:
    """How a cut went. copied: packets were copied. first: index of its first frame in the footage."""

    path: Path
    frames: int
    first: int
    copied: bool
    notes: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rate: float | None = None


def part_of(info: FootageInfo, from_: str, to: str) -> Part:
    """The part that was asked for. Raises UsageError for what lies outside the footage or ends before it begins."""
    begin, finish = parse_moment(from_), parse_moment(to)
    first, start = _where(info, begin, "--from")
    end, stop = _where(info, finish, "--to")
    if finish is not None and finish.frame is not None and end is not None:
        end += 1  # the frame that is named is the last one
    if stop == 0 and finish is not None and finish.seconds is not None:
        stop = None  # 00:00:00.000 stands for the end, as in the reference program
    if (end is not None and end <= (first or 0)) or (stop is not None and stop <= (start or 0)):
        raise UsageError(
            f"The cut ends ({to}) before it begins ({from_ or 'at the start'}).", hint="Give a later --to."
        )
    length = info.duration
    late = start is not None and length is not None and start - HALF_A_MILLI >= length
    if late or (first is not None and info.frames_exact and info.frames is not None and first >= info.frames):
        raise _outside(info, from_)
    return Part(first or 0, end, start, stop)


def _where(info: FootageInfo, moment: Moment | None, flag: str) -> tuple[int | None, Fraction | None]:
    """The frame index or the seconds of a moment."""
    if moment is None:
        return None, None
    if moment.code is None:
        return moment.frame, moment.seconds
    rate = info.nominal_rate
    try:
        count = frames_of_code(moment.code, rate)
        zero = frames_of_code(info.timecode, rate) if info.timecode else 0
    except ValueError as error:
        raise UsageError(f"{flag}: {error}.", hint="Or give a time as hh:mm:ss.mmm, or a frame as f123.") from None
    if count < zero:
        raise UsageError(
            f"{flag}: {moment.code} is before the footage, whose timecode begins at {info.timecode}.",
            hint="Count from the first frame with hh:mm:ss.mmm, or name a frame with f123.",
        )
    return (None, (count - zero) / rate) if info.vfr else (count - zero, None)


def _outside(info: FootageInfo, text: str) -> UsageError:
    length = f" and lasts {clock(info.duration)}" if info.duration is not None else ""
    return UsageError(
        f"{text or 'The part'} lies outside the footage, which has {info.frames} frames{length}.",
        hint="Look with: understudy video probe FILE", path=info.path,
    )  # fmt: skip


def _no_frame() -> UsageError:
    return UsageError("No frame begins between --from and --to.", hint="Name the frames themselves, as in --from f5.")


def _ends_early(info: FootageInfo, part: Part, made: Cut) -> bool:
    """Whether the footage ended before the part that was asked for."""
    if part.end is not None:
        return made.first + made.frames < part.end and not made.skipped
    return part.stop is not None and info.duration is not None and part.stop - HALF_A_MILLI > info.duration


def cut_path(path: Path, output: str = "", *, copying: bool) -> Path:
    """Where a cut goes: `output`, else `<stem>_cut` beside it, as MP4 or MKV where its kind cannot be written.

    Raises UsageError where `output` is the video itself, or of a kind that cannot be written.
    """
    suffix = Path(output).suffix if output else path.suffix
    is_known = copying or suffix.lower() in (".mp4", ".m4v", ".mov", ".mkv", ".avi")
    if not output:
        other = ".mkv" if suffix.lower() == ".webm" else ".mp4"
        return path.with_name(f"{path.stem}_cut{suffix if is_known else other}")
    target = Path(output).absolute()
    if not is_known or not suffix:
        raise UsageError(
            f"{target.name} is no kind of video that can be written.", hint="Take .mp4, .mov, .mkv or .avi."
        )
    if target.exists() and target.samefile(path):
        raise UsageError("The cut cannot be written over the video itself.", hint="Give --output another name.")
    return target


def plan_copy(footage: VideoSource, part: Part) -> CopyPlan:
    """What a copy of the part would take. Raises UsageError when no frame lies in it."""
    return CopyPlan.of(_packets(footage.info.path), footage.info, part)


@dataclass(frozen=True)
class CopyPlan:
    """packets: how many of the picture, in order of decoding, to pass over and then to take.

    reason: why a copy would not be exact; empty when it is. key_times: seconds at which a copy can begin.
    """

    over: int
    take: int
    start: int
    end: int | None
    first: int
    frames: int
    reason: str
    key_times: list[Fraction]

    @classmethod
    def of(cls, packets: list[tuple[int | None, bool]], info: FootageInfo, part: Part) -> CopyPlan:
        """packets: presentation time in ticks and whether it is a key frame, in order of decoding."""
        base, zero = info.time_base, info.start
        stamps = [stamp for stamp, _ in packets if stamp is not None]
        order = sorted(stamps)
        seconds = {stamp: stamp * base - zero for stamp in order}
        inside = [stamp for i, stamp in enumerate(order) if part.place(i, seconds[stamp]) == 0]
        if not inside:
            raise _no_frame()
        wanted, first, last = set(inside), inside[0], inside[-1]
        keys = sorted(seconds[stamp] for stamp, is_key in packets if is_key and stamp is not None)
        begin = next((i for i, (stamp, _) in enumerate(packets) if stamp == first), 0)
        reason = ""
        if len(stamps) < len(packets) or len(set(stamps)) < len(stamps):
            reason = "the container does not give every frame a time of its own"
        elif not packets[begin][1]:
            near = bisect.bisect(keys, seconds[first])
            around = [clock(key) for key in keys[max(near - 1, 0) : near + 1]]
            verb = "is" if len(around) == 1 else "are"
            reason = f"it would begin between key frames; the nearest {verb} at {' and '.join(around)}"
        finish = max((i for i, (stamp, _) in enumerate(packets) if stamp in wanted), default=0)
        if not reason and any(stamp is not None and stamp > last for stamp, _ in packets[begin:finish]):
            ends = [f"f{number}" for number in _closed_ends(stamps, order, around=order.index(last) + 1)]
            reason = f"its last frames are stored with the help of a later one; it can end with {' or '.join(ends)}"
        return cls(
            begin, finish - begin + 1, first, order[order.index(last) + 1] if last != order[-1] else None,
            order.index(first), len(inside), reason, keys,
        )  # fmt: skip


def _closed_ends(stamps: list[int], order: list[int], *, around: int) -> list[int]:
    """The numbers of frames before and after frame number `around` that nothing stored later helps to show.

    stamps: in order of decoding; order: the same in order of showing.
    """
    closed, latest = [], stamps[0]
    for number, stamp in enumerate(stamps, start=1):
        latest = max(latest, stamp)
        if order[number - 1] == latest:
            closed.append(number)
    near = bisect.bisect(closed, around)
    return closed[max(near - 1, 0) : near + 1]


def _packets(path: Path) -> list[tuple[int | None, bool]]:
    found: list[tuple[int | None, bool]] = []
    with _source(path) as container, contextlib.suppress(*BROKEN):
        for packet in container.demux(picture_stream(container)):
            if packet.size and not packet.is_corrupt and not packet.is_discard:
                found.append((packet.pts, packet.is_keyframe))
    return found


def cut(path: Path, options: CutOptions, *, report: Report, stop: Stop) -> Cut:
    """Write the part of a video beside it. Nothing is left of a cut that fails or is stopped.

    Raises UsageError when the part lies outside, when the name is taken and `replace` is off, or when only a copy is
    allowed and none would be exact; EncodingFailed, DiskFull, ReadOnlyWorkspace, Interrupted, and as `open_footage`.
    """
    with open_footage(path) as footage:
        if not isinstance(footage, VideoSource):
            raise UsageError(
                f"{path.name} is no video file, and only a video can be cut.",
                hint="Of a folder of frames, take away the files that are not wanted.", path=path,
            )  # fmt: skip
        _check_track(footage.info, options.audio_track)
        part = part_of(footage.info, options.from_, options.to)
        made, notes = None, []
        if options.copy_ is not StreamCopy.NO:
            made, reason = _try_copy(footage, part, path, options, report, stop)
            notes += [f"encoded anew, since a copy would not be exact: {reason}"] if made is None else []
        if made is None:
            made = _encode(footage, part, _target(path, options, copying=False), options, report, stop)
        notes += ["the footage ends before --to"] if _ends_early(footage.info, part, made) else []
        made.notes[:0] = notes
        return made


def _try_copy(
    footage: VideoSource, part: Part, path: Path, options: CutOptions, report: Report, stop: Stop
) -> tuple[Cut | None, str]:  # fmt: skip
    """The copy, or why there is none. Raises UsageError or EncodingFailed where nothing else is allowed."""
    plan = plan_copy(footage, part)
    is_only = options.copy_ is StreamCopy.ONLY
    if plan.reason and is_only:
        raise UsageError(
            f"This part cannot be copied exactly: {plan.reason}.",
            hint="Move --from or --to there, or allow encoding with --copy if-possible.", path=path,
        )  # fmt: skip
    if plan.reason:
        return None, plan.reason
    target = _target(path, options, copying=True)
    try:
        return _copy(footage, plan, target, options, report, stop), ""
    except EncodingFailed as error:
        if is_only:
            raise
        return None, error.message.rstrip(".")


def _check_track(info: FootageInfo, track: int) -> None:
    if track >= len(info.audio):
        have = f"tracks 0 to {len(info.audio) - 1}" if info.audio else "no sound"
        raise UsageError(
            f"There is no sound track {track}: {info.path.name} has {have}.", hint="Leave it away for all."
        )


def _target(path: Path, options: CutOptions, *, copying: bool) -> Path:
    target = cut_path(path, options.output, copying=copying)
    with os_errors(target):
        if target.is_dir():
            raise UsageError(f"A folder is called {target.name}.", hint="Rename it.", path=target)
        if target.exists() and not options.replace:
            raise UsageError(
                f"{target.name} exists already.", hint="Rename it, or add --replace to write over it.", path=target
            )
    return target


def _encode(
    footage: VideoSource, part: Part, target: Path, options: CutOptions, report: Report, stop: Stop
) -> Cut:  # fmt: skip
    frames = _frames_of(footage, part)
    head = next(frames, None)
    if head is None:
        raise _no_frame()
    info, writer = footage.info, _encoding(footage.info, _FORMATS[target.suffix.lower()], options)
    start = head.time if head.time is not None else info.start
    end = info.start + part.stop if part.stop is not None else None
    end = end if part.end is None else _time_of(footage, part.end)
    sound = SoundCut(start, end, None if options.audio_track < 0 else options.audio_track)
    like = _info_of_part(info, start, head.index, sound)
    pace = Pace("Cutting", _expected(footage, part, head.index), report)
    with VideoWriter(
        target, like, options=writer, audio_from=info.path, sound_cut=sound, metadata=_metadata(info.path)
    ) as video:
        frame: Frame | None = head
        while frame is not None:
            if stop():
                raise Interrupted("Stopped; nothing was written.", hint="Cutting starts anew.")
            following = next(frames, None)
            video.write(frame if following is not None else _held_until(end, frame))
            pace.advance()
            frame = following
    pace.report_now()
    return Cut(target, video.count, head.index, False, list(video.notes), footage.skipped, pace.rate)


def _held_until(end: Fraction | None, frame: Frame) -> Frame:
    """The last frame, shown until the part ends, as long as its sound lasts; files seldom say it where times vary."""
    if end is None or frame.time is None or end <= frame.time:
        return frame
    return dataclasses.replace(frame, duration=round((end - frame.time) / frame.time_base))


def _encoding(info: FootageInfo, form: VideoFormat, options: CutOptions) -> EncodeOptions:
    """ProRes stays ProRes, which people cut to go on working with it; anything else takes the codec of results."""
    stays = info.codec == "prores" and form in (VideoFormat.MOV, VideoFormat.MKV)
    stays = stays and not (options.lossless or options.bitrate)
    return EncodeOptions.of(
        format=form, codec=VideoCodec.PRORES if stays else VideoCodec.AUTO, lossless=options.lossless,
        bitrate=options.bitrate, crf=options.crf, preset=options.preset, threads=options.threads,
    )  # fmt: skip


def _frames_of(footage: VideoSource, part: Part) -> Iterator[Frame]:
    """The frames of the part, decoded from shortly before it where the container tells its times."""
    guess = 0
    if part.first or part.start is not None:
        guess = next((i for i, seconds in enumerate(_seconds_of(footage)) if part.place(i, seconds) >= 0), 0)
    for frame in footage.frames(guess):
        place = part.place(frame.index, footage.time_of(frame) - footage.info.start)
        if place > 0:
            return
        if place == 0:
            yield frame


def _seconds_of(footage: VideoSource) -> list[Fraction]:
    """Seconds of every frame since the first; empty where only decoding tells."""
    return [stamp * footage.info.time_base - footage.info.start for stamp in footage.stamps()]


def _time_of(footage: VideoSource, index: int) -> Fraction | None:
    """The time of a frame in seconds; None behind the last one."""
    stamps = footage.stamps()
    if stamps:
        return stamps[index] * footage.info.time_base if index < len(stamps) else None
    return footage.info.start + index / footage.info.nominal_rate


def _expected(footage: VideoSource, part: Part, first: int) -> int | None:
    info = footage.info
    if times := _seconds_of(footage):
        return sum(part.place(i, seconds) == 0 for i, seconds in enumerate(times))
    ends = [end for end in (part.end, footage.estimated_count) if end is not None]
    ends += [round(part.stop * info.rate)] if part.stop is not None and info.rate else []
    return max(1, min(ends) - first) if ends else None


def _info_of_part(info: FootageInfo, start: Fraction, first: int, sound: SoundCut) -> FootageInfo:
    """What the result is modelled on: the footage, beginning at `start`."""
    tracks = [track for number, track in enumerate(info.audio) if sound.track in (None, number)]
    later = tuple(
        dataclasses.replace(track, start=None if track.start is None else max(track.start, start)) for track in tracks
    )
    return dataclasses.replace(info, start=start, audio=later, timecode=_timecode(info, start, first))


def _timecode(info: FootageInfo, start: Fraction, first: int) -> str | None:
    if info.timecode is None:
        return None
    rate = info.nominal_rate
    try:
        return advanced(info.timecode, round((start - info.start) * rate) if info.vfr else first, rate)
    except ValueError:
        return None


def _metadata(path: Path) -> dict[str, str]:
    with _source(path) as container:
        return {key: value for key, value in container.metadata.items() if key not in _OURS_TO_WRITE}


def _source(path: Path) -> av.container.InputContainer:
    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")


def _copy(
    footage: VideoSource, plan: CopyPlan, target: Path, options: CutOptions, report: Report, stop: Stop
) -> Cut:  # fmt: skip
    """Raises EncodingFailed also where the container would not keep what it is to keep."""
    info = footage.info
    start = plan.start * info.time_base
    end = None if plan.end is None else plan.end * info.time_base
    sound_cut = SoundCut(start, end, None if options.audio_track < 0 else options.audio_track)
    notes: list[str] = []
    pace = Pace("Copying", plan.frames, report)
    what, hint = f"The part could not be copied into {target.suffix[1:]}", "Leave --copy away to encode it anew."
    with writing(target) as temp, encoding_errors(target, what, hint=hint):
        with _source(info.path) as source, _muxer(temp, target, info) as result:
            stream = picture_stream(source)
            output = _same_stream(result, stream, target, _timecode(info, start, plan.first))
            result.metadata.update(_metadata(info.path))
            sound = Sound(result, info.path, _holder(target), start, notes.append, sound_cut)
            with contextlib.closing(sound):
                _copy_packets(source, stream, output, result, plan, sound, pace, stop)
                sound.finish()
        _check_copy(temp, info, plan)
    pace.report_now()
    return Cut(target, plan.frames, plan.first, True, notes, [], pace.rate)


def _muxer(temp: Path, target: Path, info: FootageInfo) -> av.container.OutputContainer:
    form = _FORMATS.get(target.suffix.lower())
    name = {VideoFormat.MKV: "webm" if target.suffix.lower() == ".webm" else "matroska"}.get(
        cast(Any, form), str(form) if form else _MUXERS.get(info.container, "")
    )  # fmt: skip
    settings = {"movflags": "+faststart"} if form is VideoFormat.MP4 else {}
    return av.open(str(temp), "w", format=name or None, container_options=settings)


def _same_stream(
    result: av.container.OutputContainer, stream: av.VideoStream, target: Path, timecode: str | None
) -> av.VideoStream:  # fmt: skip
    """A stream for the packets of `stream`. A timecode track needs its frame rate, which only a coder can hold."""
    keeps_code = timecode is not None and _FORMATS.get(target.suffix.lower()) in (VideoFormat.MP4, VideoFormat.MOV)
    output = result.add_stream_from_template(stream, opaque=not keeps_code)
    if timecode is not None:
        output.metadata["timecode"] = timecode
    if keeps_code and stream.average_rate:
        output.codec_context.framerate = stream.average_rate
    output.disposition = stream.disposition
    for key in ("language", "title", "handler_name"):
        if value := stream.metadata.get(key):
            output.metadata[key] = value
    return output


def _check_copy(path: Path, info: FootageInfo, plan: CopyPlan) -> None:
    """Look at what was written: shapes of pixels, for one, are not taken over by every container."""
    made = probe_video(path, count=True)
    for name, was, now in (
        ("number of frames", plan.frames, made.frames), ("shape of the pixels", info.sar, made.sar),
        ("rotation", (info.rotation, info.mirrored), (made.rotation, made.mirrored)),
        ("size", (info.width, info.height), (made.width, made.height)),
    ):  # fmt: skip
        if was != now:
            raise ValueError(f"the {name} would be {now} instead of {was}")


def _holder(target: Path) -> VideoFormat | None:
    """The container by whose rules sound is copied; all but MP4 and MOV hold what they held before."""
    form = _FORMATS.get(target.suffix.lower())
    return form if form in (VideoFormat.MP4, VideoFormat.MOV) else None


def _copy_packets(
    source: av.container.InputContainer, stream: av.VideoStream, output: Any, result: Any, plan: CopyPlan,
    sound: Sound, pace: Pace, stop: Stop,
) -> None:  # fmt: skip
    """Hand over the picture's packets of the plan, and the sound between them, but no frame shown before the part."""
    wanted = (packet for packet in source.demux(stream) if packet.size and not packet.is_corrupt)
    for number, packet in enumerate(packet for packet in wanted if not packet.is_discard):
        if stop():
            raise Interrupted("Stopped; nothing was written.", hint="Cutting starts anew.")
        if number >= plan.over + plan.take:
            return
        if number < plan.over or packet.pts is None or packet.pts < plan.start:
            continue
        packet.pts -= plan.start
        packet.dts = None if packet.dts is None else packet.dts - plan.start
        packet.stream = output
        if packet.dts is not None and packet.time_base is not None:
            sound.up_to(packet.dts * packet.time_base)
        result.mux(packet)
        pace.advance()
