"""`understudy demo`: the whole pipeline on footage that is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.folder import has_screen
from understudy.cli.jobs import run_stage
from understudy.demo.options import DemoOptions
from understudy.demo.summary import summary_text

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
    run_stage(door, "demo.run:run_demo", "Demo", shown=summary_text, folder=door.folder, options=options)
    if not door.json and has_screen():
        typer.launch(str(door.folder / "contact_sheet.png"))
