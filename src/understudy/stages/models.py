"""Models by name: ours, and the reference's flat files, imported beside by the first command that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.errors import IncompatibleModel, MissingModel
from understudy.interop.flat import IMPORTABLE, FlatModel, find_flat_model, find_flat_models
from understudy.report import Note, Report, silent
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


def import_flat(folder: Path, flat: FlatModel, *, report: Report = silent) -> None:
    """Make the model `folder` from flat files, which stay as they are. Raises IncompatibleModel for other classes."""
    if not flat.importable:
        raise IncompatibleModel(
            f"The model {flat.name} is of the class {flat.model_class}, which cannot be imported yet; "
            f"supported now: {', '.join(IMPORTABLE)}.",
            hint="Its files are untouched. Choose another name for a new model.",
            name=flat.name,
        )
    from understudy.interop.quick96 import read_flat_quick96
    from understudy.training.new import adopt_model, new_network

    net = new_network(flat.model_class)
    imported = read_flat_quick96(flat, net)
    for note in imported.notes:
        report(Note(note, "warning", flat.name))
    adopt_model(
        folder,
        net,
        flat.model_class,
        weights=imported.weights,
        optimiser=moments(imported.squares, imported.optimiser_steps),
        iteration=imported.iteration,
        losses=imported.losses,
        options=_options(imported.options),
        imported_from=f"{flat.prefix}*",
    )
    report(
        Note(
            f"Imported the model {flat.name} ({flat.model_class}, iteration {imported.iteration}) into "
            f"{folder.parent.name}/{folder.name}/; the files {flat.prefix}* are left as they are.",
            item=flat.name,
        )
    )


def start_from_pretrained(folder: Path, pretrained: Path, model_class: str, *, report: Report = silent) -> None:
    """Make the model `folder` with the weights of a folder of pretrained files, at iteration 0."""
    from understudy.interop.quick96 import read_pretrained_quick96
    from understudy.training.new import adopt_model, new_network

    net = new_network(model_class)
    imported = read_pretrained_quick96(pretrained, net)
    for note in imported.notes:
        report(Note(note, "warning", pretrained.name))
    optimiser = moments(imported.squares, imported.optimiser_steps)
    adopt_model(folder, net, model_class, weights=imported.weights, optimiser=optimiser)
    report(Note(f"{folder.name} starts from the pretrained weights in {pretrained}."))


def moments(squares: dict[str, Any] | None, steps: int) -> dict[str, Any] | None:
    """RMSprop's state as our optimiser loads it; None stays None."""
    import torch

    if squares is None:
        return None
    return {**{f"moment.{name}": value for name, value in squares.items()}, "iterations": torch.tensor(steps)}


def _options(stored: dict[str, Any]) -> dict[str, Any]:
    """The options that mean the same here, as plain values."""
    batch_size = stored.get("batch_size")
    return {} if batch_size is None else {"batch_size": max(1, int(batch_size))}


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
