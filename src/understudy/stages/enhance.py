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
from understudy.devices import Device, device_named, physical_cores
from understudy.errors import FacesetError, Interrupted, UnreadableFace
from understudy.evaluation.restoration import plausibility
from understudy.facesets import Catalog, Face, FaceEntry, changes, encode_jpeg, read_face, write_face
from understudy.facesets.reading import each_face
from understudy.files import os_errors, sweep, write_bytes
from understudy.imaging.sheet import before_and_after
from understudy.imaging.types import as_float
from understudy.records import FaceType, Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.enhance_journal import EnhanceJournal, Fate, Outcome, Stamp, stamp_of
from understudy.stages.enhance_options import MINUTES_ON_CPU, MINUTES_ON_GPU, EnhanceOptions
from understudy.stages.enhance_sheet import AMPLIFIED, middle_of_face
from understudy.stages.face_changes import require_loose, swap_in, writing_faces
from understudy.stages.result import StageResult
from understudy.training.checkpoints import CheckpointStore
from understudy.training.degrading import Floats, Pixels, cookbook, softness
from understudy.training.precision import choose
from understudy.training.restoring import Budget, Lessons, Setup, TrainedRestorer, load_restorer, train_restorer
from understudy.training.trusting import Restore, Trust, Verdict, blended, blur_of, judge
from understudy.workspace import SidePaths, Workspace

SMALLEST = 32
"""Faces of fewer pixels across are left as they are."""

SHARP_SHARE = 0.25
"""The sharpest part of a faceset, which is learned from."""
LEAST_SHARP = 24
"""Fewer sharp faces than this teach nothing about a person."""
MOST_SHARP = 256
MOST_SHARP_BYTES = 400_000_000
HELD_OUT_SHARE, LEAST_HELD_OUT, MOST_HELD_OUT, HELD_OUT_RUNS = 0.15, 6, 32, 2
SHEET_ROWS = 6

