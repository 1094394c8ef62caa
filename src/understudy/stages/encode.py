"""Merged frames become a video with the timing, tags, size and sound of the dst footage."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from understudy.errors import Interrupted, MediaError, NoFrames
from understudy.files import sweep
from understudy.imaging.files import SUFFIXES, read_image
from understudy.media import ColourTags, EncodeOptions, FootageInfo, Frame, FrameSource, VideoWriter, composite_onto
from understudy.media.options import Deinterlace
from understudy.records import FootageFrom, Side, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.denoise_state import denoised_with
from understudy.stages.frame_record import FrameRecord, read_record, record_path
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

Array = np.ndarray[Any, Any]


def encode(
    workspace: Workspace, options: EncodeOptions | None = None, *, report: Report = silent, stop: Stop = never
) -> StageResult:
    """Write `result.*` from data_dst/merged, and `result_mask.*` from data_dst/merged_mask.

    Pixels that the merge did not change come from the planes of the dst video itself, not from the pictures. A frame
    that was not merged stays as it is in dst and is named in `skipped`. The old result stands until the new one is
    complete.
    Raises NoFrames when nothing was merged, MissingFootage, EncodingFailed, DiskFull, Interrupted.
    """
    options = options or EncodeOptions()
    started = time.perf_counter()
    with workspace.writing("result"), contextlib.ExitStack() as stack:
        sweep(workspace.root, "result*")
        merged = Merged.of(workspace)
        dst = stack.enter_context(DstFrames.open(workspace, options, report))
        result = workspace.root / f"result.{options.format}"
        video = stack.enter_context(
            VideoWriter(result, dst.info, options=options, audio_from=dst.sound if options.include_audio else None)
        )
        masks = mask_writer(workspace, dst.info, options) if options.mask and merged.masks else None
        if masks is not None:
            stack.enter_context(masks)
        pace = Pace("Encoding", dst.count, report)
        for frame, mask in _read_ahead(dst, merged, stop):
            video.write(frame)
            if masks is not None:
                masks.write(frame_of_mask(mask, frame))
            pace.advance()
        pace.report_now()
    for text in video.notes:
        report(Note(text[:1].upper() + text[1:] + ".", "warning", result.name))
    return StageResult(
        frames=video.count, skipped=[*dst.skipped, *merged.skipped], seconds=time.perf_counter() - started,
        rate=pace.rate, outputs=[result, *([masks.path] if masks is not None else [])],
    )  # fmt: skip


class Merged:
    """The merged pictures and masks, found by the stem of their frame."""

    def __init__(self, pictures: dict[str, Path], masks: dict[str, Path], *, lossy_frames: bool) -> None:
        self.pictures, self.masks, self.lossy_frames = pictures, masks, lossy_frames
        self.skipped: list[Skipped] = []

    @classmethod
    def of(cls, workspace: Workspace) -> Merged:
        """What is in data_dst/merged and merged_mask. Raises NoFrames when there is no merged picture."""
        pictures = _by_stem(workspace.merged)
        if not pictures:
            hint = "Merge first: understudy merge NAME"
            raise NoFrames("There are no merged frames to encode.", hint=hint, folder=workspace.merged)
        lossy = any(path.suffix.lower() in (".jpg", ".jpeg") for path in workspace.dst.frame_files())
        lossy = lossy and not denoised_with(workspace, Side.DST)  # then every pixel is meant to change
        return cls(pictures, _by_stem(workspace.merged_mask), lossy_frames=lossy)

    def onto(self, frame: Frame) -> tuple[Frame, Array | None, str]:
        """The merged frame over the planes of `frame`, its mask (H, W) uint8, and why it stays as it is, if it does."""
        stem = Path(frame.name).stem
        picture = self.pictures.get(stem)
        if picture is None:
            return frame, None, "not merged; the frame of dst is used"
        try:
            wanted = read_image(picture).rgb
            mask = self._mask(stem)
        except MediaError as error:
            return frame, None, f"{error.message} The frame of dst is used."
        if wanted.shape[:2] != (frame.height, frame.width) or (mask is not None and mask.shape != wanted.shape[:2]):
            sizes = f"{wanted.shape[1]}x{wanted.shape[0]}, not {frame.width}x{frame.height}"
            return frame, None, f"the merged picture is {sizes}; the frame of dst is used"
        return self._laid(frame, wanted, mask), mask, ""

    def _mask(self, stem: str) -> Array | None:
        path = self.masks.get(stem)
        if path is None:
            return None
        levels = read_image(path).rgb[..., 0]
        return levels if levels.dtype == np.uint8 else np.rint(levels / np.float32(257)).astype(np.uint8)

    def _laid(self, frame: Frame, wanted: Array, mask: Array | None) -> Frame:
        """Only what the merge changed: pixels that differ from dst, or the mask where dst frames were JPEGs."""
        view = frame.rgb16 if wanted.dtype == np.uint16 else frame.rgb8
        changed = _differs(wanted, view) if mask is None or not self.lossy_frames else (mask > 0).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(changed)
        if not width:
            return frame
        box = (left, top, left + width, top + height)
        rows, columns = slice(top, top + height), slice(left, left + width)
        alpha = changed[rows, columns].astype(np.float32)
        if mask is not None:
            share = mask[rows, columns].astype(np.float32) / 255
            alpha = np.where(share > 0, share * alpha, alpha)
        image = wanted[rows, columns] * np.float32(1 / np.iinfo(wanted.dtype).max)
        return composite_onto(frame, image, alpha, box)


def _differs(first: Array, second: Array) -> Array:
    """(H, W) uint8, 1 where any channel differs."""
    red, green, blue = cv2.split(cv2.absdiff(first, second))
    return cast(Array, (cv2.max(cv2.max(red, green), blue) > 0).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class DstFrames:
    """The dst frames that belong to the merged ones, in order, with the time each is to have.

    info: what the result is modelled on. sound: the file with the sound, if any.
    """

    footage: FrameSource
    info: FootageInfo
    record: FrameRecord | None
    sound: Path | None
    count: int | None

    @classmethod
    @contextlib.contextmanager
    def open(cls, workspace: Workspace, options: EncodeOptions, report: Report) -> Iterator[DstFrames]:
        """The video where its frames are what was merged, else the folder of frames at a constant rate."""
        video, files = workspace.dst.video, workspace.dst.frame_files()
        record = read_record(record_path(workspace, Side.DST)) if files else None
        prefer = FootageFrom.VIDEO if video is not None else FootageFrom.FRAMES
        with workspace.footage(Side.DST, prefer) as footage:
            made = cls._of_video(footage, record, len(files)) if video is not None else None
            if made is not None:
                yield made
                return
        with workspace.footage(Side.DST, FootageFrom.FRAMES) as footage:
            yield cls._of_folder(footage, workspace, options, report)

    @classmethod
    def _of_video(cls, footage: FrameSource, record: FrameRecord | None, files: int) -> DstFrames | None:
        info = footage.info
        if record is not None and record.is_of(info.path) and record.deinterlace != Deinterlace.OFF:
            info = replace(info, interlaced=False, field_order=None)
        if record is not None and record.is_of(info.path) and not record.square_pixels:
            if record.fps and record.complete:
                return cls(footage, info, record, info.path, len(record.times))
            if not record.fps:
                return cls(footage, info, None, info.path, footage.estimated_count)
        if files and footage.estimated_count is not None and abs(files - footage.estimated_count) > 1:
            return None
        return cls(footage, info, None, info.path, footage.estimated_count)

    @classmethod
    def _of_folder(
        cls, footage: FrameSource, workspace: Workspace, options: EncodeOptions, report: Report
    ) -> DstFrames:
        info, video = footage.info, workspace.dst.video
        if video is not None:
            with workspace.footage(Side.DST, FootageFrom.VIDEO) as original:
                info = replace(info, rate=original.info.rate, sar=original.info.sar, audio=original.info.audio)
            report(Note(
                f"The {info.frames} frames in data_dst are not those of {video.name}: they are shown at a constant "
                f"{float(options.fps or info.rate or 25):g} frames/s.", "warning",
            ))  # fmt: skip
        info = replace(info, rate=info.rate if info.rate and not options.fps else None)
        return cls(footage, info, None, video, footage.estimated_count)

    @property
    def skipped(self) -> list[Skipped]:
        return self.footage.skipped

    def frames(self) -> Iterator[Frame]:
        """The frames, named as the merged pictures are."""
        if self.record is None:
            yield from self.footage.frames()
            return
        places = {stamp: place for place, stamp in enumerate(self.record.times)}
        for frame in self.footage.frames():
            stamp = None if frame.time is None else round(frame.time / self.record.time_base)
            if stamp in places:
                yield dataclasses.replace(frame, name=f"{places[stamp] + 1:05d}.png", duration=None)


def _read_ahead(dst: DstFrames, merged: Merged, stop: Stop) -> Iterator[tuple[Frame, Array | None]]:
    """Merged frames in order, prepared by threads; a bounded number is in memory."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Frame, Future[tuple[Frame, Array | None, str]]]] = deque()

    def ready() -> tuple[Frame, Array | None]:
        source, future = waiting.popleft()
        frame, mask, problem = future.result()
        if problem:
            merged.skipped.append(Skipped(source.name, problem))
        return frame, mask

    with ThreadPoolExecutor(workers, "read-merged") as pool:
        try:
            for frame in dst.frames():
                if stop():
                    raise Interrupted("Stopped; the old result stands.", hint="Run it again: encoding starts anew.")
                waiting.append((frame, pool.submit(_prepare, merged, frame)))
                if len(waiting) > 2 * workers:
                    yield ready()
            while waiting:
                yield ready()
        finally:
            for _, future in waiting:
                future.cancel()


def _prepare(merged: Merged, frame: Frame) -> tuple[Frame, Array | None, str]:
    made, mask, problem = merged.onto(frame)
    made.native()
    return made, mask, problem


def mask_writer(workspace: Workspace, like: FootageInfo, options: EncodeOptions) -> VideoWriter:
    """Full-range luma holds the mask's own levels, and every player shows it; lossless, without sound."""
    even = like.width % 2 == 0 and like.height % 2 == 0
    tags = ColourTags("pc", like.tags.matrix, like.tags.transfer, like.tags.primaries)
    info = replace(like, pix_fmt="yuvj420p" if even else "yuvj444p", bit_depth=8, tags=tags)
    settings = options.but(lossless=True, include_audio=False, bitrate=0, compatible=False, codec="auto")
    return VideoWriter(workspace.root / f"result_mask.{options.format}", info, options=settings)


def frame_of_mask(mask: Array | None, frame: Frame) -> Frame:
    levels = np.zeros((frame.height, frame.width), np.uint8) if mask is None else mask
    return Frame.from_luma(levels, index=frame.index, pts=frame.pts, time_base=frame.time_base, duration=frame.duration)


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return {path.stem: path for path in found if not path.name.startswith(".")}
