"""`understudy faceset`: find faces and look after them."""

from __future__ import annotations

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.cli.video import SideArgument
from understudy.detection.options import ExtractOptions


@flags(ExtractOptions, table="extract")
def extract(context: typer.Context, side: SideArgument, options: ExtractOptions) -> None:
    """Find the faces of one side and cut them out, aligned.

    Reads the frames on disk, or the video itself when there are none. Run again, it continues where it stopped.
    """
    run_stage(context.obj, "stages.extract:extract", f"Faces of {side}", side=side, options=options)
