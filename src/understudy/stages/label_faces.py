"""The faces that a mask network is trained on: of both sides those with outlines, else those with an applied mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from understudy.errors import EmptyFaceset, UnderstudyError
from understudy.facesets import FaceEntry
from understudy.networks.families import Config
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.held_out_faces import MOST, load_some, split_of
from understudy.stages.train_faces import SHOWN_NAMES, Faces, FaceSupply
from understudy.training.faces.bank import FaceBank
from understudy.training.faces.hold_out import Stretches
from understudy.training.masking.held_masks import HeldMasks
from understudy.training.masking.objective import MaskObjective
from understudy.training.measuring.evaluating import Evaluator
from understudy.training.options import TrainOptions
from understudy.training.previews.preview import ROWS, spread
from understudy.training.previews.preview_choice import chosen_faces, still_there
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.models import ModelRecord
from understudy.training.session import Session
from understudy.workspace import Workspace

BySide = dict[Side, list[FaceEntry]]


class LabelSupply(FaceSupply):
    """Loads labelled faces and looks again for others: labels made meanwhile are learned from after the next save.

    One side may have none. In pretraining faces need no labels.
    """

    _seen_labels: dict[Side, tuple[int, int] | None] | None = None

    def load(self, options: TrainOptions, report: Report = silent, stop: Stop = never) -> Faces:
        """The labelled faces of both sides. Raises EmptyFaceset where there are none at all, Interrupted."""
        if options.pretrain:
            return super().load(options, report, stop)
        every = self.every_face(report, stop)
        labelled = labelled_of(every)
        skipped: list[Skipped] = []
        held_out: dict[str, int] = {}
        for side in Side:
            split = split_of(side, labelled[side], self._record, options)
            bank = self.labelled_bank(side, split.training, options, report, stop)
            bank.shown, bank.choice = self._shown(side, every, options), _names(every[side])
            self._banks[side] = bank
            self._unusable[side] = set(bank.skipped)
            skipped += bank.skipped
            held_out[str(side)] = len(split.held_out)
        _require_any(self._banks, skipped)
        self._seen_labels = self._revisions()
        return Faces(self._banks[Side.SRC], self._banks[Side.DST], skipped, held_out)

    def look_again(self, options: TrainOptions, report: Report = silent) -> tuple[FaceBank, FaceBank] | None:
        """Both banks with the labels made or changed since the last time; None where nothing was."""
        if options.pretrain:
            return super().look_again(options, report)
        try:
            others = self._labels_again(options, report)
        except (UnderstudyError, OSError) as error:
            self._tell_of(error, "labels", None, report)
            return None
        return (self._banks[Side.SRC], self._banks[Side.DST]) if others else None

    def _labels_again(self, options: TrainOptions, report: Report) -> bool:
        """Whether there are other labels than before, of either side."""
        every = self.every_face(report, never)
        seen = self._revisions()
        if seen == self._seen_labels:
            return False
        self._seen_labels = seen
        labelled = labelled_of(every)
        new = {side: self._labelled_again(side, labelled[side], options, report) for side in Side}
        _require_any(new, [skipped for bank in new.values() for skipped in bank.skipped])
        self._trouble.pop(None, None)
        others = [side for side in Side if new[side] is not self._banks[side]]
        for side in others:
            new[side].shown, new[side].choice = self._banks[side].shown, _names(every[side])
            self._tell_of_unusable(side, f"the labelled {side} faces", new[side].skipped, report)
            report(Note(f"Labelled {side} faces: {len(new[side])} by now."))
        self._banks = new
        return bool(others)

    def _labelled_again(
        self, side: Side, labelled: Sequence[FaceEntry], options: TrainOptions, report: Report
    ) -> FaceBank:
        """The bank of a side with the labels that there are now: the same one where they are as before."""
        before = self._banks[side]
        faces = split_of(side, labelled, self._record, options).training
        if not len(before) and not faces:
            return before
        if not len(before) or not faces:
            return self.labelled_bank(side, faces, options, report, never)
        try:
            bank, changes = before.updated(faces, report=report)
        except EmptyFaceset:
            return self.labelled_bank(side, faces, options, report, never)
        return bank if any(changes) else before

    def _revisions(self) -> dict[Side, tuple[int, int] | None]:
        """What changes with the faces of a side; None where it has no folder."""
        folders = {side: self._workspace.side(side).aligned for side in Side}
        return {
            side: self._catalogs[folder].revision if folder in self._catalogs and folder.is_dir() else None
            for side, folder in folders.items()
        }

    def every_face(self, report: Report, stop: Stop) -> BySide:
        """All faces of both sides; a side that has no folder has none."""
        folders = {side: self._workspace.side(side).aligned for side in Side}
        return {
            side: list(self._catalog(folder, report, stop).faces()) if folder.is_dir() else []
            for side, folder in folders.items()
        }

    def labelled_bank(
        self, side: Side, faces: Sequence[FaceEntry], options: TrainOptions, report: Report, stop: Stop
    ) -> FaceBank:
        """The crops of labelled faces; where none can be used there are none, and `skipped` says why."""
        config = self._config
        nothing = np.empty((0, config.size, config.size, 4), np.uint8)
        if not faces:
            return FaceBank(nothing)
        try:
            return FaceBank.load(
                faces,
                size=config.size,
                face_type=config.face_type,
                labels=True,
                budget=int(options.cache_gb * 1e9 / len(Side)) or None,
                report=report,
                stop=stop,
            )
        except EmptyFaceset as error:
            return FaceBank(nothing, skipped=tuple(error.context["skipped"]))

    def _shown(self, side: Side, every: BySide, options: TrainOptions) -> FaceBank | None:
        """The faces of a side that previews show: those asked for that are there, else some of all."""
        faces = every[side]
        known = {str(of): _names(found) for of, found in every.items()}
        asked = chosen_faces(still_there(options.preview_faces, known), known)[str(side)]
        chosen = [face for face in faces if face.key in set(asked)] or [faces[at] for at in spread(len(faces), ROWS)]
        return load_some(chosen, [], self._config, len(chosen), False, silent, never) if chosen else None

    @property
    def _config(self) -> Config:
        return config_from_plain(recipe_for(self._record.model_class), self._record.config)

    def _beside_faces(self, side: Side, config: Config, options: TrainOptions) -> tuple[bool, bool]:
        return False, False


def _names(faces: Sequence[FaceEntry]) -> tuple[str, ...]:
    return tuple(face.key for face in faces)


def _require_any(banks: Mapping[Side, FaceBank], skipped: Sequence[Skipped]) -> None:
    """Raises EmptyFaceset where no labelled face of either side can be used."""
    if any(len(bank) for bank in banks.values()):
        return
    why = "; ".join(f"{each.item}: {each.reason}" for each in skipped[:SHOWN_NAMES])
    raise EmptyFaceset(
        f"None of the labelled faces can be used for training{f' ({why})' if why else ''}.",
        hint="Label others, or extract these again.",
        skipped=list(skipped[:10]),
    )


def labelled_of(every: BySide) -> BySide:
    """The faces that are learned from: where any has outlines those that have, else those with an applied mask.

    Raises EmptyFaceset where there is neither.
    """
    for kind in ("is_labelled", "has_mask"):
        found = {side: [face for face in faces if getattr(face, kind)] for side, faces in every.items()}
        if any(found.values()):
            return found
    count = sum(len(faces) for faces in every.values())
    raise EmptyFaceset(
        f"None of {count} faces is labelled." if count else "There are no faces to learn masks from.",
        hint="Outline the face in a few of them with the mask editor (DeepFaceLab's labels are read as they are), or "
        "apply masks to them."
        if count
        else "Extract faces first: understudy faceset extract src, and the same for dst.",
    )


def decided_labels(
    workspace: Workspace, record: ModelRecord, options: TrainOptions, *, iteration: int, report: Report = silent
) -> ModelRecord:
    """The record of a mask network with what it holds out of the faces that are labelled now. Raises EmptyFaceset."""
    with LabelSupply(workspace, record) as supply:
        labelled = labelled_of(supply.every_face(report, never))
    splits = {side: split_of(side, labelled[side], record, options, iteration=iteration) for side in Side}
    if options.hold_out and not any(split.held_out for split in splits.values()):
        count = sum(len(faces) for faces in labelled.values())
        report(
            Note(
                f"Of {count} labelled faces none are held out, they are too few: evaluations show how well these are "
                "known, not how the masks of others are."
            )
        )
    return replace(record, held_out={str(side): split.stretches.as_json() for side, split in splits.items()})


def mask_evaluator_for(
    workspace: Workspace, record: ModelRecord, session: Session, report: Report = silent, stop: Stop = never
) -> Evaluator:
    """What measures a mask network on its held-out labels; where there are none, on those that it learns from."""
    with LabelSupply(workspace, record) as supply:
        labelled = labelled_of(supply.every_face(report, stop))
        held: list[FaceBank | None] = []
        known: list[Stretches] = []
        for side in Side:
            split = split_of(side, labelled[side], record, session.options)
            few = [split.held_out[at] for at in spread(len(split.held_out), MOST)]
            held.append(supply.labelled_bank(side, few, session.options, silent, stop) if few else None)
            known.append(split.stretches)
    held_out = HeldMasks.of(session.batches.banks, held, device=session.fabric.device)
    faces = " ".join(stretches.fingerprint for stretches in known)
    return Evaluator.open(session.folder, held_out, MaskObjective(), faces=faces, until=session.state.iteration)
