"""`understudy xseg`: the mask network."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.training.options.xseg import XSegTrainOptions


@flags(XSegTrainOptions, table="xseg-train")
def train(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The mask network; XSeg is the workspace's own. Made when there is none.")
    ] = "XSeg",
    *,
    options: XSegTrainOptions,
) -> None:
    """Train the mask network on the faces that are labelled.

    It learns from the outlines drawn in src and dst faces; where there are none, from masks applied to them. Ctrl-C
    saves and stops; the same command goes on from there, exactly. Faces labelled meanwhile are learned from after the
    next save.
    """
    context.obj.workspace.model(name)
    if options.pretrain_faces is not None:  # the model keeps it, and may be trained on from elsewhere
        options = options.model_copy(update={"pretrain_faces": options.pretrain_faces.expanduser().absolute()})
    run_stage(
        context.obj,
        "stages.train_xseg:train_xseg",
        f"Training of {name}",
        anew=("--restart",),
        onward=("xseg", "train", name),
        name=name,
        options=options,
    )
