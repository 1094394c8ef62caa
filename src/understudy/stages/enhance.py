"""Give the soft faces of a faceset the detail of its sharp ones.

    look at every face ─► sharp ─ learn ─► restorer ─┐
                        └► soft ────────────────────┴─► aligned_enhanced/, or with --replace their place

A face that the restorer makes no better stays as it was and is named. Without --replace, aligned_enhanced becomes a
whole faceset: faces that were sharp already are copied into it as they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from understudy.curation import measures
from understudy.devices import device_named
from understudy.errors import UnreadableFace
from understudy.evaluation.restoration import plausibility
from understudy.facesets import Catalog, Face, FaceEntry, changes, encode_jpeg, read_face, write_face
from understudy.facesets.reading import each_face
from understudy.files import os_errors, sweep, write_bytes
from understudy.imaging.sheet import before_and_after
from understudy.imaging.types import as_float
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.enhance_choice import Chosen, Look, choose_faces
from understudy.stages.enhance_journal import EnhanceJournal, Fate, Outcome, Stamp, stamp_of
from understudy.stages.enhance_options import EnhanceOptions
from understudy.stages.enhance_restorer import PersonRestorer, Restorers, heed_stop
from understudy.stages.enhance_sheet import AMPLIFIED, middle_of_face
from understudy.stages.face_changes import require_loose, swap_in, writing_faces
from understudy.stages.result import StageResult
from understudy.training.enhancing.degrading import Pixels, softness
from understudy.training.enhancing.trusting import Trust, blended, blur_of
from understudy.training.learning.precision import choose
from understudy.workspace import SidePaths, Workspace

SMALLEST = 32
"""Faces of fewer pixels across are left as they are."""

SHEET_ROWS = 6


def enhance(
    workspace: Workspace,
    side: Side,
    options: EnhanceOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Enhance the soft faces of `side` into `aligned_enhanced`, or in place with `replace`.

    A run that was stopped goes on where it was, in learning and in enhancing; a restorer that has been learned is used
    again. Data, size, masks and outlines of the faces stay as they are. Raises EmptyFaceset, FacesetError when there
    are too few sharp faces to learn from, UsageError for replacing packed faces, IncompatibleModel and MissingExtra
    for an ONNX file, Interrupted, Busy when another process writes this faceset, DiskFull and ReadOnlyWorkspace.
    """
    side, options = Side(side), options or EnhanceOptions()
    started = time.perf_counter()
    paths = workspace.side(side)
    home = workspace.private / "enhance" / str(side)
    with writing_faces(workspace, side):
        if options.replace:
            require_loose(workspace, side, otherwise="Without --replace they are enhanced into aligned_enhanced.")
        with Catalog.open(paths.aligned, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces = catalog.require_faces()
            run = _Run(workspace, paths, home, options, report, stop)
            summary = run.over(faces, catalog.skipped)
    return StageResult(
        faces=len(faces),
        skipped=summary.skipped,
        seconds=time.perf_counter() - started,
        rate=summary.rate,
        outputs=summary.outputs,
        notes=summary.notes,
    )


@dataclass(frozen=True, eq=False)
class _Summary:
    skipped: list[Skipped]
    outputs: list[Path]
    notes: dict[str, object]
    rate: float | None


class _Run:
    """One run of the stage over one side."""

    def __init__(
        self, workspace: Workspace, paths: SidePaths, home: Path, options: EnhanceOptions, report: Report, stop: Stop
    ) -> None:
        self.workspace, self.paths, self.home, self.options = workspace, paths, home, options
        self.report, self.stop = report, stop
        self.enhanced = paths.frames / "aligned_enhanced"
        self.device = device_named(options.device)
        self.precision = choose(self.device.id, options.precision)
        if options.threads and self.device.kind == "cpu":
            self.precision = replace(self.precision, threads=options.threads)

    def over(self, faces: Sequence[FaceEntry], unusable: Sequence[Skipped]) -> _Summary:
        """Look, learn, enhance, and put the results in their place."""
        journal = EnhanceJournal.read(self.home / "enhanced.jsonl")
        looks, skipped = self._look(faces)
        made_here = [look for look in looks if look.stamp in journal.made]
        people = self._people([look for look in looks if look.stamp not in journal.made])
        chosen = [choose_faces(person, group, self.options) for person, group in people.items()]
        if not any(group.soft for group in chosen):
            return self._nothing_to_do(chosen, [*unusable, *skipped], len(made_here))
        maker = Restorers(
            self.paths.side,
            self.home,
            self.options,
            self.device,
            self.precision,
            self._set_aside,
            self.report,
            self.stop,
        )
        restorers = [maker.restorer_for(group, alone=len(chosen) == 1) if group.soft else None for group in chosen]
        self._settle(journal, restorers)
        began, done_before = time.perf_counter(), len(journal.done)
        with journal:
            for group, restorer in zip(chosen, restorers, strict=True):
                if restorer is not None:
                    self._apply(group, restorer, journal)
            if not self.options.replace:
                rest = [look for group in chosen for look in group.others] + made_here
                self._copy(rest, journal)
        seconds = time.perf_counter() - began
        fates = Counter(outcome.fate for outcome in journal.done.values())
        enhanced = [look for group in chosen for look in group.soft if _is(journal, look, Fate.ENHANCED)]
        sheet = self._sheet(enhanced)
        change = self._replace(enhanced) if self.options.replace else None
        doubted = [Skipped(one.key, one.why) for one in journal.done.values() if one.doubted]
        for item in doubted:
            self.report(Note(item.reason, "warning", item.item))
        skipped = [*unusable, *skipped, *(item for group in chosen for item in group.skipped), *doubted]
        return _Summary(
            skipped,
            [self.paths.aligned if self.options.replace else self.enhanced, *([sheet] if sheet else [])],
            {
                "enhanced": fates[Fate.ENHANCED],
                "left": fates[Fate.LEFT],
                "restorers": [restorer.facts for restorer in restorers if restorer is not None],
                **({"undo": "understudy faceset undo " + str(self.paths.side)} if change else {}),
            },
            (len(journal.done) - done_before) / seconds if seconds > 0 and len(journal.done) > done_before else None,
        )

    # -- looking

    def _look(self, faces: Sequence[FaceEntry]) -> tuple[list[Look], list[Skipped]]:
        def look(entry: FaceEntry, face: Face) -> Look:
            if min(entry.height, entry.width) < SMALLEST:
                raise UnreadableFace(f"it is too small to tell what is soft in it ({entry.width} x {entry.height})")
            return Look(entry, _stamp(entry), measures.sharpness(face), softness(face.rgb8))

        looks, skipped = [], []
        found = each_face(faces, look, workers=self.options.workers, report=self.report, stop=self.stop)
        for _, result in found:
            if isinstance(result, Skipped):
                skipped.append(result)
            else:
                looks.append(result)
        heed_stop(self.stop, "while the faces were looked at")
        return looks, skipped

    def _people(self, looks: Sequence[Look]) -> dict[str | None, list[Look]]:
        """Faces by person, since nobody's detail belongs into another face."""
        people: dict[str | None, list[Look]] = {}
        for look in looks:
            people.setdefault(look.entry.who, []).append(look)
        return dict(sorted(people.items(), key=lambda item: item[0] or ""))

    def _nothing_to_do(self, chosen: list[Chosen], skipped: list[Skipped], made_here: int) -> _Summary:
        limit = f"{self.options.soft_below:.0%} of the detail of the sharpest quarter"
        already = f" {made_here} have been enhanced before." if made_here else ""
        self.report(
            Note(f"No face has less than {limit}: there is nothing to enhance.{already} --all takes every face.")
        )
        skipped = [*skipped, *(item for group in chosen for item in group.skipped)]
        return _Summary(skipped, [], {"enhanced": 0, "left": 0, "enhanced_before": made_here}, None)

    # -- applying

    def _settle(self, journal: EnhanceJournal, restorers: Sequence[PersonRestorer | None]) -> None:
        """Begin the run, or go on with one of the same settings; what another left moves to the trash."""
        options = self.options
        facts = [
            [restorer.identity for restorer in restorers if restorer is not None],
            [options.strength, options.soft_below, options.all, options.vouched, options.jpeg_quality],
        ]
        settings = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        if journal.settings != settings or not journal.done:
            self._set_aside(self.enhanced, "faces of an earlier run", only_full=True)
        elif journal.done:
            self.report(Note(f"Going on after {len(journal.done)} faces that are done."))
        journal.begin(settings)
        sweep(self.enhanced)

    def _apply(self, group: Chosen, restorer: PersonRestorer, journal: EnhanceJournal) -> None:
        """Enhance the soft faces of one person that are not done."""
        to_do = [look for look in group.soft if not self._is_done(journal, look)]
        looks = {look.entry.key: look for look in to_do}
        lock = threading.Lock()

        def work(entry: FaceEntry, face: Face) -> Outcome:
            return self._enhance(looks[entry.key], face, restorer, lock)

        entries = [look.entry for look in to_do]
        step = "Enhancing" if group.person is None else f"Enhancing {group.person}"
        found = each_face(entries, work, workers=self.options.workers, step=step, report=self.report, stop=self.stop)
        for entry, outcome in found:
            if isinstance(outcome, Skipped):
                outcome = Outcome(entry.key, looks[entry.key].stamp, Fate.LEFT, None, outcome.reason, doubted=True)
            journal.add(outcome, [self.enhanced / entry.key] if outcome.made else ())
        heed_stop(self.stop, f"after {len(journal.done)} faces")

    def _enhance(self, look: Look, face: Face, restorer: PersonRestorer, lock: threading.Lock) -> Outcome:
        """Enhance one face, and write it where it is better than it was."""
        strength = self.options.strength * restorer.trust.strength_for(float(look.octaves[:2].mean()))
        if strength <= 0:
            return self._leave(look, face, "nothing is gained for a face of this softness")
        with lock:
            drawn = restorer.restore(face.rgb8)
        picture = blended(face.rgb8, drawn, strength)
        why = objection(picture, face.rgb8, restorer.trust)
        if why:
            return self._leave(look, face, why, doubted=True)
        pixels = np.rint(picture * 255).astype(np.uint8)
        path = self._place(look.entry)
        write_face(path, encode_jpeg(pixels, self.options.jpeg_quality), face.meta)
        return Outcome(look.entry.key, look.stamp, Fate.ENHANCED, stamp_of(path))

    def _leave(self, look: Look, face: Face, why: str, *, doubted: bool = False) -> Outcome:
        made = None if self.options.replace else self._copy_one(look.entry)
        return Outcome(look.entry.key, look.stamp, Fate.LEFT, made, why, doubted)

    def _copy(self, looks: Sequence[Look], journal: EnhanceJournal) -> None:
        """Make aligned_enhanced a whole faceset with the faces that are as they should be."""
        for number, look in enumerate(looks):
            if number % 100 == 0:
                heed_stop(self.stop, f"after {len(journal.done)} faces")
            if not self._is_done(journal, look):
                made = self._copy_one(look.entry)
                journal.add(Outcome(look.entry.key, look.stamp, Fate.COPIED, made), [self.enhanced / look.entry.key])

    def _copy_one(self, entry: FaceEntry) -> Stamp:
        path = self._place(entry)
        if entry.packed_at is not None:
            write_face(path, entry.read_bytes(), entry.meta)
        else:
            write_bytes(path, entry.read_bytes(), durable=False)
        return stamp_of(path)

    def _place(self, entry: FaceEntry) -> Path:
        path = self.enhanced / entry.key
        if not path.parent.is_dir():
            with os_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _is_done(self, journal: EnhanceJournal, look: Look) -> bool:
        """Whether this very file was done by this run or the one it goes on with, and the result is still there."""
        outcome = journal.done.get(look.entry.key)
        if outcome is None or outcome.before != look.stamp:
            return False
        if outcome.made is None:
            return self.options.replace
        try:
            return stamp_of(self.enhanced / look.entry.key) == outcome.made
        except OSError:
            return False

    # -- afterwards

    def _replace(self, enhanced: Sequence[Look]) -> changes.Change | None:
        """Let the enhanced faces and the old ones change places, as one change that can be undone."""
        if not enhanced:
            return None
        keys = [look.entry.key for look in enhanced]
        title = f"Enhanced {len(enhanced)} faces"
        side, report, stop = self.paths.side, self.report, self.stop
        change = swap_in(self.workspace, side, keys, self.enhanced, title=title, report=report, stop=stop)
        self._set_aside(self.enhanced, "copies of the other faces", only_full=True)
        shutil.rmtree(self.enhanced, ignore_errors=True)
        return change

    def _sheet(self, enhanced: Sequence[Look]) -> Path | None:
        """A picture of some faces before and after, from the softest to the sharpest."""
        if not enhanced:
            return None
        ordered = sorted(enhanced, key=lambda look: look.detail)
        picked = [ordered[index] for index in np.unique(np.linspace(0, len(ordered) - 1, SHEET_ROWS).astype(int))]
        rows = []
        for look in picked:
            before, after = look.entry.read().rgb8, read_face(self.enhanced / look.entry.key).rgb8
            rows.append(middle_of_face(look.entry.name, before, after))
        path = self.home / "before_after.png"
        with os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, before_and_after(rows, amplified=AMPLIFIED).png())
        return path

    def _set_aside(self, folder: Path, what: str, *, only_full: bool = False) -> None:
        """Move a folder to the workspace's trash, where it is there."""
        if not folder.is_dir() or (only_full and not any(path.is_file() for path in folder.rglob("*"))):
            return
        trash = self.workspace.private / "trash" / f"{datetime.now():%Y%m%d-%H%M%S-%f}-enhance-{self.paths.side}"
        with os_errors(folder):
            trash.mkdir(parents=True)
            folder.rename(trash / folder.name)
        self.report(Note(f"Moved {what} to {trash.relative_to(self.workspace.root)}."))


def objection(picture: np.ndarray, soft: Pixels, trust: Trust) -> str:
    """Why an enhanced face is not to be used; empty when nothing speaks against it.

    picture: (S,S,3) float32 0..1; soft: the face it was made from, uint8.
    """
    if not np.isfinite(picture).all():
        return "the restorer gave no numbers"
    found = plausibility(picture, as_float(soft), blur_of(picture))
    if found.faithful < trust.faithful:
        return f"it no longer looks like the face it was made from ({found.faithful:.0f} dB)"
    if found.overshoot > trust.overshoot:
        return f"it has light or dark spots that were not there ({found.overshoot:.1%} of it)"
    if found.noise > trust.noise:
        return f"it is grainier than before ({found.noise:.1f} times)"
    if found.detail < 1 and found.noise >= 1:
        return "it is softer than before"
    return ""


def _is(journal: EnhanceJournal, look: Look, fate: Fate) -> bool:
    outcome = journal.done.get(look.entry.key)
    return outcome is not None and outcome.fate is fate


def _stamp(entry: FaceEntry) -> Stamp:
    return (entry.packed_at[1], entry.packed_at[0]) if entry.packed_at is not None else stamp_of(entry.path)
