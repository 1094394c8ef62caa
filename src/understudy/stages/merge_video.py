"""Merging straight into a video: nothing is kept on disk but the result and its mask."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import files
from understudy.errors import Interrupted, MediaError
from understudy.imaging.files import read_image
from understudy.media import EncodeOptions, Frame, VideoWriter, composite_onto
from understudy.records import FootageFrom, Skipped
from understudy.report import Note, Pace
from understudy.stages.encode import DstFrames, frame_of_mask, mask_writer
from understudy.stages.merge_job import MergeJob, require_some_done, until
from understudy.stages.merge_pictures import Outcome, mask_levels
from understudy.stages.ordered import in_order
from understudy.workspace import Workspace


@dataclass(frozen=True, eq=False)
class _Done:
    """One frame ready to be encoded. mask: (H, W) uint8."""

    frame: Frame
    mask: NDArray[Any]
    faces: int
    problems: list[Skipped]
    failed: list[Skipped]


def merge_to_video(job: MergeJob) -> Outcome:
    """Render everything into result.* and result_mask.*, which appear when they are whole."""
    options, workspace = job.options, job.workspace
    assert options.to_video is not None
    encoding = EncodeOptions(format=options.to_video)
    result = workspace.root / f"result.{options.to_video}"
    problems: list[Skipped] = []
    failed: list[Skipped] = []
    faces = with_faces = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(workspace.writing("result"))
        files.sweep(workspace.root, "result*")
        dst = stack.enter_context(DstFrames.open(workspace, encoding, job.report))
        retouched = Retouched.of(workspace, dst, options.from_)
        video = stack.enter_context(VideoWriter(result, dst.info, options=encoding, audio_from=dst.sound))
        masks = stack.enter_context(mask_writer(workspace, dst.info, encoding))

        def work(frame: Frame) -> _Done:
            source, problem = retouched.of_frame(frame)
            rendered, count, failure = job.render(source)
            rendered.frame.native()  # encoded by the one thread that writes; made here by many
            failed, problems = ([Skipped(frame.name, text)] if text else [] for text in (failure, problem))
            return _Done(rendered.frame, mask_levels(rendered.mask, deep=False), count, problems, failed)

        pace = Pace("Merging to video", dst.count, job.report)
        frames = until(dst.frames(), job.stop)
        done = stack.enter_context(
            contextlib.closing(in_order(frames, work, workers=job.workers, ahead=job.ahead(dst.info)))
        )
        for item in done:
            video.write(item.frame)
            masks.write(frame_of_mask(item.mask, item.frame))
            faces, with_faces = faces + item.faces, with_faces + bool(item.faces)
            failed += item.failed
            problems += item.problems
            pace.advance()
        if job.stop():
            raise Interrupted(
                f"Stopped after {pace.done} frames; the video was not written.",
                hint="A video begins anew; merge without --to-video to keep what is done when stopping.",
            )
        require_some_done(failed, with_faces)  # else the old result would go for a copy of dst
        pace.report_now()
    for text in video.notes:
        job.report(Note(f"{text[:1].upper()}{text[1:]}.", "warning", result.name))
    files.write_json(workspace.root / "result_options.json", job.settings(dst.info))
    return Outcome(
        frames=video.count,
        faces=faces,
        with_faces=with_faces,
        skipped=[*dst.skipped, *problems, *failed],
        rate=pace.rate,
        outputs=[result, masks.path],
    )


@dataclass(frozen=True)
class Retouched:
    """Pictures in data_dst that may have been changed since they were taken out of the video; they win over it."""

    pictures: dict[str, Path] = field(default_factory=dict)
    """By the stem of the frame. Empty where the video itself is asked for, or where there is only a folder anyway."""

    @classmethod
    def of(cls, workspace: Workspace, dst: DstFrames, prefer: FootageFrom | None) -> Retouched:
        """The pictures to look at. JPEGs are not: they differ from the video everywhere, and show nothing else."""
        if prefer is FootageFrom.VIDEO or dst.info.path.is_dir():
            return cls()
        lossless = [path for path in workspace.dst.frame_files() if path.suffix.lower() not in (".jpg", ".jpeg")]
        return cls({path.stem: path for path in lossless})

    def of_frame(self, frame: Frame) -> tuple[Frame, str]:
        """The frame with what was changed in its picture laid over its planes, and what is wrong with the picture."""
        path = self.pictures.get(Path(frame.name).stem)
        if path is None:
            return frame, ""
        try:
            picture = read_image(path).rgb
        except MediaError as error:
            return frame, f"{error.message} The frame of the video is used."
        view = frame.rgb16 if picture.dtype == np.uint16 else frame.rgb8
        if picture.dtype != view.dtype or picture.shape != view.shape:
            size = f"{picture.shape[1]}x{picture.shape[0]}"
            return frame, f"the picture in data_dst is {size} {picture.dtype}; the frame of the video is used"
        changed = (picture != view).any(axis=2)
        if not changed.any():
            return frame, ""
        image = picture * np.float32(1 / np.iinfo(picture.dtype).max)
        return composite_onto(frame, image, changed.astype(np.float32), (0, 0, frame.width, frame.height)), ""