UNJUDGED = Trust((0.0,), (1.0,), faithful=28.0, overshoot=0.05, noise=3.0)
"""What holds for a restorer that could not be measured here."""


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
class Look:
    """What is seen of a face before anything is done. detail: `measures.sharpness`; octaves: `degrading.softness`."""

    entry: FaceEntry
    stamp: Stamp
    detail: float
    octaves: Floats


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The faces of one person. sharp: to learn from, in frame order; soft: to enhance; others stay as they are."""

    person: str | None
    sharp: list[Look]
    soft: list[Look]
    others: list[Look]
    skipped: list[Skipped]


@dataclass(frozen=True, eq=False)
class _Restorer:
    """What enhances the faces of one person, however it was come by. identity: what its results depend on."""

    restore: Restore
    trust: Trust
    verdict: Verdict | None
    identity: str
    facts: dict[str, object]


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
        chosen = [_choose(person, group, self.options) for person, group in people.items()]
        if not any(group.soft for group in chosen):
            return self._nothing_to_do(chosen, [*unusable, *skipped], len(made_here))
        restorers = [self._restorer(group, alone=len(chosen) == 1) if group.soft else None for group in chosen]
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
        self._heed_stop("while the faces were looked at")
        return looks, skipped

    def _people(self, looks: Sequence[Look]) -> dict[str | None, list[Look]]:
        """Faces by person, since nobody's detail belongs into another face."""
        people: dict[str | None, list[Look]] = {}
        for look in looks:
            people.setdefault(look.entry.who, []).append(look)
        return dict(sorted(people.items(), key=lambda item: item[0] or ""))

    def _nothing_to_do(self, chosen: list[_Chosen], skipped: list[Skipped], made_here: int) -> _Summary:
        limit = f"{self.options.soft_below:.0%} of the detail of the sharpest quarter"
        already = f" {made_here} have been enhanced before." if made_here else ""
        self.report(
            Note(f"No face has less than {limit}: there is nothing to enhance.{already} --all takes every face.")
        )
        skipped = [*skipped, *(item for group in chosen for item in group.skipped)]
        return _Summary(skipped, [], {"enhanced": 0, "left": 0, "enhanced_before": made_here}, None)

    # -- the restorer

    def _restorer(self, group: _Chosen, *, alone: bool) -> _Restorer:
        if self.options.model is not None:
            return self._from_file(group)
        return self._learned(group, self.home if alone or group.person is None else self.home / _folder(group.person))

    def _learned(self, group: _Chosen, folder: Path) -> _Restorer:
        """The restorer of this person: the one that is there, or one that is learned now."""
        store = CheckpointStore(folder, keep=2)
        if self.options.fresh:
            self._set_aside(store.folder, "the restorer that was there")
        store.tidy()
        found = load_restorer(store, self.precision, self.device.torch, self.report)
        kind = str(group.soft[0].entry.face_type)
        if found is not None and (other := _made_for_other(found, kind, group.person)):
            self._set_aside(store.folder, other)
            found = None
        if found is None:
            found = self._learn(group, store, kind)
        else:
            self.report(Note(f"Using the restorer of {found.iteration} iterations that is there; --fresh learns anew."))
        assert found.verdict is not None
        self.report(Note(_said(found.verdict, group.person)))
        facts = _facts(found.verdict, found.trust, group.person, iterations=found.iteration, seconds=found.seconds)
        trust = found.trust if self.options.vouched else replace(UNJUDGED, noise=found.trust.noise)
        return _Restorer(found, trust, found.verdict, found.identity, facts)

    def _learn(self, group: _Chosen, store: CheckpointStore, kind: str) -> TrainedRestorer:
        _require_sharp(group, self.paths.side)
        lessons, names = self._lessons(group)
        about = {"face_type": kind, "person": group.person, "faces": names}
        started = store.newest(self.report, optimiser=False)
        if started is not None and started.state["about"].get("faces") != names:
            self._set_aside(store.folder, "a restorer whose learning had begun with other faces")
        budget = self._budget(self.device)
        setup = Setup(
            seed=self.options.seed,
            workers=min(8, physical_cores()) if self.device.kind != "cpu" else 1,
            evaluate_every=0 if budget.minutes else 100,  # by the clock, two runs of so many iterations would differ
        )
        learned = train_restorer(
            store,
            lessons,
            budget,
            self.precision,
            self.device.torch,
            setup=setup,
            about=about,
            report=self.report,
            stop=self.stop,
        )
        if learned is None:
            raise Interrupted(
                "Stopped while learning; what was learned is saved.", hint="Run the same command again to go on."
            )
        return learned

    def _budget(self, device: Device) -> Budget:
        options = self.options
        minutes = options.minutes
        if not minutes and not options.iterations:
            minutes = MINUTES_ON_CPU if device.kind == "cpu" else MINUTES_ON_GPU
        return Budget(minutes, options.iterations)

    def _lessons(self, group: _Chosen) -> tuple[Lessons, list[str]]:
        """The pictures to learn from and to judge by, and the names of the former."""
        held_out, learned = split(group.sharp)
        octaves = np.array([look.octaves for look in group.soft])
        pictures = self._pictures([*learned, *held_out])
        if len(pictures) < LEAST_SHARP:
            raise _too_few(len(pictures), group.person, self.paths.side)
        count = len(pictures) - len(held_out)
        lessons = Lessons(np.stack(pictures[:count]), np.stack(pictures[count:]), octaves)
        return lessons, [look.entry.key for look in learned]

    def _pictures(self, looks: Sequence[Look]) -> list[Pixels]:
        entries = [look.entry for look in looks]
        found = each_face(
            entries,
            lambda entry, face: face.rgb8,
            workers=self.options.workers,
            step="Reading sharp faces",
            report=self.report,
            stop=self.stop,
        )
        pictures = [picture for _, picture in found if not isinstance(picture, Skipped)]
        self._heed_stop("while sharp faces were read")
        return pictures

    def _from_file(self, group: _Chosen) -> _Restorer:
        """The network of an ONNX file, proved on faces of this person as far as they allow."""
        from understudy.networks.onnx_restorer import OnnxRestorer

        options = self.options
        assert options.model is not None
        restorer = OnnxRestorer(
            options.model,
            bgr=options.model_order == "bgr",
            value_range=str(options.model_range),
            whole=options.model_fit == "whole",
            tile_px=options.model_tile,
            device=self.device.id,
        )
        tried = [look.entry.read().rgb8 for look in (group.sharp or group.soft)[:3]]
        restorer.require_sense([as_float(face) for face in tried])
        trust, verdict = UNJUDGED, None
        enough = len(group.sharp) >= LEAST_SHARP
        if options.vouched and enough:
            held_out = self._pictures(split(group.sharp)[0])
            rng = np.random.default_rng([options.seed, 33])
            recipes = cookbook(held_out, np.array([look.octaves for look in group.soft]), rng)
            trust, verdict = judge(restorer, held_out, recipes, seed=options.seed, count=24)
            self.report(Note(_said(verdict, group.person)))
        elif options.vouched:
            self.report(
                Note(
                    f"There are {len(group.sharp)} sharp faces; it takes {LEAST_SHARP} to measure what this network "
                    "gains. Only what is plainly wrong with a face holds it back.",
                    "warning",
                )
            )
        facts = _facts(verdict, trust, group.person, model=options.model.name)
        return _Restorer(restorer, trust, verdict, f"{restorer.identity} {trust.as_json()}", facts)

    # -- applying

    def _settle(self, journal: EnhanceJournal, restorers: Sequence[_Restorer | None]) -> None:
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

    def _apply(self, group: _Chosen, restorer: _Restorer, journal: EnhanceJournal) -> None:
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
        self._heed_stop(f"after {len(journal.done)} faces")

    def _enhance(self, look: Look, face: Face, restorer: _Restorer, lock: threading.Lock) -> Outcome:
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
                self._heed_stop(f"after {len(journal.done)} faces")
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

    def _heed_stop(self, when: str) -> None:
        if self.stop():
            raise Interrupted(f"Stopped {when}; everything done is kept.", hint="Run the same command again to go on.")


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


