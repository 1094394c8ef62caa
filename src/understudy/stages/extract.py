"""Find the faces of one side's footage and cut them out into its faceset.

    decode → find → align → encode → write, several frames at once → journal, progress

Inside a stretch (12 frames in a row) each frame's search is helped by the faces of the frame before; every stretch
starts without help. So stretches do not depend on each other: any number of threads, and a run that was stopped and
taken up again, write the same faces.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from understudy.detection.cutting import CutFace, cut_face
from understudy.detection.drawing import darken, draw_landmarks, draw_rect, draw_square
from understudy.detection.found import FoundFace
from understudy.detection.loading import load_engine
from understudy.detection.options import ExtractOptions
from understudy.errors import Interrupted, MediaError, NoFacesFound, NoFrames, UsageError
from understudy.facesets import Catalog, FaceMeta, encode_jpeg, write_face
from understudy.files import os_errors, sweep, write_bytes
from understudy.imaging.threads import one_thread_per_call
from understudy.masks.hull import face_hull
from understudy.media import Frame, FrameSource
from understudy.records import FaceType, Rect, Side, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.extract_journal import Done, ExtractJournal, footage_key, journal_path, settings_of
from understudy.stages.frame_record import read_record, record_path
from understudy.stages.result import StageResult
from understudy.stages.stretches import Stretches, stretch_length
from understudy.workspace import IMAGE_SUFFIXES, SidePaths, Workspace

DEBUG_QUALITY = 50


def extract(
    workspace: Workspace,
    side: Side,
    options: ExtractOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Find every face in the footage of `side` and write it to the aligned folder.

    A run that was stopped goes on where it was; a finished one does nothing. Frames that cannot be read are skipped and
    named in the result. Raises MissingFootage, NoFrames, NoFacesFound, Interrupted, UsageError when the faces that are
    there were cut otherwise, Busy when another process writes this faceset, DiskFull and ReadOnlyWorkspace.
    """
    side, options = Side(side), options or ExtractOptions()
    started = time.perf_counter()
    paths = workspace.side(side)
    with workspace.writing(f"aligned-{side}"), workspace.footage(side, options.from_) as footage:
        journal = _take_up(workspace, side, footage, options, report)
        rate = None
        if not _is_all_done(journal, paths):
            with journal, one_thread_per_call():
                rate = _extract(paths, footage, journal, options, report, stop)
    _require_faces(journal, side)
    return StageResult(
        frames=len(journal.done),
        faces=journal.faces,
        skipped=list(journal.skipped),
        seconds=time.perf_counter() - started,
        rate=rate,
        outputs=[paths.aligned],
        notes={"frames_without_face": sum(done.faces == 0 for done in journal.done.values())},
    )


def _extract(
    paths: SidePaths, footage: FrameSource, journal: ExtractJournal, options: ExtractOptions, report: Report, stop: Stop
) -> float | None:
    """Do every frame that is not in the journal. Gives frames per second."""
    for folder in (paths.aligned, *([paths.aligned_debug] if options.debug_images else [])):
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    start = _first_to_do(journal, paths, stretch_length(footage))
    total = footage.estimated_count
    pace = Pace("Extracting", None if total is None else max(0, total - start), report)
    known = frozenset(journal.done)
    work = Stretches(footage, start, lambda: _Cutter(paths, options, known), workers=options.workers, stop=stop)
    with work:
        for outcome in work:
            if outcome.faces is not None and outcome.name not in known:
                made = [_face_file(paths, outcome.name, number) for number in range(outcome.faces)]
                journal.add(outcome.name, Done(outcome.index, outcome.faces), made)
            journal.skip([*outcome.skipped, *footage.skipped])
            pace.advance()
        if work.stopped:
            raise _interrupted(journal, options)
    journal.skip(footage.skipped)
    journal.finish()
    pace.report_now()
    for item in journal.skipped:
        report(Note(item.reason, level="warning", item=item.item))
    return pace.rate


@dataclass(frozen=True)
class _Outcome:
    """What became of one frame. faces: how many it has; None when it could not be read."""

    index: int
    name: str
    faces: int | None
    skipped: tuple[Skipped, ...] = ()


