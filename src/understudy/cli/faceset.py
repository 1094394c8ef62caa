"""`understudy faceset`: find faces and look after them."""

from __future__ import annotations

from typing import Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.cli.video import SideArgument
from understudy.detection.options import ExtractOptions


@flags(ExtractOptions, table="extract")
def extract(context: typer.Context, side: SideArgument, options: ExtractOptions) -> None:
    """Find the faces of one side and cut them out, aligned.

    Reads the frames on disk, or the video itself when there are none. Run again, it continues where it stopped.
    """
    title = f"Faces of {side}"
    run_stage(
        context.obj, "stages.extract:extract", title, shown=lambda body: extract_text(title, body), side=side,
        options=options,
    )  # fmt: skip


def extract_text(title: str, body: dict[str, Any]) -> str:
    """The summary, and how many frames gave nothing."""
    without = body.get("frames_without_face", 0)
    lines = [f"  {without} frame{'s' if without != 1 else ''} without a face"] if without else []
    return "\n".join([summary(title, body), *lines])
