"""`understudy doctor`: what this machine can do."""

from __future__ import annotations

import typer


def doctor(context: typer.Context) -> None:
    """Say what this machine can do, and what is wrong or unwise.

    Measures once what bf16 gains here and remembers it. Looks at the workspace's disk when there is a workspace.
    """
    from understudy.cli.tables import diagnosis_text
    from understudy.stages.doctor import doctor as examine

    with context.obj.progress() as report:
        found = examine(context.obj.folder, report=report)
    context.obj.finish(found.as_json(), diagnosis_text(found))
