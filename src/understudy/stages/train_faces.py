"""The faces that a model is trained on: of both sides of a workspace, or of a faceset of many people in pretraining."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from understudy.errors import EmptyFaceset, InvalidOption, UnderstudyError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.packs import PACK_NAME
from understudy.files import user_data_folder
from understudy.networks.families import Config
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.held_out_faces import split_of
from understudy.training.faces.bank import BankChanges, FaceBank
from understudy.training.learning.swapping import wants_whole_faces
from understudy.training.options import TrainOptions
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.models import ModelRecord
from understudy.workspace import Workspace

SHOWN_NAMES = 8
"""Persons that an error names at most, and files that a note does."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Both sides, ready to be drawn from. held_out: how many faces of each side are not trained on."""

    src: FaceBank
    dst: FaceBank
    skipped: list[Skipped]
    held_out: dict[str, int]


class FaceSupply:
    """Loads the faces of a model, and looks again whether there are others by now. Close it, or use a `with` block."""

    def __init__(self, workspace: Workspace, record: ModelRecord) -> None:
        self._workspace, self._record = workspace, record
        self._open = contextlib.ExitStack()
        self._catalogs: dict[Path, Catalog] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self._banks: dict[Side, FaceBank] = {}
        self._unusable: dict[Side, set[Skipped]] = {}
        self._trouble: dict[Side | None, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalogs."""
        self._open.close()

    def load(self, options: TrainOptions, report: Report = silent, stop: Stop = never) -> Faces:
        """The faces of both sides as these options want them. Raises EmptyFaceset, InvalidOption, Interrupted."""
        banks: dict[Side, FaceBank] = {}
        skipped: list[Skipped] = []
        held_out: dict[str, int] = {}
        for side in Side:
            folder = faces_folder(self._workspace, side, options)
            if options.pretrain and banks:
                banks[side] = banks[Side.SRC]  # dealt in an order of its own
                continue
            catalog = self._catalog(folder, report, stop)
            faces = _to_pretrain_on(catalog) if options.pretrain else catalog.require_faces()
            chosen = self._chosen(side, faces, options)
            banks[side] = bank = self._bank(side, catalog, chosen, options, report, stop)
            unusable = [*catalog.skipped, *bank.skipped]
            skipped += unusable
            self._unusable[side] = set(unusable)
            held_out[str(side)] = self._held_out(side, faces, options)
        self._banks = banks
        return Faces(banks[Side.SRC], banks[Side.DST], skipped, held_out)

    def look_again(self, options: TrainOptions, report: Report = silent) -> tuple[FaceBank, FaceBank] | None:
        """Both banks with what was added, changed or trashed since the last time; None where nothing was.

        Only faces that are new are decoded. A faceset that is empty or gone by now is warned of, and what is in memory
        of it goes on being trained on.
        """
        others = False
        for side in Side:
            if options.pretrain and side is Side.DST:
                self._banks[side] = self._banks[Side.SRC]
                continue
            try:
                others |= self._looked_again(side, options, report)
            except (UnderstudyError, OSError) as error:
                self._tell_of(error, faces_called(side, options), side, report)
        return (self._banks[Side.SRC], self._banks[Side.DST]) if others else None

    def _looked_again(self, side: Side, options: TrainOptions, report: Report) -> bool:
        """Whether there are other faces of this side."""
        folder = faces_folder(self._workspace, side, options)
        catalog = self._catalog(folder, report, never)
        if catalog.revision == self._seen[folder]:
            return False
        self._seen[folder] = catalog.revision
        faces = _to_pretrain_on(catalog) if options.pretrain else catalog.require_faces()
        faces = self._chosen(side, faces, options)
        bank, changes = self._banks[side].updated(faces, report=report)
        self._trouble.pop(side, None)
        self._tell_of_unusable(side, faces_called(side, options), [*catalog.skipped, *bank.skipped], report)
        if not any(changes):
            return False
        self._banks[side] = bank
        report(Note(f"{'Pretraining' if options.pretrain else side} faces: {_told(changes)}, {len(bank)} by now."))
        return True

    def _tell_of(self, error: UnderstudyError | OSError, faces: str, side: Side | None, report: Report) -> None:
        """Warn, once, that a faceset, or those of both sides, cannot be used any more. faces: what they are called."""
        if isinstance(error, UnderstudyError):
            told = error.message
        else:
            told = f"the folder {Path(error.filename or '').name} cannot be read ({error.strerror})."
        if self._trouble.get(side) != told:
            self._trouble[side] = told
            text = f"{faces} have changed and cannot be used: {told} Training goes on with those that it has."
            report(Note(f"{text[0].upper()}{text[1:]}", "warning"))

    def _tell_of_unusable(self, side: Side, faces: str, unusable: Sequence[Skipped], report: Report) -> None:
        """Name the pictures that came since the last time and are no usable faces."""
        new = [skipped for skipped in unusable if skipped not in self._unusable[side]]
        self._unusable[side] = set(unusable)
        if new:
            named = "; ".join(f"{skipped.item}: {skipped.reason}" for skipped in new[:SHOWN_NAMES])
            more = f"; and {len(new) - SHOWN_NAMES} more" if len(new) > SHOWN_NAMES else ""
            report(Note(f"New among {faces} and left out: {named}{more}", "warning"))

    def _catalog(self, folder: Path, report: Report, stop: Stop) -> Catalog:
        """The catalog of a folder, brought up to date. Raises EmptyFaceset for a folder that is gone by now."""
        catalog = self._catalogs.get(folder)
        if catalog is None:
            opened = Catalog.open(folder, cache=self._workspace.catalogs, report=report, stop=stop)
            catalog = self._catalogs[folder] = self._open.enter_context(opened)
            self._seen[folder] = catalog.revision
            return catalog
        try:
            catalog.refresh(report, stop)
        except OSError as error:
            raise EmptyFaceset(
                f"{folder.name} cannot be read ({error.strerror}).",
                hint="Bring the faces back, from the trash or a copy.",
                folder=folder,
            ) from error
        return catalog

    def _bank(
        self,
        side: Side,
        catalog: Catalog,
        faces: Sequence[FaceEntry],
        options: TrainOptions,
        report: Report,
        stop: Stop,
    ) -> FaceBank:
        config = config_from_plain(recipe_for(self._record.model_class), self._record.config)
        budget = int(options.cache_gb * 1e9 / (1 if options.pretrain else len(Side)))
        eyes_mouth, whole = self._beside_faces(side, config, options)
        return FaceBank.load(
            faces,
            size=config.size,
            face_type=config.face_type,
            eyes_mouth=eyes_mouth,
            whole=whole,
            faceset=catalog.folder,
            caches=self._workspace.crops,
            budget=budget or None,
            find=lambda key: next((face for face in catalog.faces() if face.key == key), None),
            report=report,
            stop=stop,
        )

    def _beside_faces(self, side: Side, config: Config, options: TrainOptions) -> tuple[bool, bool]:
        """Whether eyes and mouth, and whole pictures, are kept of each face beside its crop and mask."""
        faithful = self._record.imported if options.faithful is None else options.faithful
        objective = recipe_for(self._record.model_class).objective(config, options.in_force, faithful)
        return objective.eyes_mouth, side is Side.DST and wants_whole_faces(options, faithful)

    def _chosen(self, side: Side, faces: Sequence[FaceEntry], options: TrainOptions) -> list[FaceEntry]:
        """The faces of a side that are trained on."""
        if options.pretrain:
            return list(faces)
        training = split_of(side, faces, self._record, options).training
        return _of_persons(training, options.persons) if side is Side.SRC and options.persons else training

    def _held_out(self, side: Side, faces: Sequence[FaceEntry], options: TrainOptions) -> int:
        return 0 if options.pretrain else len(split_of(side, faces, self._record, options).held_out)


def faces_called(side: Side, options: TrainOptions) -> str:
    """What messages call the faces of a side."""
    return "the faces to pretrain on" if options.pretrain else f"the {side} faces"


def _to_pretrain_on(catalog: Catalog) -> list[FaceEntry]:
    """The faces of a folder that pretraining was given. Raises EmptyFaceset."""
    faces = catalog.faces()
    if not faces:
        count = len(catalog.skipped)
        raise EmptyFaceset(
            f"There are no faces in {catalog.folder.name}" + (f", only {count} other pictures." if count else "."),
            hint="Name a faceset of many people, a folder or a faceset.pak, with --pretrain-faces.",
            folder=catalog.folder,
        )
    return faces


def faces_folder(workspace: Workspace, side: Side, options: TrainOptions) -> Path:
    """The folder of the faces of a side. Raises EmptyFaceset for pretraining without faces."""
    return pretraining_faces(options) if options.pretrain else workspace.side(side).aligned


def pretraining_faces(options: TrainOptions) -> Path:
    """The folder of the faces to pretrain on. Raises EmptyFaceset where there is none."""
    named = options.pretrain_faces
    folder = user_data_folder() / "pretrain_faces" if named is None else named.absolute()
    if folder.name == PACK_NAME:
        folder = folder.parent
    if not folder.is_dir():
        raise EmptyFaceset(
            "There are no faces to pretrain on." if named is None else f"There is no folder {folder.name}.",
            hint="Name a faceset of many people, a folder or a faceset.pak, with --pretrain-faces, or put one into "
            f"{user_data_folder() / 'pretrain_faces'}. To end pretraining: --no-pretrain.",
            folder=folder,
        )
    return folder


def _of_persons(faces: Sequence[FaceEntry], wanted: Sequence[str]) -> list[FaceEntry]:
    """The faces of these persons. Raises InvalidOption for one that nobody is called."""
    there = sorted({face.who for face in faces if face.who is not None})
    missing = [name for name in wanted if name not in there]
    if missing:
        names = ", ".join(there[:SHOWN_NAMES]) + (", …" if len(there) > SHOWN_NAMES else "")
        raise InvalidOption(
            f"There is nobody called {missing[0]!r} in the src faceset.",
            hint=f"There are: {names}. --persons all brings everybody back."
            if there
            else "It tells nobody apart: understudy faceset persons src, or a sub-folder for each person.",
        )
    return [face for face in faces if face.who in set(wanted)]


def _told(changes: BankChanges) -> str:
    counts = zip(changes, ("added", "changed", "removed", "renamed"), strict=True)
    return ", ".join(f"{count} {what}" for count, what in counts if count)