class _Cutter:
    """Finds, cuts and writes the faces of frame after frame, in one thread."""

    def __init__(self, paths: SidePaths, options: ExtractOptions, known: frozenset[str]) -> None:
        self._paths, self._options, self._known = paths, options, known
        self._engine = load_engine(options.engine, device=options.device, accuracy=options.accuracy)
        self.begin()

    def begin(self) -> None:
        """Forget the frames seen so far."""
        self._previous: list[FoundFace] | None = None
        self._passed: list[Frame] = []

    def work(self, frame: Frame) -> _Outcome:
        """Write the faces of one frame; a known one is only remembered, in case the next one wants its faces."""
        if frame.name in self._known:
            self._passed.append(frame)
            return _Outcome(frame.index, frame.name, 0)
        try:
            for passed in self._passed:
                self._find(passed)
            self._passed.clear()
            faces = self._find(frame)
        except MediaError as error:
            self.begin()
            return _Outcome(frame.index, frame.name, None, (Skipped(frame.name, error.message),))
        written = self._write(frame, faces)
        damaged = (Skipped(frame.name, "damaged; its faces were looked for all the same"),) if frame.damaged else ()
        return _Outcome(frame.index, frame.name, written, damaged)

    def _find(self, frame: Frame) -> list[FoundFace]:
        options = self._options
        found = self._previous = self._engine.find(frame.rgb8, previous=self._previous)
        faces = [face for face in found if min(face.rect.width, face.rect.height) >= options.min_face]
        return faces[: options.max_faces] if options.max_faces else faces

    def _write(self, frame: Frame, faces: Sequence[FoundFace]) -> int:
        options, paths = self._options, self._paths
        cuts = [cut_face(frame.rgb8, face, size=options.size, face_type=options.face_type) for face in faces]
        usable = [cut for cut in cuts if cut is not None]
        for number, cut in enumerate(usable):
            jpeg = encode_jpeg(cut.rgb8, options.jpeg_quality)
            write_face(_face_file(paths, frame.name, number), jpeg, _meta(frame, cut, options.face_type))
        if options.debug_images:
            picture = _debug_picture(frame, usable, options.size)
            path = paths.aligned_debug / f"{Path(frame.name).stem}.jpg"
            write_bytes(path, encode_jpeg(picture, DEBUG_QUALITY), durable=False)
        return len(usable)


def _face_file(paths: SidePaths, frame_name: str, number: int) -> Path:
    return paths.aligned / f"{Path(frame_name).stem}_{number}.jpg"


def _meta(frame: Frame, cut: CutFace, face_type: FaceType) -> FaceMeta:
    box = cut.found.rect
    return FaceMeta(
        face_type=face_type,
        landmarks=cut.landmarks,
        source_filename=frame.name,
        source_rect=Rect(
            float(round(box.left)), float(round(box.top)), float(round(box.right)), float(round(box.bottom))
        ),
        source_landmarks=cut.found.landmarks,
        image_to_face_mat=cut.face_from_frame,
    )


def _debug_picture(frame: Frame, cuts: Sequence[CutFace], size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = frame.rgb8.copy()
    for cut in cuts:
        draw_landmarks(picture, cut.found.landmarks)
        darken(picture, face_hull(cut.found.landmarks, frame.height, frame.width))
        draw_rect(picture, cut.found.rect)
        if cut.face_from_frame is not None:
            draw_square(picture, cut.face_from_frame, size)
    return picture


def _take_up(
    workspace: Workspace, side: Side, footage: FrameSource, options: ExtractOptions, report: Report
) -> ExtractJournal:
    """The journal to go on with: an earlier run's, one made from the faces that are there, or an empty one."""
    paths = workspace.side(side)
    path = journal_path(workspace, side)
    fresh = ExtractJournal(path, footage_key(footage, read_record(record_path(workspace, side))), settings_of(options))
    if options.replace:
        _move_to_trash(workspace, side, report)
        return fresh
    earlier = ExtractJournal.read(path)
    if not _face_files(paths.aligned):
        unfinished = earlier is not None and not earlier.is_complete and earlier.faces == 0
        return earlier if earlier is not None and unfinished and _fits(earlier, fresh) else fresh
    journal = earlier or _from_faceset(fresh, workspace, side)
    _require_fit(journal, fresh, side)
    if not _is_all_done(journal, paths) and journal.done:
        report(Note(f"Going on after {len(journal.done)} frames with {journal.faces} faces that are done."))
    return journal


def _from_faceset(fresh: ExtractJournal, workspace: Workspace, side: Side) -> ExtractJournal:
    """A journal for faces that came here without one: every frame that has a face is done."""
    with Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs) as catalog:
        faces = catalog.faces()
    count = Counter(face.source_filename for face in faces if face.source_filename)
    # A mixed faceset fits anything: it cannot become any more mixed.
    kinds = {(str(face.face_type), face.width) for face in faces}
    settings = dict(zip(("face_type", "image_size"), kinds.pop(), strict=True)) if len(kinds) == 1 else fresh.settings
    done = {name: Done(_index_in_name(name), faces) for name, faces in count.items()}
    return ExtractJournal(fresh.path, fresh.footage, settings, done=done)