def split(sharp: Sequence[Look]) -> tuple[list[Look], list[Look]]:
    """(held out, learned from) of sharp faces in frame order.

    Held out are a few runs of neighbours, not single faces: a neighbour's frame shows almost the same.
    """
    count = int(np.clip(round(len(sharp) * HELD_OUT_SHARE), LEAST_HELD_OUT, MOST_HELD_OUT))
    length = max(1, count // HELD_OUT_RUNS)
    held: set[int] = set()
    for run in range(HELD_OUT_RUNS):
        start = round((run + 0.5) / HELD_OUT_RUNS * len(sharp)) - length // 2
        held.update(range(start, start + length))
    return [look for at, look in enumerate(sharp) if at in held], [
        look for at, look in enumerate(sharp) if at not in held
    ]


def _choose(person: str | None, looks: Sequence[Look], options: EnhanceOptions) -> _Chosen:
    """Which faces of a person are sharp and which are soft."""
    kind = Counter(look.entry.face_type for look in looks).most_common(1)[0][0]
    skipped = [reason for look in looks if (reason := _misfit(look.entry, kind)) is not None]
    misfits = {item.item for item in skipped}
    fit = [look for look in looks if look.entry.key not in misfits]
    if not fit:
        return _Chosen(person, [], [], list(looks), skipped)
    ranked = sorted(fit, key=lambda look: -look.detail)
    count = max(LEAST_SHARP, round(SHARP_SHARE * len(ranked)))
    best = ranked[:count]
    limit = options.soft_below * float(np.median([look.detail for look in best]))
    side = Counter(look.entry.width for look in best).most_common(1)[0][0]
    lessons = [look for look in best if look.entry.width == side and look.detail >= limit]
    sharp = _spread(sorted(lessons, key=_in_frame_order), side)
    soft = [look for look in fit if options.all or look.detail < limit]
    keys = {look.entry.key for look in soft}
    return _Chosen(person, sharp, soft, [look for look in looks if look.entry.key not in keys], skipped)


def _misfit(entry: FaceEntry, kind: FaceType) -> Skipped | None:
    if entry.height != entry.width:
        return Skipped(entry.key, f"it is not square ({entry.width} x {entry.height}); left as it was")
    if entry.face_type is not kind:
        return Skipped(entry.key, f"its type is {entry.face_type}, of most faces {kind}; left as it was")
    return None


def _spread(looks: list[Look], side: int) -> list[Look]:
    """At most as many as memory and learning have use for, spread over the footage."""
    most = max(LEAST_SHARP, min(MOST_SHARP, MOST_SHARP_BYTES // (3 * side * side)))
    if len(looks) <= most:
        return looks
    return [looks[index] for index in np.linspace(0, len(looks) - 1, most).astype(int)]


def _in_frame_order(look: Look) -> tuple[str, str]:
    return look.entry.frame or look.entry.name, look.entry.key


def _is(journal: EnhanceJournal, look: Look, fate: Fate) -> bool:
    outcome = journal.done.get(look.entry.key)
    return outcome is not None and outcome.fate is fate


def _stamp(entry: FaceEntry) -> Stamp:
    return (entry.packed_at[1], entry.packed_at[0]) if entry.packed_at is not None else stamp_of(entry.path)


def _made_for_other(found: TrainedRestorer, kind: str, person: str | None) -> str:
    """What a restorer was made for, where that is not these faces; empty where it is. A name may come or go."""
    if found.about.get("face_type") != kind:
        return f"a restorer for faces of type {found.about.get('face_type')}"
    learned = found.about.get("person")
    return f"a restorer for {learned}" if learned and person and learned != person else ""


def _folder(person: str) -> str:
    """A folder name for any person's name."""
    return f"person-{hashlib.sha256(person.encode()).hexdigest()[:12]}"


def _require_sharp(group: _Chosen, side: Side) -> None:
    if len(group.sharp) < LEAST_SHARP:
        raise _too_few(len(group.sharp), group.person, side)


def _too_few(found: int, person: str | None, side: Side) -> FacesetError:
    whose = f" of {person}" if person else ""
    return FacesetError(
        f"There are {found} sharp faces{whose} of one size and type; a restorer learns from at least {LEAST_SHARP}.",
        hint=f"Extract more frames of {side}, or use a ready restorer: --model FILE.onnx",
        found=found,
        needed=LEAST_SHARP,
    )


def _said(verdict: Verdict, person: str | None) -> str:
    whose = f" of {person}" if person else ""
    if verdict.gain_db <= 0:
        return f"On {verdict.faces} held-out faces{whose} nothing is gained: soft faces are left as they are."
    return (
        f"On {verdict.faces} held-out faces{whose}: {verdict.soft.psnr:.1f} → {verdict.restored.psnr:.1f} dB, "
        f"SSIM {verdict.soft.ssim:.3f} → {verdict.restored.ssim:.3f} (before: the soft face, enlarged by Lanczos)."
    )


def _facts(verdict: Verdict | None, trust: Trust, person: str | None, **more: object) -> dict[str, object]:
    facts: dict[str, object] = {"person": person} if person else {}
    facts |= {"strength": [round(value, 3) for value in trust.strength]}
    facts |= {"held_out": verdict.as_json(), "gain_db": round(verdict.gain_db, 3)} if verdict else {}
    return facts | {key: round(value, 1) if isinstance(value, float) else value for key, value in more.items()}
