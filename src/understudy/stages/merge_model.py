"""The model of one merge: which one a name means, and what a picture made with it depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.compositing.options import MergeOptions
from understudy.errors import IncompatibleModel, MissingModel
from understudy.interop.flat import find_flat_model
from understudy.networks.dfm import DFM_SUFFIX
from understudy.networks.predictor import Predictor
from understudy.records import FaceType
from understudy.report import Note, Report
from understudy.stages.load_model import load_dfm
from understudy.stages.models import dfm_files, open_model
from understudy.training.saved.models import is_model, read_record
from understudy.training.saved.predictor import load_predictor
from understudy.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Model:
    """The network of one merge and what identifies it. options: as given, with `faithful` decided.

    origin: what tells its network from others of the same name: when it was made, or the hash of its file. morph: how
    much of src it draws, None for a model that has no such choice.
    """

    name: str
    origin: str
    predictor: Predictor
    face_type: FaceType
    morph: float | None
    options: MergeOptions

    @classmethod
    def load(cls, workspace: Workspace, name: str, options: MergeOptions, report: Report) -> Model:
        """The state of the model that is asked for, flat files of that name imported first; or a `.dfm` file."""
        dfm = dfm_named(workspace, name)
        if dfm is not None:
            predictor = load_dfm(dfm, options.device)
            name, origin, imported = dfm.name, _hash_of(dfm), predictor.iteration is None
        else:
            folder = open_model(workspace, name, report=report)
            predictor = load_predictor(
                folder,
                options.device,
                options.precision,
                checkpoint=options.checkpoint,
                weights=options.weights,
                report=report,
            )
            record = read_record(folder)
            origin, imported = record.created, record.imported
        _require_swapper(name, predictor)
        if options.faithful is None:
            options = options.but(faithful=imported)
        if options.morph_factor != 1 and not predictor.has_morph:
            report(Note(f"{name} has no morph factor: it draws src, whatever --morph-factor says.", "warning"))
        morph = options.morph_factor if predictor.has_morph else None
        return cls(name, origin, predictor, _face_type(name, predictor, options, report), morph, options)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything about model and settings that a picture depends on."""
        model = [self.name, self.origin, self.predictor.iteration, self.predictor.dtype]
        chosen: dict[str, Any] = {} if self.morph is None else {"morph": self.morph}
        if self.predictor.averaged:
            chosen["weights"] = "ema"
        if self.face_type is not self.predictor.face_type:
            chosen["face_type"] = str(self.face_type)
        return {"model": model, "settings": self.options.look, **chosen}


def dfm_named(workspace: Workspace, name: str) -> Path | None:
    """The `.dfm` file that a name means: a path, a file of `model/`, or one called so there when no model is.

    None for any other name. Raises MissingModel when a name ends in .dfm and there is no such file.
    """
    here = dfm_files(workspace.models)
    if Path(name).suffix.lower() != DFM_SUFFIX:
        is_model_name = is_model(workspace.model(name)) or find_flat_model(workspace.models, name)
        return None if is_model_name else next((path for path in here if path.stem == name), None)
    if name == Path(name).name and (workspace.models / name).is_file():
        return workspace.models / name
    if Path(name).is_file():
        return Path(name).absolute()
    known = ", ".join(path.name for path in here)
    raise MissingModel(
        f"There is no file {Path(name).name}.",
        hint=f"In this workspace's model/ there are: {known}." if known else "Give its path, or copy it into model/.",
        path=Path(name),
    )


def _require_swapper(name: str, predictor: Predictor) -> None:
    if not predictor.can_swap:
        raise IncompatibleModel(
            f"The model {name} draws masks, no faces.", hint="Merge with a swapper: SAEHD, AMP, Quick96 or a .dfm."
        )


def _face_type(name: str, predictor: Predictor, options: MergeOptions, report: Report) -> FaceType:
    """How much of the head the model's faces cover: as asked for, as the model says, else whole face."""
    if options.face_type is not None:
        return options.face_type
    if predictor.face_type is not None:
        return predictor.face_type
    report(
        Note(
            f"{name} does not say how much of the head its faces cover: whole face is assumed, as live tools do. "
            "If the face comes out too large or too small, choose another with --face-type.",
            "warning",
        )
    )
    return FaceType.WHOLE_FACE


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