def _index_in_name(name: str) -> int:
    stem = Path(name).stem
    return int(stem) - 1 if stem.isdecimal() else -1


def _fits(earlier: ExtractJournal, fresh: ExtractJournal) -> bool:
    return earlier.footage == fresh.footage and earlier.settings == fresh.settings


def _require_fit(earlier: ExtractJournal, fresh: ExtractJournal, side: Side) -> None:
    """Raise UsageError when going on would mix two kinds of faces in one faceset."""
    if _fits(earlier, fresh):
        return
    if earlier.footage != fresh.footage:
        reason = f"were cut from other footage ({earlier.footage}; now: {fresh.footage})"
    else:
        changed = [name for name, value in fresh.settings.items() if earlier.settings.get(name) != value]
        reason = "were cut with " + ", ".join(
            f"{name} {earlier.settings.get(name)}, not {fresh.settings[name]}" for name in changed
        )
    raise UsageError(
        f"The {earlier.faces} faces in data_{side}/aligned {reason}.",
        hint=f"Use the same settings to go on, or start anew (the old faces move to the trash): "
        f"understudy faceset extract {side} --replace",
    )


def _is_all_done(journal: ExtractJournal, paths: SidePaths) -> bool:
    """Whether there is nothing left to do, without decoding anything."""
    if not journal.is_complete:
        return False
    seen = {*journal.done, *(item.item for item in journal.skipped)}
    return not journal.is_of_folder or all(file.name in seen for file in paths.frame_files())


def _first_to_do(journal: ExtractJournal, paths: SidePaths, length: int) -> int:
    """Index of the first frame of the first stretch that is not done."""
    if not journal.is_of_folder:
        return journal.next_index // length * length
    last = -1
    for file in paths.frame_files():
        done = journal.done.get(file.name)
        if done is None or done.index <= last:
            break
        last = done.index
    return (last + 1) // length * length


def _require_faces(journal: ExtractJournal, side: Side) -> None:
    if not journal.done and not journal.skipped:
        raise NoFrames(f"The {side} footage has no frames.", hint="Look at it with: understudy video probe FILE")
    if journal.faces == 0:
        raise NoFacesFound(
            f"No face was found in any of the {len(journal.done)} {side} frames"
            + (f" ({len(journal.skipped)} could not be used)." if journal.skipped else "."),
            hint="Check that the footage is the right way up and shows faces; --min-face lowers the smallest size.",
            frames=len(journal.done),
            skipped=[item.item for item in journal.skipped],
        )


def _interrupted(journal: ExtractJournal, options: ExtractOptions) -> Interrupted:
    again = "run the command again without --replace" if options.replace else "run the same command again"
    return Interrupted(
        f"Stopped after {len(journal.done)} frames with {journal.faces} faces.",
        hint=f"Everything found is kept; {again} and it goes on from there.",
    )


def _face_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in (*IMAGE_SUFFIXES, ".pak") and path.is_file()]


def _move_to_trash(workspace: Workspace, side: Side, report: Report) -> None:
    """Put the faces and debug pictures that are there aside, by renaming their folders."""
    paths = workspace.side(side)
    count = len(_face_files(paths.aligned))
    trash = workspace.private / "trash" / f"{datetime.now():%Y%m%d-%H%M%S-%f}-extract-{side}"
    with os_errors(paths.aligned):
        for folder in (paths.aligned, paths.aligned_debug):
            if folder.is_dir() and any(folder.iterdir()):
                trash.mkdir(parents=True, exist_ok=True)
                folder.rename(trash / folder.name)
    if count:
        report(Note(f"Moved {count} earlier faces to {trash.relative_to(workspace.root)}."))
