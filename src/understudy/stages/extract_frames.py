"""Frames of a video as numbered picture files: resumable, atomic per file, times remembered."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2

from understudy.errors import Interrupted, UsageError
from understudy.files import os_errors, require_writable, sweep
from understudy.media import Frame, FrameFolderWriter, FramesOptions, FrameSource
from understudy.media.options import Deinterlace
from understudy.media.video import look_at_scan
from understudy.records import FootageFrom, Side
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.denoise_state import read_state, recover_exchange, state_path
from understudy.stages.frame_record import FrameRecord, read_record, record_path
from understudy.stages.result import StageResult
from understudy.workspace import SidePaths, Workspace


def extract_frames(
    workspace: Workspace, side: Side, options: FramesOptions, *, report: Report = silent, stop: Stop = never
) -> StageResult:
    """Write the frames of `data_src.*` or `data_dst.*` as `00001.png` and so on.

    Frames that are there and whole are kept, so an interrupted run continues. Raises UsageError when the folder holds
    frames made with other settings and `options.replace` is off; MissingFootage, UnreadableMedia, NoFrames,
    Interrupted.
    """
    started = time.perf_counter()
    paths = workspace.side(side)
    with workspace.writing(f"frames-{side}"), workspace.footage(side, FootageFrom.VIDEO) as footage:
        recover_exchange(workspace, side)
        sweep(paths.frames)
        if doubt := _check_fields(footage, side, options):
            report(Note(doubt, "warning", footage.info.path.name))
        record = FrameRecord.of(footage.info, options)
        _make_room(workspace, paths, record, options, report)
        for problem in footage.info.problems:
            report(Note(problem[:1].upper() + problem[1:] + ".", "warning", footage.info.path.name))
        writer = FrameFolderWriter(paths.frames, options.format, quality=options.quality)
        record.save(record_path(workspace, side))
        pace = Pace(f"Frames of {side}", _expected(footage, options), report)
        try:
            _write_all(footage, writer, record, options, pace, stop)
        finally:
            record.save(record_path(workspace, side))
        record.complete = True
        record.save(record_path(workspace, side))
        pace.report_now()
    return StageResult(
        frames=len(record.times), skipped=footage.skipped, seconds=time.perf_counter() - started, rate=pace.rate,
        outputs=[paths.frames],
    )  # fmt: skip


def _write_all(
    footage: FrameSource, writer: FrameFolderWriter, record: FrameRecord, options: FramesOptions, pace: Pace, stop: Stop
) -> None:
    """Encode in threads while the next frames are decoded; at most two frames per thread are in memory."""
    workers = options.workers or os.cpu_count() or 1
    waiting: deque[Future[Path]] = deque()
    with ThreadPoolExecutor(workers, "write-frame") as pool:
        try:
            for frame in _kept(footage, _pictures(footage, options), options.fps, record):
                if stop():
                    raise Interrupted(
                        f"Stopped after {pace.done} frames.", hint="The same command continues where this one stopped."
                    )
                if is_whole(writer.path_of(frame)):
                    pace.advance()
                    continue
                waiting.append(pool.submit(_write, writer, frame, footage.info.sar if options.square_pixels else None))
                if len(waiting) > 2 * workers:
                    waiting.popleft().result()
                    pace.advance()
            while waiting:
                waiting.popleft().result()
                pace.advance()
        finally:
            for future in waiting:
                future.cancel()


def _pictures(footage: FrameSource, options: FramesOptions) -> Iterator[Frame]:
    """The frames of the footage, made whole where that is asked for."""
    if options.deinterlace is Deinterlace.OFF:
        return footage.frames()
    from understudy.media.fields import Scan, whole_pictures

    order = Scan.BFF if (footage.info.scan or footage.info.field_order) == Scan.BFF else Scan.TFF
    return whole_pictures(footage.frames(), order, per_field=options.deinterlace is Deinterlace.FIELD)


def _check_fields(footage: FrameSource, side: Side, options: FramesOptions) -> str:
    """What to say about interlacing; raises UsageError for fields of dst."""
    if options.deinterlace is Deinterlace.OFF:
        return ""
    if options.deinterlace is Deinterlace.FIELD and side is Side.DST:
        raise UsageError(
            "dst keeps the number of its frames, and one picture of each field makes twice as many.",
            hint="Use --deinterlace frame for dst.",
        )
    footage.info = replace(footage.info, scan=look_at_scan(footage.info.path))
    if footage.info.scan in ("tff", "bff") or (footage.info.scan is None and footage.info.interlaced):
        return ""
    return "This footage does not look interlaced: deinterlacing only softens it."


def _kept(footage: FrameSource, pictures: Iterator[Frame], fps: float, record: FrameRecord) -> Iterator[Frame]:
    """The frames to keep, numbered anew from 1 when some are left out; their times go into the record.

    A frame is kept when it is the first one at or after a multiple of 1/fps seconds, by its own time.
    """
    wanted = Fraction(fps).limit_denominator(1001)
    slack = _slack(footage)
    record.times.clear()
    first: Fraction | None = None
    last_slot = -1
    for frame in pictures:
        moment = footage.time_of(frame)
        first = moment if first is None else first
        if fps:
            slot = int((moment - first + slack) * wanted)
            if slot <= last_slot:
                continue
            last_slot = slot
        record.times.append(round(moment / record.time_base))
        yield frame.named(f"{len(record.times):05d}.png")


def _slack(footage: FrameSource) -> Fraction:
    """By how much a stored time may be too early: a tick, as containers round, but never much of a frame."""
    base, rate = footage.info.time_base, footage.info.rate
    return min(base, 1 / (4 * rate)) if rate else base


def _write(writer: FrameFolderWriter, frame: Frame, sar: Fraction | None) -> Path:
    if sar is not None and sar != 1:
        size = (max(1, round(frame.width * sar)), frame.height)
        pixels = frame.rgb16 if frame.bit_depth > 8 else frame.rgb8
        squared = Frame.from_rgb(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC))
        frame = squared.named(frame.name)
    return writer.write(frame)


def is_whole(path: Path) -> bool:
    """Whether a frame file is there with its end; files are renamed when complete, so only foreign ones can lack it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(8)
            handle.seek(max(0, size - 12))
            end = handle.read()
    except OSError:
        return False
    if start.startswith(b"\x89PNG"):
        return b"IEND" in end
    if start.startswith(b"\xff\xd8"):
        return end.endswith(b"\xff\xd9")
    return size > 0 and start.startswith(b"\x76\x2f\x31\x01")


