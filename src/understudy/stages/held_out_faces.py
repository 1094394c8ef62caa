"""Which faces of a workspace a model never learns from, and those faces made ready to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from understudy.errors import EmptyFaceset
from understudy.facesets import Catalog, FaceEntry
from understudy.networks.families import Config
from understudy.records import Side
from understudy.report import Note, Report, Stop, never, silent
from understudy.training.faces.bank import FaceBank
from understudy.training.faces.hold_out import RUN, Position, Split, Stretches, held_out_split, place_of
from understudy.training.measuring.evaluating import Evaluator
from understudy.training.measuring.held_out import HeldOut, Sides, reference_objective
from understudy.training.options import TrainOptions
from understudy.training.previews.preview import spread
from understudy.training.saved.models import ModelRecord
from understudy.training.session import Session
from understudy.workspace import Workspace

MOST = 64
"""Faces of a side that are made ready for a training; an evaluation looks at half as many, the classifier of likeness
at all."""


@dataclass(frozen=True, eq=False)
class HeldOutFaces:
    """The held-out faces of both sides as crops of a model. None: that side holds none out.

    run: indexes in dst's bank of faces of consecutive frames. trained_on: the model has learned from some of them
    before they were held out. faces: stands for all of them.
    """

    src: FaceBank | None
    dst: FaceBank | None
    run: tuple[int, ...]
    trained_on: bool
    faces: str


def decided(
    workspace: Workspace, record: ModelRecord, options: TrainOptions, *, iteration: int, report: Report = silent
) -> ModelRecord:
    """The record of a model with what it holds out of the facesets as they are now.

    What was decided before stands. iteration: how far the model is trained. Raises EmptyFaceset.
    """
    held_out, nothing = {}, []
    for side in Side:
        with Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs) as catalog:
            faces = catalog.require_faces()
        split = split_of(side, faces, record, options, iteration=iteration)
        held_out[str(side)] = split.stretches.as_json()
        if options.hold_out and not split.held_out:
            nothing.append(f"{len(faces)} {side}")
    if nothing:
        report(
            Note(
                f"Of {' and '.join(nothing)} faces none are held out, they are too few: evaluations show how well "
                "these faces are known, not how the model does on others."
            )
        )
    return replace(record, held_out=held_out)


def split_of(
    side: Side, faces: Sequence[FaceEntry], record: ModelRecord, options: TrainOptions, *, iteration: int = 0
) -> Split[FaceEntry]:
    """The faces of a side in those that a model learns from and those that it does not."""
    known = Stretches.from_json(record.held_out.get(str(side)))
    return held_out_split(faces, options.hold_out, known=known, iteration=iteration)


def held_out_faces(
    workspace: Workspace,
    record: ModelRecord,
    options: TrainOptions,
    config: Config,
    *,
    most: int = MOST,
    eyes_mouth: bool = False,
    report: Report = silent,
    stop: Stop = never,
) -> HeldOutFaces:
    """Load what a model holds out, up to `most` faces of a side beside dst's run. Raises Interrupted."""
    banks: dict[Side, FaceBank | None] = {}
    known: list[Stretches] = []
    run: tuple[int, ...] = ()
    for side in Side:
        folder = workspace.side(side).aligned
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            split = split_of(side, catalog.require_faces(), record, options)
            faces = [face for stretch in split.runs for face in stretch]
            in_a_row = consecutive(faces) if side is Side.DST else []
            banks[side] = bank = load_some(faces, in_a_row, config, most, eyes_mouth, report, stop)
        known.append(split.stretches)
        if bank is not None:
            run = indexes_of(in_a_row, bank)
    return HeldOutFaces(
        banks[Side.SRC],
        banks[Side.DST],
        run,
        trained_on=record.imported or any(stretches.since > 0 for stretches in known),
        faces=" ".join(stretches.fingerprint for stretches in known),
    )


def evaluator_for(
    workspace: Workspace, record: ModelRecord, session: Session, report: Report = silent, stop: Stop = never
) -> Evaluator:
    """What measures a training on its held-out faces; where there are none, on faces that it learns from."""
    config, options, device = session.config, session.options, session.fabric.device
    eyes_mouth = session.learner.objective.eyes_mouth
    faces = held_out_faces(workspace, record, options, config, eyes_mouth=eyes_mouth, report=report, stop=stop)
    src, dst = session.batches.banks
    held_out = HeldOut.of(
        Sides(src, dst), faces.src, faces.dst, run=faces.run, face_type=config.face_type, device=device
    )
    reference = reference_objective(session.learner.objective)
    return Evaluator.open(session.folder, held_out, reference, faces=faces.faces, until=session.state.iteration)


def load_some(
    faces: Sequence[FaceEntry],
    run: Sequence[FaceEntry],
    config: Config,
    most: int,
    eyes_mouth: bool,
    report: Report,
    stop: Stop,
) -> FaceBank | None:
    """The crops of up to `most` faces, evenly spread, and of all of `run`; None where none can be used.

    They are not kept on disk: the cache of a faceset is for those that are trained on.
    """
    chosen = {faces[index].key for index in spread(len(faces), most)} | {face.key for face in run}
    try:
        return FaceBank.load(
            [face for face in faces if face.key in chosen],
            size=config.size,
            face_type=config.face_type,
            eyes_mouth=eyes_mouth,
            report=report,
            stop=stop,
        )
    except EmptyFaceset:
        return None


def indexes_of(faces: Sequence[FaceEntry], bank: FaceBank) -> tuple[int, ...]:
    """Where faces lie in a bank; those that could not be read end them."""
    index = {name: number for number, name in enumerate(bank.names)}
    found: list[int] = []
    for face in faces:
        if face.key not in index:
            break
        found.append(index[face.key])
    return tuple(found)


def consecutive(faces: Sequence[FaceEntry], most: int = RUN) -> list[FaceEntry]:
    """The longest run of faces of neighbouring frames, up to `most`, one face of each frame; empty where there is none.

    Neighbours are frames whose numbers differ by the usual step of the faceset, as footage may be thinned out.
    """
    places: dict[tuple[str, Position], FaceEntry] = {}
    for face in sorted(faces, key=lambda face: face.key):
        places.setdefault(place_of(face), face)
    ordered = sorted(places)
    steps = [two.number - one.number for (a, one), (b, two) in pairwise(ordered) if a == b]
    usual = max(set(steps), key=lambda step: (steps.count(step), -step), default=0)
    runs = [[ordered[0]]] if ordered else []
    for before, after in pairwise(ordered):
        if before[0] == after[0] and after[1].number - before[1].number == usual > 0:
            runs[-1].append(after)
        else:
            runs.append([after])
    longest = max(runs, key=len, default=[])
    return [places[place] for place in longest[:most]] if len(longest) > 1 else []
