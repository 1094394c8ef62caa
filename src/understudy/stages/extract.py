"""Find the faces of one side's footage and cut them out into its faceset.

    decode → shots → find, several stretches at once → join: tracks, smoothing → cut, encode, write → journal, progress

Inside a stretch (12 frames in a row) each frame's search is helped by the faces of the frame before; every stretch
starts without help. What is joined over time is decided in the order of the frames, from what the journal keeps. So any
number of threads, and a run that was stopped anywhere and taken up again, write the same faces.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from understudy.detection.cutting import crop_area
from understudy.detection.loading import load_engine
from understudy.detection.options import AUTO, LARGEST_IMAGE, SMALLEST_IMAGE, ExtractOptions
from understudy.detection.smoothing import REACH
from understudy.detection.tracking import MEMORY, WAIT, Tracker
from understudy.errors import Busy, Interrupted, MediaError, NoFacesFound, NoFrames, UsageError
from understudy.facesets import Catalog
from understudy.files import os_errors, sweep
from understudy.imaging.threads import one_thread_per_call
from understudy.media import Frame, FrameSource
from understudy.media.shots import ShotFinder
from understudy.records import FaceType, Side
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.extract_faces import Finders, Joined, Joiner, Look, Written, write_faces
from understudy.stages.extract_journal import (
    Done,
    ExtractJournal,
    done_of,
    footage_key,
    journal_path,
    settings_of,
)
from understudy.stages.face_changes import writing_faces
from understudy.stages.frame_record import read_record, record_path
from understudy.stages.result import StageResult
from understudy.stages.review import write_review
from understudy.stages.shots import read_shots, write_shots
from understudy.stages.stretches import Stretches, stretch_length
from understudy.workspace import IMAGE_SUFFIXES, SidePaths, Workspace

WARM_UP = WAIT + 10
"""Frames before the first one to do in which the search for shot changes learns what is usual."""

SAMPLES = 12
"""Frames in which faces are measured for --image-size auto."""

SIZE_STEP = 64
SIZE_PERCENTILE = 25
"""So many percent of the measured faces may be smaller than the picture that is cut for them."""


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
    with writing_faces(workspace, side), workspace.footage(side, options.from_) as footage:
        unchanged = _fingerprint(footage)
        journal = _take_up(workspace, side, footage, options, report)
        rate = None
        if not _is_all_done(journal, paths):
            options = options.but(
                image_size=journal.settings.get("image_size", options.size),
                debug_images=options.debug_images or _draws_already(paths, journal),
            )
            with journal, one_thread_per_call():
                rate = _extract(paths, footage, journal, options, report, stop)
                _require_same(footage, unchanged, side)
                journal.finish()
            _keep_shots(workspace, side, footage, journal)
            _review(workspace, side, report, stop)
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


def _draws_already(paths: SidePaths, journal: ExtractJournal) -> bool:
    """Whether the run that is gone on with drew debug images: a frame without one would count as deleted."""
    return bool(journal.done) and paths.aligned_debug.is_dir() and any(paths.aligned_debug.iterdir())


def _review(workspace: Workspace, side: Side, report: Report, stop: Stop) -> None:
    """Keep the list of what is worth a second look. One who stops now has all faces, and can ask for the list later."""
    with contextlib.suppress(Interrupted):
        found = write_review(workspace, side, report=report, stop=stop)
        if found.items:
            report(Note(f"{len(found.items)} places are worth a second look: understudy faceset review {side}"))


def _extract(
    paths: SidePaths,
    footage: FrameSource,
    journal: ExtractJournal,
    options: ExtractOptions,
    report: Report,
    stop: Stop,
) -> float | None:
    """Do every frame that is not in the journal. Gives frames per second."""
    for folder in (paths.aligned, *([paths.aligned_debug] if options.debug_images else [])):
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    start = _first_to_do(journal, paths, stretch_length(footage))
    joiner = _joiner(journal, start, options)
    finders = Finders(options, frozenset(journal.done))
    total = footage.estimated_count
    pace = Pace("Extracting", None if total is None else max(0, total - start), report)

    def hand_on(ready: Iterable[Joined]) -> None:
        """Have the faces of final frames written; let go of those that could not be read."""
        for joined in ready:
            if joined.look.faces is None:
                work.release(joined.look.serial)
            else:
                work.submit(partial(write_faces, joined, paths, options))

    work: Stretches[Look, Written] = Stretches(
        footage,
        start,
        finders.make,
        workers=options.workers,
        ahead=REACH + 1,
        frames=lambda: _marked(footage, start),
        flush=lambda: hand_on(joiner.flush()),
        stop=stop,
    )
    with work:
        for item in work:
            if isinstance(item, Look):
                journal.skip([*item.skipped, *footage.skipped])
                if item.is_known or item.picture is None:
                    work.release(item.serial)
                hand_on(joiner.add(item))
            else:
                work.release(item.serial)
                journal.add(item.seen.name, done_of(item.seen), item.files, item.seen)
            if isinstance(item, Written) or item.is_known or item.faces is None:
                pace.advance()
        if work.stopped:
            raise _interrupted(journal, options)
    journal.skip(footage.skipped)
    pace.report_now()
    for skipped in journal.skipped:
        report(Note(skipped.reason, level="warning", item=skipped.item))
    return pace.rate


def _marked(footage: FrameSource, start: int) -> Iterator[tuple[Frame, bool]]:
    """The frames from `start` on, each with whether it begins a shot. Some before are decoded for comparison."""
    shots = ShotFinder()
    for frame in footage.frames(max(0, start - WARM_UP)):
        try:
            is_cut = shots.feed(frame)
        except MediaError:
            is_cut = False
        if frame.index >= start:
            yield frame, is_cut


def _joiner(journal: ExtractJournal, start: int, options: ExtractOptions) -> Joiner:
    """A joiner that knows the frames before `start`.

    A run that goes on after a stop counts tracks on from the frames before it, and so gives the ids that it would have
    given without the stop; frames that are added to a finished run get ids of their own.
    """
    before = [(done.index, name) for name, done in journal.done.items() if start - MEMORY <= done.index < start]
    numbered = (done.last_track for done in journal.done.values() if journal.is_complete or done.index < start)
    joiner = Joiner(Tracker(next_id=1 + max(numbered, default=0)), options, recall=journal.seen)
    joiner.remember([seen for _, name in sorted(before) if (seen := journal.seen(name)) is not None])
    return joiner


def _keep_shots(workspace: Workspace, side: Side, footage: FrameSource, journal: ExtractJournal) -> None:
    """Keep the shots that were noticed on the way, where nobody has looked for them."""
    done = journal.done.values()
    if not done or any(frame.is_cut is None for frame in done) or read_shots(workspace, side, footage) is not None:
        return
    first, last = min(frame.index for frame in done), max(frame.index for frame in done)
    starts = sorted({first, *(frame.index for frame in done if frame.is_cut)})
    with contextlib.suppress(Busy), workspace.writing(f"shots-{side}"):
        write_shots(workspace, side, footage, starts, last + 1)


def _take_up(
    workspace: Workspace, side: Side, footage: FrameSource, options: ExtractOptions, report: Report
) -> ExtractJournal:
    """The journal to go on with: an earlier run's, one made from the faces that are there, or an empty one."""
    paths = workspace.side(side)
    path = journal_path(workspace, side)
    fresh = ExtractJournal(path, footage_key(footage, read_record(record_path(workspace, side))), settings_of(options))
    if options.replace:
        _measure_if_asked(fresh, footage, options, report)
        _move_to_trash(workspace, side, report)
        return fresh
    earlier = ExtractJournal.read(path)
    if not _face_files(paths.aligned):
        is_unfinished = earlier is not None and not earlier.is_complete and earlier.faces == 0
        if earlier is not None and is_unfinished and _fits(earlier, _as_earlier(fresh, earlier, options)):
            return earlier
        _measure_if_asked(fresh, footage, options, report)
        return fresh
    if not options.continue_:
        raise UsageError(
            f"There are faces in data_{side}/aligned already.",
            hint="Without --no-continue they are kept and the rest is done; --replace moves them to the trash.",
        )
    journal = earlier or _from_faceset(fresh, workspace, side)
    _require_fit(journal, _as_earlier(fresh, journal, options), side)
    if not _is_all_done(journal, paths) and journal.done:
        report(Note(f"Going on after {len(journal.done)} frames with {journal.faces} faces that are done."))
    return journal


