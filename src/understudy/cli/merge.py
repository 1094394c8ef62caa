"""`understudy merge`: lay the new face over the footage."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.compositing.options import MergeOptions


@flags(MergeOptions, table="merge")
def merge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model that draws the face.")],
    options: MergeOptions,
) -> None:
    """Lay the new face over the dst footage.

    Works on the frames on disk or straight from the video. Run again, it continues where it stopped.
    """
    context.obj.workspace.model(name)  # a name that cannot be one is refused before anything heavy loads
    run_stage(context.obj, "stages.merge:merge", f"Merge with {name}", name=name, options=options)
