"""`understudy faceset enhance`: give soft faces the detail of sharp ones."""

from __future__ import annotations

from typing import Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.cli.video import SideArgument
from understudy.stages.enhance_options import EnhanceOptions


@flags(EnhanceOptions, table="enhance")
def enhance(context: typer.Context, side: SideArgument, options: EnhanceOptions) -> None:
    """Give the soft faces of a faceset the detail of its sharp ones.

    A small network learns from the sharpest quarter of the faces, and is used as far as it comes nearer to faces that
    it has not seen than Lanczos does. The result is in aligned_enhanced; --replace puts it in the place of the faces.
    """
    run_stage(
        context.obj,
        "stages.enhance:enhance",
        f"Enhancing {side}",
        shown=_shown,
        anew=("--fresh",),
        side=side,
        options=options,
    )


def _shown(body: dict[str, Any]) -> str:
    lines = [summary("Looked at", body)]
    if body["enhanced"] or body["left"]:
        lines.append(f"  {body['enhanced']} enhanced, {body['left']} left as they were")
    for restorer in body.get("restorers", []):
        whose = f" ({restorer['person']})" if "person" in restorer else ""
        gain = f"{restorer['gain_db']:+.2f} dB on held-out faces" if "gain_db" in restorer else "not measured"
        lines.append(f"  restorer{whose}: {gain}")
    lines += [f"Undo: {body['undo']}"] if "undo" in body else []
    return "\n".join(lines)
