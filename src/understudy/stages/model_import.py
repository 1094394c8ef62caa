"""Bring models of the reference in: flat files, and folders of pretrained weights. The files stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.errors import IncompatibleModel
from understudy.interop.flat import FlatModel
from understudy.report import Note, Report, silent


def import_flat(folder: Path, flat: FlatModel, *, report: Report = silent) -> None:
    """Make the model `folder` from flat files, which stay as they are. Raises IncompatibleModel for other classes."""
    if flat.model_class != "Quick96":
        raise IncompatibleModel(
            f"The model {flat.name} is of the class {flat.model_class}, which cannot be imported yet; "
            f"supported now: Quick96.",
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
