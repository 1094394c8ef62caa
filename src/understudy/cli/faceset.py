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


def info(context: typer.Context, side: SideArgument) -> None:
    """Count the faces of a faceset and say what they are like."""
    from understudy.stages.faceset_info import faceset_info

    with context.obj.progress() as report:
        found = faceset_info(context.obj.workspace, side, report=report)
    lines = [f"{found.faces} faces in {found.outputs[0]}"]
    for name, value in found.notes.items():
        parts = [f"{key} {count}" for key, count in value.items()] if isinstance(value, dict) else [str(value)]
        lines += [f"  {name.replace('_', ' ')}: {', '.join(parts)}"] if value else []
    lines += [f"  skipped {item.item}: {item.reason}" for item in found.skipped]
    context.obj.finish(found.as_json(), "\n".join(lines))
