"""Models by name: ours, and the reference's flat files, imported beside by the first command that names them."""

from __future__ import annotations

from pathlib import Path

from understudy.errors import MissingModel
from understudy.interop.flat import FlatModel, find_flat_model, find_flat_models
from understudy.report import Report, silent
from understudy.stages.model_import import import_flat
from understudy.training import models
from understudy.training.models import ModelSummary, is_model
from understudy.workspace import Workspace

RESERVED_NAMES = frozenset({"XSeg"})
"""Folders of `model/` that are no swapper's: the mask network."""


def list_models(workspace: Workspace) -> list[ModelSummary]:
    """Every model of the workspace, the one trained last first: ours, and flat files that have not been imported."""
    ours = models.list_models(workspace.models)
    names = {model.name for model in ours}
    flat = [_summary(model) for model in find_flat_models(workspace.models) if model.name not in names]
    return sorted([*ours, *flat], key=lambda model: model.updated, reverse=True)


def open_model(workspace: Workspace, name: str, *, report: Report = silent) -> Path:
    """The folder of the model `name`; flat files of that name are imported into it first, and left as they are.

    Raises MissingModel naming those that there are, IncompatibleModel for flat files of a class that cannot be
    imported yet, UsageError for a name that cannot be one.
    """
    folder = workspace.model(name)
    if is_model(folder):
        return folder
    with workspace.writing(f"model-{name}"):
        return _imported(workspace, folder, report)


def _imported(workspace: Workspace, folder: Path, report: Report) -> Path:
    name = folder.name
    flat = find_flat_model(workspace.models, name)
    if flat is None:
        known = ", ".join(model.name for model in list_models(workspace))
        raise MissingModel(
            f"There is no model {name} in this workspace.",
            hint=f"There are: {known}." if known else f"Make one with: understudy train {name}",
            folder=workspace.models,
        )
    import_flat(folder, flat, report=report)
    return folder


def _summary(flat: FlatModel) -> ModelSummary:
    return ModelSummary(
        flat.name,
        flat.model_class,
        flat.iteration,
        flat.updated,
        flat.size_bytes,
        ours=False,
        supported=flat.importable,
        folder=flat.folder,
    )
