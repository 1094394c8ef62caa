"""`understudy model import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.interop.import_options import ModelImportOptions


@flags(ModelImportOptions, table="model-import")
def import_models(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder with the files: a workspace's model/, or any other.")
    ],
    options: ModelImportOptions,
) -> None:
    """Bring in models of DeepFaceLab; its files stay as they are.

    SAEHD, AMP, Quick96 and XSeg, with their iteration, options, losses and optimisers. A folder that holds several
    models asks for --name or --all.
    """
    run_stage(
        context.obj,
        "stages.model_import:import_models",
        "Import",
        shown=text,
        anew=(),
        folder=folder.absolute(),
        options=options,
    )


def text(body: dict[str, Any]) -> str:
    """What was brought in, or what there is, a line for each model."""
    skipped = [f"Skipped {item['item']}: {item['reason']}" for item in body["skipped"]]
    if "found" in body:
        return "\n".join([*map(_found, body["found"]), *skipped])
    return "\n".join([*map(_imported, body["models"]), *skipped])


def _found(model: dict[str, Any]) -> str:
    iteration = "unknown iteration" if model["iteration"] is None else f"iteration {model['iteration']}"
    backups = f", {_counted(model['backups'], 'backup', 'backups')}" if model["backups"] else ""
    facts = f"{model['class']}, {iteration}, {model['bytes'] / 1e6:.0f} MB"
    return f"{model['name']}: {facts}, saved {model['updated'][:16].replace('T', ' ')}{backups}"


def _imported(model: dict[str, Any]) -> str:
    parts = [_counted(model["losses"], "loss", "losses")] if model["losses"] else []
    parts += [f"{model['optimiser']} state"] if model["optimiser"] else []
    parts += [name.replace("_", " ") if name != "gan" else "GAN" for name in model["discriminators"]]
    parts += ["preview sample"] if model["preview_sample"] else []
    parts += [_counted(model["backups"], "backup", "backups")] if model["backups"] else []
    beside = f", with {', '.join(parts)}" if parts else ""
    return f"{model['name']}: {model['class']} at iteration {model['iteration']}{beside}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
