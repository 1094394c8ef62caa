"""`understudy train` and `understudy model`."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.training.options import TrainOptions


@flags(TrainOptions, table="train")
def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model; it is made when there is none of that name.")],
    options: TrainOptions,
) -> None:
    """Train a model; makes it when there is none of that name.

    Ctrl-C saves and stops; the same command goes on from there, exactly.
    """
    context.obj.workspace.model(name)  # a name that cannot be one is refused before anything heavy loads
    run_stage(context.obj, "stages.train:train", f"Training of {name}", name=name, options=options)


def list_models(context: typer.Context) -> None:
    """List the models of the workspace, the one trained last first.

    Also shows models in DeepFaceLab's files, and .dfm files. What cannot be used is named, with the reason.
    """
    from understudy.cli.model_tables import list_text
    from understudy.stages.models import list_models as find

    models = find(context.obj.workspace)
    context.obj.finish({"ok": True, "models": [model.as_json() for model in models]}, list_text(models))