def _as_earlier(fresh: ExtractJournal, earlier: ExtractJournal, options: ExtractOptions) -> ExtractJournal:
    """`fresh` with the size that an earlier run has measured, where the size is left to us."""
    if options.image_size == AUTO:
        fresh.settings["image_size"] = earlier.settings.get("image_size", options.size)
    return fresh


def _measure_if_asked(fresh: ExtractJournal, footage: FrameSource, options: ExtractOptions, report: Report) -> None:
    """Choose the size of the aligned pictures from the footage, where it is left to us."""
    if options.image_size != AUTO or options.face_type is FaceType.MARK_ONLY:
        return
    sides = _measured_sides(footage, options)
    if not sides:
        report(Note(f"No face in {SAMPLES} frames of the footage to measure; aligned pictures get {options.size} px."))
        return
    size = size_for(sides)
    fresh.settings["image_size"] = size
    report(
        Note(
            f"Aligned pictures get {size} px: the faces of {len(sides)} frames cover {min(sides):.0f} to"
            f" {max(sides):.0f} px, {np.median(sides):.0f} in the middle."
        )
    )


def size_for(sides: Sequence[float]) -> int:
    """The size at which at most a quarter of crops of these sides in frame pixels would be enlarged."""
    side = int(np.percentile(sides, SIZE_PERCENTILE)) // SIZE_STEP * SIZE_STEP
    return int(np.clip(side, SMALLEST_IMAGE, LARGEST_IMAGE))


