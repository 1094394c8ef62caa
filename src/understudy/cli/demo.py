"""`understudy demo`: the whole pipeline on footage that is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.cli.progress import duration_text
from understudy.demo.options import DemoOptions

FOLDER = Path("demo-workspace")


@flags(DemoOptions, table="demo")
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace to make.")] = FOLDER,
    *,
    options: DemoOptions,
) -> None:
    """Make two short clips and run the whole pipeline on them.

    The clips are animated from two public-domain portraits, so nothing is downloaded and the truth about every frame is
    known. Run again, it continues where it stopped.
    """
    from understudy.workspace import Workspace

    door = context.obj
    door.folder = Workspace.create(folder.absolute()).root
    run_stage(door, "demo.run:run_demo", "Demo", shown=demo_text, folder=door.folder, options=options)


def demo_text(body: dict[str, Any]) -> str:
    """What came of it, what took how long, and what to try next."""
    lines = ["Demo: " + ", ".join(f"{name} {duration_text(secs)}" for name, secs in body["steps"].items())]
    lines += [f"In all {duration_text(body['total_secs'])}, installing {duration_text(body['install_secs'])}."]
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in body["verdict"].items()]
    lines += [f"  {path}" for path in body["outputs"]]
    where = Path(body["outputs"][0]).parent
    return "\n".join([*lines, f"Next: look at the contact sheet, then: cd {where} && understudy"])
