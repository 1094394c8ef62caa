"""Lay the faces that a model draws over the dst footage.

    decode → (pool: crop → network → mask, colour, paste → encode, write) → journal, progress, in frame order

The network runs in a thread of its own, one face at a time, so that a picture never depends on how many workers there
are or on which faces happened to share a batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from understudy import files
from understudy.compositing.compose import Landmarks, Predict
from understudy.compositing.options import MergeOptions
from understudy.compositing.render import RenderedFrame, Swapper, render_frame
from understudy.errors import Interrupted, NoFrames
from understudy.facesets import Catalog, FaceEntry
from understudy.imaging.files import encode_png
from understudy.imaging.types import Image, Mask
from understudy.media import Frame, FrameSource
from understudy.records import Side, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.merge_journal import MergeJournal, Rendered
from understudy.stages.models import open_model
from understudy.stages.ordered import in_order
from understudy.stages.result import StageResult
from understudy.training.models import read_record
from understudy.training.precision import PrecisionChoice
from understudy.training.predictor import Predictor, load_predictor
from understudy.workspace import Workspace

PNG_COMPRESSION = 3
FAILURES = (ValueError, np.linalg.LinAlgError, cv2.error)
"""What a face or a frame out of the ordinary may raise; anything else is a bug or a broken machine and ends the run."""


def merge(
    workspace: Workspace,
    name: str,
    options: MergeOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Redraw the faces of the dst footage with the model `name`: pictures and masks, or straight to a video.

    Frames that are up to date (same settings, model, faces and source) are not rendered again; others are replaced one
    by one. A frame that fails stays original and is named in the result. Raises MissingFootage, NoFrames, EmptyFaceset,
    MissingModel, Busy when another process merges, Interrupted, DiskFull and ReadOnlyWorkspace.
    """
    options = options or MergeOptions()
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(workspace.writing("merge"))
        footage = stack.enter_context(workspace.footage(Side.DST, options.from_))
        faces = DstFaces(stack.enter_context(_catalog(workspace, report, stop)))
        model = Model.load(workspace, name, options, report)
        stack.enter_context(_one_thread_per_call())
        predict = stack.enter_context(_in_own_thread(model.predictor))
        job = MergeJob(workspace, footage, faces, model, predict, report, stop)
        run = merge_to_video if model.options.to_video else merge_to_pictures
        outcome = run(job)
    for item in outcome.skipped:
        report(Note(f"{item.item}: {item.reason}", level="warning", item=item.item))
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


@dataclass(frozen=True)
class Outcome:
    """What a run did. with_faces: frames in which at least one face was redrawn."""

    frames: int
    faces: int
    with_faces: int
    skipped: list[Skipped]
    rate: float | None
    outputs: list[Path]