def _expected(footage: FrameSource, options: FramesOptions) -> int | None:
    count, rate = footage.estimated_count, footage.info.rate
    if options.deinterlace is Deinterlace.FIELD:
        count, rate = (None if count is None else 2 * count), (2 * rate if rate else rate)
    if count is None or not options.fps or not rate or options.fps >= rate:
        return count
    return max(1, round(count * options.fps / rate))


def _make_room(
    workspace: Workspace, paths: SidePaths, record: FrameRecord, options: FramesOptions, report: Report
) -> None:
    """Refuse, or move away, frames that were made otherwise."""
    there = paths.frame_files()
    if not there:
        state_path(workspace, paths.side).unlink(missing_ok=True)  # it speaks of frames that are gone
        return
    old = read_record(record_path(workspace, paths.side))
    difference = "nobody knows from which video and with which settings" if old is None else old.difference(record)
    state = read_state(workspace, paths.side)
    if not difference and state is not None and state.get("in_place") is not False:
        difference = f"and then denoised with factor {state['factor']}"
    if not difference:
        return
    if not options.replace:
        raise UsageError(
            f"data_{paths.side} already holds {len(there)} frames, made {difference}.",
            hint="Keep them and go on, or add --replace: the old ones move to .understudy/trash and can be taken back.",
            folder=paths.frames,
        )
    trash = _move_to_trash(workspace, paths.side, there)
    state_path(workspace, paths.side).unlink(missing_ok=True)
    report(Note(f"{len(there)} old frames were moved to {trash}.", "info"))


def _move_to_trash(workspace: Workspace, side: Side, files: list[Path]) -> Path:
    """Nothing is deleted. Returns the folder of the trash."""
    require_writable(files[0].parent)
    trash = workspace.new_trash(f"frames-{side}")
    with os_errors(trash):
        trash.mkdir(parents=True)
        for file in files:
            file.replace(trash / file.name)
    return trash