def _measured_sides(footage: FrameSource, options: ExtractOptions) -> list[float]:
    """Sides in frame pixels of the crop of the largest face in each of some frames spread over the footage."""
    engine = load_engine(options.engine, device=options.device, accuracy=options.accuracy)
    count = footage.estimated_count or SAMPLES
    sides = []
    for position in np.unique(np.linspace(0, count - 1, SAMPLES + 2).astype(int)[1:-1]):
        frame = next(footage.frames(int(position)), None)
        try:
            found = [] if frame is None else engine.find(frame.rgb8)
        except MediaError:
            continue
        sizable = [face for face in found if min(face.rect.width, face.rect.height) >= options.min_face]
        areas = [crop_area(face.landmarks, options.face_type) for face in sizable[:1]]
        sides += [float(np.sqrt(area)) for area in areas if area is not None]
    return sides


def _fingerprint(footage: FrameSource) -> tuple[int, int] | None:
    """What changes when a video is written to; nothing for a folder, whose frames come and go."""
    path = footage.info.path
    if not path.is_file():
        return None
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _require_same(footage: FrameSource, before: tuple[int, int] | None, side: Side) -> None:
    """Raise UsageError when the video was replaced or written to meanwhile: its faces are of two films."""
    try:
        now = _fingerprint(footage)
    except OSError:
        now = None
    if now != before:
        raise UsageError(
            f"{footage.info.path.name} changed while its faces were looked for.",
            hint="When it is whole, start anew (what was found moves to the trash): "
            f"understudy faceset extract {side} --replace",
        )


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
    trash = workspace.new_trash(f"extract-{side}")
    with os_errors(paths.aligned):
        for folder in (paths.aligned, paths.aligned_debug):
            if folder.is_dir() and any(folder.iterdir()):
                trash.mkdir(parents=True, exist_ok=True)
                folder.rename(trash / folder.name)
    if count:
        report(Note(f"Moved {count} earlier faces to {trash.relative_to(workspace.root)}."))
