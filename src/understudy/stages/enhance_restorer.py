"""What enhances the faces of one person: a restorer learned from the sharp ones, or a network that the user has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from understudy.devices import Device, physical_cores
from understudy.errors import FacesetError, Interrupted
from understudy.facesets.reading import each_face
from understudy.imaging.types import as_float
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop
from understudy.stages.enhance_choice import LEAST_SHARP, Chosen, Look, split
from understudy.stages.enhance_options import MINUTES_ON_CPU, MINUTES_ON_GPU, EnhanceOptions
from understudy.training.enhancing.degrading import Pixels, cookbook
from understudy.training.enhancing.restoring import (
    Budget,
    Lessons,
    Setup,
    TrainedRestorer,
    load_restorer,
    train_restorer,
)
from understudy.training.enhancing.trusting import Restore, Trust, Verdict, judge
from understudy.training.learning.precision import Precision
from understudy.training.saved.checkpoints import CheckpointStore

UNJUDGED = Trust((0.0,), (1.0,), faithful=28.0, overshoot=0.05, noise=3.0)
"""What holds for a restorer that could not be measured here."""


@dataclass(frozen=True, eq=False)
class PersonRestorer:
    """What enhances the faces of one person, however it was come by. identity: what its results depend on."""

    restore: Restore
    trust: Trust
    identity: str
    facts: dict[str, object]


@dataclass(frozen=True, eq=False)
class Restorers:
    """Where restorers come from. home: folder of the learned ones. set_aside: moves a folder to the trash, and why."""

    side: Side
    home: Path
    options: EnhanceOptions
    device: Device
    precision: Precision
    set_aside: Callable[[Path, str], None]
    report: Report
    stop: Stop

    def restorer_for(self, group: Chosen, *, alone: bool) -> PersonRestorer:
        """The restorer for these faces: learned, or the one that was named. alone: whether there is but one person."""
        if self.options.model is not None:
            return self._from_file(group)
        return self._learned(group, self.home if alone or group.person is None else self.home / _folder(group.person))

    def _learned(self, group: Chosen, folder: Path) -> PersonRestorer:
        """The restorer of this person: the one that is there, or one that is learned now."""
        store = CheckpointStore(folder, keep=2)
        if self.options.fresh:
            self.set_aside(store.folder, "the restorer that was there")
        store.tidy()
        found = load_restorer(store, self.precision, self.device.torch, self.report)
        kind = str(group.soft[0].entry.face_type)
        if found is not None and (other := _made_for_other(found, kind, group.person)):
            self.set_aside(store.folder, other)
            found = None
        if found is None:
            found = self._learn(group, store, kind)
        else:
            self.report(Note(f"Using the restorer of {found.iteration} iterations that is there; --fresh learns anew."))
        assert found.verdict is not None
        self.report(Note(_said(found.verdict, group.person)))
        facts = _facts(found.verdict, found.trust, group.person, iterations=found.iteration, seconds=found.seconds)
        trust = found.trust if self.options.vouched else replace(UNJUDGED, noise=found.trust.noise)
        return PersonRestorer(found, trust, found.identity, facts)

    def _learn(self, group: Chosen, store: CheckpointStore, kind: str) -> TrainedRestorer:
        _require_sharp(len(group.sharp), group.person, self.side)
        lessons, names = self._lessons(group)
        about = {"face_type": kind, "person": group.person, "faces": names}
        started = store.newest(self.report, optimiser=False)
        if started is not None and started.state["about"].get("faces") != names:
            self.set_aside(store.folder, "a restorer whose learning had begun with other faces")
        budget = self._budget()
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

    def _budget(self) -> Budget:
        minutes, iterations = self.options.minutes, self.options.iterations
        if not minutes and not iterations:
            minutes = MINUTES_ON_CPU if self.device.kind == "cpu" else MINUTES_ON_GPU
        return Budget(minutes, iterations)

    def _lessons(self, group: Chosen) -> tuple[Lessons, list[str]]:
        """The pictures to learn from and to judge by, and the names of the former."""
        held_out, learned = split(group.sharp)
        octaves = np.array([look.octaves for look in group.soft])
        pictures = self._pictures([*learned, *held_out])
        _require_sharp(len(pictures), group.person, self.side)
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
        heed_stop(self.stop, "while sharp faces were read")
        return pictures

    def _from_file(self, group: Chosen) -> PersonRestorer:
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
        return PersonRestorer(restorer, trust, f"{restorer.identity} {trust.as_json()}", facts)


def heed_stop(stop: Stop, when: str) -> None:
    """Raises Interrupted when the stage is to stop."""
    if stop():
        raise Interrupted(f"Stopped {when}; everything done is kept.", hint="Run the same command again to go on.")


def _made_for_other(found: TrainedRestorer, kind: str, person: str | None) -> str:
    """What a restorer was made for, where that is not these faces; empty where it is. A name may come or go."""
    if found.about.get("face_type") != kind:
        return f"a restorer for faces of type {found.about.get('face_type')}"
    learned = found.about.get("person")
    return f"a restorer for {learned}" if learned and person and learned != person else ""


def _folder(person: str) -> str:
    """A folder name for any person's name."""
    return f"person-{hashlib.sha256(person.encode()).hexdigest()[:12]}"


def _require_sharp(found: int, person: str | None, side: Side) -> None:
    if found >= LEAST_SHARP:
        return
    whose = f" of {person}" if person else ""
    raise FacesetError(
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
