"""`understudy merge`: lay the new face over the footage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.compositing.options import MergeOptions


@flags(MergeOptions, table="merge")
def merge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model that draws the face, or a .dfm file.")],
    options: MergeOptions,
) -> None:
    """Lay the new face over the dst footage.

    Works on the frames on disk or straight from the video. Run again, it continues where it stopped.
    """
    if not name.lower().endswith(".dfm"):
        context.obj.workspace.model(name)  # a name that cannot be one is refused before anything heavy loads
    elif name != Path(name).name:
        name = str(Path(name).absolute())  # so that the job can be repeated from elsewhere
    run_stage(context.obj, "stages.merge:merge", f"Merge with {name}", name=name, options=options)
