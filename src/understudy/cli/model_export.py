"""`understudy model export-dfl`: hand a model back to DeepFaceLab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.jobs import run_stage, summary
from understudy.records import WeightsChoice


def export_dfl(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model; flat files of that name are imported first.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Folder for the files; else the workspace's model folder."),
    ] = None,
    as_name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="What DeepFaceLab is to call the model; else as it is called here."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move files of a model of that name to the trash first.")
    ] = False,
    weights: Annotated[
        WeightsChoice,
        typer.Option("--weights", help="auto: their slow average where training kept one; trained: the weights."),
    ] = WeightsChoice.AUTO,
) -> None:
    """Write a model as DeepFaceLab's files, so that it loads them and trains on.

    All files appear together or none. A model that is being trained is exported as it was saved last, and goes on.
    """
    run_stage(
        context.obj,
        "stages.export_dfl:export_dfl",
        f"Export of {name}",
        shown=_shown,
        anew=(),
        name=name,
        output=output.absolute() if output is not None else None,
        as_name=as_name,
        replace=replace,
        weights=weights,
    )


def _shown(body: dict[str, Any]) -> str:
    lines = [summary(f"Exported {body['as']} ({body['class']})", body)]
    lines += [f"The files that were there before: {body['trash']}"] if "trash" in body else []
    return "\n".join(lines)
