"""`understudy faceset sort` and `undo`: an order for the faces, and the way back."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.cli.video import SideArgument
from understudy.curation.sort_options import SortOptions


@flags(SortOptions, table="sort")
def sort(context: typer.Context, side: SideArgument, options: SortOptions) -> None:
    """Put the faces in an order and name them 00000.jpg, 00001.jpg, … in it.

    What the order has no place for moves to aligned_trash. To take it back: understudy faceset undo.
    """
    shown = functools.partial(sort_text, side=str(side), as_list=options.as_list, dry_run=options.dry_run)
    run_stage(
        context.obj, "stages.sort:sort", f"Sorting {side} by {options.by}", shown=shown, side=side, options=options
    )


def sort_text(body: dict[str, Any], *, side: str, as_list: bool, dry_run: bool, most: int = 10) -> str:
    """What was renamed and moved; or the order itself, one face a line, with tabs."""
    if as_list:
        return "\n".join("\t".join(_column(row[name]) for name in ("file", "new", "value")) for row in body["order"])
    would = "would be" if dry_run else "are"
    lines = [f"{body['kept']} faces of {side} {would} sorted by {body['by']}."]
    lines += [f"{body['trashed']} {would} moved to aligned_trash."] if body["trashed"] else []
    skipped = body["skipped"]
    lines += [f"  {item['item']}: {item['reason']}" for item in skipped[:most]]
    lines += [f"  … and {len(skipped) - most} more; --json lists all"] if len(skipped) > most else []
    lines += [f"Undo: {body['undo']}"] if "undo" in body else []
    return "\n".join(lines)


def _column(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(map(_column, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def undo(
    context: typer.Context,
    side: SideArgument,
    list_: Annotated[bool, typer.Option("--list", help="Only list the changes that can be undone.")] = False,
) -> None:
    """Bring back what the last change of a faceset renamed, moved or replaced.

    Run again, it undoes the change before that.
    """
    if list_:
        from understudy.stages.undo import list_changes

        found = list_changes(context.obj.workspace, side)
        lines = [f"{row['at'][:19].replace('T', ' ')}  {row['title']}, {row['files']} files" for row in found]
        context.obj.finish({"ok": True, "changes": found}, "\n".join(lines) or "There is nothing to undo.")
        return
    run_stage(context.obj, "stages.undo:undo", f"Undo of {side}", shown=undo_text, side=side)


def undo_text(body: dict[str, Any], *, most: int = 10) -> str:
    """What came back, what did not, and what would come next."""
    lines = [f"Undone: {body['undone']}. {body['faces']} files are where they were."]
    lines += [f"  {item['item']}: {item['reason']}" for item in body["skipped"][:most]]
    lines += [f"The change before it, which undo would take back next: {body['next']}"] if body["next"] else []
    return "\n".join(lines)