@dataclass(frozen=True, eq=False)
class Model:
    """The network of one merge and what identifies it. options: as given, with `faithful` decided."""

    name: str
    created: str
    predictor: Predictor
    options: MergeOptions

    @classmethod
    def load(cls, workspace: Workspace, name: str, options: MergeOptions, report: Report) -> Model:
        """The newest whole state of the model; flat files of that name are imported first."""
        folder = open_model(workspace, name, report=report)
        # in fp32 whatever is fastest here: the last picture matters more than the last frame per second
        predictor = load_predictor(folder, options.device, PrecisionChoice.FP32, report=report)
        record = read_record(folder)
        if options.faithful is None:
            options = options.but(faithful=record.imported)
        return cls(name, record.created, predictor, options)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything about model and settings that a picture depends on."""
        model = [self.name, self.created, self.predictor.iteration]
        return {"model": model, "settings": self.options.look}


class DstFaces:
    """The landmarks of every dst frame, fetched as they are needed. skipped: files that are no usable faces."""

    def __init__(self, catalog: Catalog) -> None:
        catalog.require_faces()
        self.skipped = catalog.skipped
        self._by_frame: dict[str, list[FaceEntry]] = catalog.by_frame()

    def of(self, frame_name: str) -> list[Landmarks]:
        """Landmarks (68, 2) in frame pixels of the faces cut from this frame, in order of their file names."""
        found = (entry.meta.source_landmarks for entry in self._by_frame.get(Path(frame_name).stem, ()))
        return [landmarks for landmarks in found if landmarks is not None]


@dataclass(frozen=True, eq=False)
class MergeJob:
    """Everything that one run reads from, and how it speaks."""

    workspace: Workspace
    footage: FrameSource
    faces: DstFaces
    model: Model
    predict: Predict
    report: Report
    stop: Stop

    @property
    def options(self) -> MergeOptions:
        return self.model.options

    def render(self, frame: Frame) -> tuple[RenderedFrame, int, str]:
        """The frame with its faces redrawn, how many they are, and what went wrong; then the frame is left original."""
        landmarks = self.faces.of(frame.name)
        swapper = Swapper(self.predict, self.model.predictor.size, self.model.predictor.face_type)
        try:
            return render_frame(frame, landmarks, swapper, self.options), len(landmarks), ""
        except FAILURES as error:
            return RenderedFrame.untouched(frame), 0, f"left original: {error}"

    def key_of(self, frame_name: str) -> str:
        """A hash of everything that the picture of this frame is made from."""
        faces = [hashlib.sha256(np.ascontiguousarray(face).tobytes()).hexdigest() for face in self.faces.of(frame_name)]
        made_from = [self.model.identity, _source_identity(self.footage, frame_name), faces]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def workers(self) -> int:
        return self.options.workers or os.cpu_count() or 1

    @property
    def ahead(self) -> int:
        """Frames under way at once: enough to keep the workers busy, within a quarter of the free memory."""
        pixels = max(1, self.footage.info.width * self.footage.info.height)
        bytes_each = pixels * (40 if self.footage.info.bit_depth > 8 else 24)
        return max(1, min(2 * self.workers, int(psutil.virtual_memory().available) // 4 // bytes_each))


def merge_to_pictures(job: MergeJob) -> Outcome:
    """Render what is not up to date into data_dst/merged and data_dst/merged_mask."""
    outputs = Pictures(job.workspace.merged, job.workspace.merged_mask)
    journal = MergeJournal.read(job.workspace.private / "merge" / "journal.jsonl")
    current = {} if job.options.replace else _up_to_date(journal, job, outputs)
    if len(current) < len(journal.rendered):
        journal = MergeJournal(journal.path, dict(current))
    rate = None
    if not (journal.is_complete and current and _has_all(journal, job)):
        if current:
            job.report(Note(f"Going on after {len(current)} frames that are up to date."))
        outputs.prepare()
        with journal:
            rate = _render_missing(job, journal, outputs, frozenset(current))
    files.write_json(outputs.pictures / "options.json", _settings(job))
    rendered = list(journal.rendered.values())
    problems = [Skipped(frame.name, frame.problem) for frame in rendered if frame.problem]
    return Outcome(
        frames=len(rendered),
        faces=sum(frame.faces for frame in rendered),
        with_faces=sum(frame.faces > 0 for frame in rendered),
        skipped=[*journal.skipped, *problems],
        rate=rate,
        outputs=[outputs.pictures, outputs.masks],
    )


@dataclass(frozen=True)
class Pictures:
    """The two folders of rendered frames: <stem>.png in each, 8 bit for 8-bit sources and 16 bit for deeper ones."""

    pictures: Path
    masks: Path

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.pictures, self.masks):
            with files.os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def write(self, rendered: RenderedFrame) -> tuple[int, int]:
        """Write both files, each in one step; gives their sizes in bytes."""
        frame = rendered.frame
        deep = frame.bit_depth > 8
        picture = encode_png(frame.rgb16 if deep else frame.rgb8, frame.matte, compression=PNG_COMPRESSION)
        mask = encode_png(mask_levels(rendered.mask, deep=deep), compression=PNG_COMPRESSION)
        for folder, data in ((self.pictures, picture), (self.masks, mask)):
            files.write_bytes(folder / self.name_of(frame.name), data, durable=False)
        return len(picture), len(mask)

    def are_whole(self, frame: Rendered) -> bool:
        """Whether both files of a frame are there with the sizes that were written."""
        name = self.name_of(frame.name)
        return tuple(_size_of(folder / name) for folder in (self.pictures, self.masks)) == frame.sizes

    @staticmethod
    def name_of(frame_name: str) -> str:
        return f"{Path(frame_name).stem}.png"


def mask_levels(mask: Mask, *, deep: bool) -> np.ndarray[Any, np.dtype[Any]]:
    """A mask as grey levels: (H, W) uint8, or uint16 when deep."""
    kind = np.uint16 if deep else np.uint8
    levels: np.ndarray[Any, np.dtype[Any]] = np.rint(mask * np.float32(np.iinfo(kind).max)).astype(kind)
    return levels


def _render_missing(job: MergeJob, journal: MergeJournal, outputs: Pictures, current: frozenset[str]) -> float | None:
    """Render every frame that is not in `current`, in order. Gives frames per second."""

    def work(frame: Frame) -> Rendered:
        rendered, faces, problem = job.render(frame)
        return Rendered(frame.index, frame.name, job.key_of(frame.name), faces, outputs.write(rendered), problem)

    start = _first_missing(journal)
    total = job.footage.estimated_count
    pace = Pace("Merging", None if total is None else max(0, total - len(current)), job.report)
    missing = (frame for frame in job.footage.frames(start) if frame.name not in current)
    results = in_order(_until(missing, job.stop), work, workers=job.workers, ahead=job.ahead)
    with contextlib.closing(results):
        for frame in results:
            journal.add(frame)
            journal.skip(job.footage.skipped)
            pace.advance()
    if job.stop():
        raise Interrupted(
            f"Stopped after {len(journal.rendered)} frames.",
            hint="Everything rendered is kept; run the same command again and it goes on from there.",
        )
    journal.skip(job.footage.skipped)
    if not journal.rendered:
        raise NoFrames("The dst footage has no usable frame.", hint="Look at it with: understudy video probe FILE")
    files.sync_folder(outputs.pictures)
    files.sync_folder(outputs.masks)
    journal.finish()
    pace.report_now()
    return pace.rate


def merge_to_video(job: MergeJob) -> Outcome:
    """Render everything straight into result.*, which appears when it is whole."""
    raise NotImplementedError


def _until(frames: Iterator[Frame], stop: Stop) -> Iterator[Frame]:
    for frame in frames:
        if stop():
            return
        yield frame


def _up_to_date(journal: MergeJournal, job: MergeJob, outputs: Pictures) -> dict[str, Rendered]:
    """The frames of the journal that need not be rendered again, by name."""
    return {
        frame.name: frame
        for frame in journal.rendered.values()
        if frame.key == job.key_of(frame.name) and outputs.are_whole(frame)
    }


def _first_missing(journal: MergeJournal) -> int:
    """Index of the first frame that is not rendered."""
    indices = {frame.index for frame in journal.rendered.values()}
    return next(index for index in range(len(indices) + 1) if index not in indices)


def _has_all(journal: MergeJournal, job: MergeJob) -> bool:
    """Whether the journal speaks of every frame of the footage, without decoding anything."""
    if job.footage.info.path.is_file():
        return True  # the key of each frame holds the identity of the file
    seen = {*journal.rendered, *(item.item for item in journal.skipped)}
    return all(file.name in seen for file in job.workspace.dst.frame_files())


def _source_identity(footage: FrameSource, frame_name: str) -> list[str | int]:
    """What tells this frame's source from another of the same name: file name, size and time of change."""
    path = footage.info.path
    file = path / frame_name if path.is_dir() else path
    try:
        facts = file.stat()
    except OSError:
        return [frame_name]
    return [file.name, frame_name, facts.st_size, facts.st_mtime_ns]


def _settings(job: MergeJob) -> dict[str, Any]:
    """What is saved beside the result: enough to make it again."""
    return {
        "schema": "understudy-merge-options/1",
        "model": job.model.name,
        "iteration": job.model.predictor.iteration,
        "footage": job.footage.info.path.name,
        "options": job.options.model_dump(mode="json"),
    }


def _catalog(workspace: Workspace, report: Report, stop: Stop) -> Catalog:
    return Catalog.open(workspace.dst.aligned, cache=workspace.private / "catalogs", report=report, stop=stop)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


@contextlib.contextmanager
def _in_own_thread(predictor: Predictor) -> Iterator[Predict]:
    """The predictor as a function of one face that any thread may call; the network itself runs in one thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="predictor") as thread:

        def run(crop: Image) -> tuple[Image, Mask, Mask]:
            face, mask_prd, mask_dst = predictor(crop[None])
            return face[0], mask_prd[0], mask_dst[0]

        yield lambda crop: thread.submit(run, crop).result()


@contextlib.contextmanager
def _one_thread_per_call() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own: frames are already spread over the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
