"""Lay the faces that a model draws over the dst footage.

    decode → (pool: crop → network → mask, colour, paste → encode, write) → journal, progress, in frame order

The network runs in a thread of its own, one face at a time, so that a picture never depends on how many workers there
are or on which faces happened to share a batch.
"""

from __future__ import annotations

import contextlib
import time

from understudy.compositing.options import MergeOptions
from understudy.errors import UsageError
from understudy.facesets import Catalog
from understudy.imaging.threads import one_thread_per_call
from understudy.media import FrameSource
from understudy.records import Side
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.extract_journal import ExtractJournal, footage_key, journal_path, selection_of
from understudy.stages.frame_record import read_record, record_path
from understudy.stages.merge_job import DstFaces, MergeJob, in_own_thread
from understudy.stages.merge_model import Model
from understudy.stages.merge_pictures import merge_to_pictures
from understudy.stages.merge_video import merge_to_video
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def merge(
    workspace: Workspace,
    name: str,
    options: MergeOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Redraw the faces of the dst footage with the model `name`: pictures and masks, or straight to a video.

    name: a model of the workspace, or a `.dfm` file, by its path or by its name in `model/`.

    Frames that are up to date (same settings, model, faces and source) are not rendered again; others are replaced one
    by one. A frame that fails stays original and is named in the result. Raises MissingFootage, NoFrames, EmptyFaceset,
    MissingModel, UnreadableFace when no face at all could be redrawn, Busy when another process merges, Interrupted,
    DiskFull and ReadOnlyWorkspace.
    """
    options = options or MergeOptions()
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(workspace.writing("merge"))
        footage = stack.enter_context(workspace.footage(Side.DST, options.from_))
        _require_same_frames(workspace, footage)
        catalog = Catalog.open(workspace.dst.aligned, cache=workspace.catalogs, report=report, stop=stop)
        faces = DstFaces(stack.enter_context(catalog))
        model = Model.load(workspace, name, options, report)
        stack.enter_context(one_thread_per_call())
        predict = stack.enter_context(in_own_thread(model))
        job = MergeJob(workspace, faces, model, predict, report, stop)
        outcome = merge_to_video(job) if options.to_video else merge_to_pictures(job, footage)
    for item in outcome.skipped:
        report(Note(item.reason, level="warning", item=item.item))
    if outcome.frames and not outcome.with_faces:
        report(Note("No face belongs to any of these frames: nothing was changed.", level="warning"))
    return StageResult(
        frames=outcome.frames,
        faces=outcome.faces,
        skipped=[*outcome.skipped, *faces.skipped],
        seconds=time.perf_counter() - started,
        rate=outcome.rate,
        outputs=outcome.outputs,
        notes={"frames_with_faces": outcome.with_faces, "iteration": model.predictor.iteration},
    )


def _require_same_frames(workspace: Workspace, footage: FrameSource) -> None:
    """Raise UsageError when these frames are numbered otherwise than those of the faces, which would be misplaced."""
    journal = ExtractJournal.read(journal_path(workspace, Side.DST))
    if journal is None:
        return
    cut_from = selection_of(journal.footage)
    now = selection_of(footage_key(footage, read_record(record_path(workspace, Side.DST))))
    if cut_from != now:
        taken, there = (f"frames taken with {text}" if text else "every frame of the video" for text in (cut_from, now))
        raise UsageError(
            f"The dst faces were cut from {taken}; these are {there}: the numbers do not fit together.",
            hint="Choose the frames that the faces were cut from with --from video or --from frames, or cut them anew: "
            "understudy faceset extract dst --replace",
        )
