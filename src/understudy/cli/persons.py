"""`understudy faceset persons` and `dedupe`: who is who, and which faces show the same twice."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.cli.video import SideArgument
from understudy.curation.person_options import DedupeOptions, PersonsAction, PersonsOptions

MOST_ROWS = 30
MOST_PAIRS = 12


@flags(PersonsOptions, table="persons")
def persons(
    context: typer.Context,
    side: SideArgument,
    options: PersonsOptions,
    action: Annotated[
        PersonsAction,
        typer.Argument(
            help="list; find: group the faces; merge A B: all become A; rename A NEW; split A; "
            "keep NAMES: all others go to the trash; drop NAMES: these go."
        ),
    ] = PersonsAction.LIST,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES", help="Persons, as list shows them.")] = None,
) -> None:
    """Tell the people of a faceset apart: list, find, merge, rename, split, keep or drop them.

    Groups are kept in the faces. What you named, merged or split stays so when faces are grouped again.
    """
    if action is PersonsAction.LIST:
        from understudy.stages.persons import persons as listed

        with context.obj.progress() as report:
            found = listed(context.obj.workspace, side, action, names or [], options, report=report)
        context.obj.finish(found.as_json(), persons_text(found.as_json(), side))
        return
    run_stage(
        context.obj,
        "stages.persons:persons",
        f"Persons of {side}",
        shown=lambda body: persons_text(body, side),
        side=side,
        action=action,
        names=names or [],
        options=options,
    )


@flags(DedupeOptions, table="dedupe")
def dedupe(context: typer.Context, side: SideArgument, options: DedupeOptions) -> None:
    """Move faces that show the same as a sharper one to the trash, with a way back.

    Eyes and mouth count: a blink or a word between two faces keeps both.
    """
    run_stage(
        context.obj,
        "stages.dedupe:dedupe",
        f"Duplicates of {side}",
        shown=lambda body: dedupe_text(body, side),
        side=side,
        options=options,
    )


def persons_text(body: dict[str, Any], side: str) -> str:
    """The persons as a table for a terminal."""
    rows = body["persons"]
    if not rows:
        return f"{body['faces']} faces, not grouped yet.\nGroup them: understudy faceset persons {side} find"
    width = max(6, *(len(row["name"]) + row["own"] for row in rows[:MOST_ROWS]))
    lines = [f"{'person':{width}}  {'faces':>6}  {'tracks':>6}  {'frames':>6}  {'from':>8}  {'to':>8}  best face"]
    for row in rows[:MOST_ROWS]:
        name = row["name"] + ("*" if row["own"] else "")
        span = f"{row['first'] or '-':>8}  {row['last'] or '-':>8}"
        lines.append(
            f"{name:{width}}  {row['faces']:>6}  {row['tracks'] or '-':>6}  {row['frames']:>6}  {span}  {row['best']}"
        )
    lines += [f"… and {len(rows) - MOST_ROWS} more; --json lists all"] if len(rows) > MOST_ROWS else []
    lines += ["* named, merged or split by you: stays so"] if any(row["own"] for row in rows) else []
    lines += [f"{body['ungrouped']} faces belong to nobody yet"] if body.get("ungrouped") else []
    lines += [f"{body['moved']} faces moved to aligned_trash."] if body.get("moved") else []
    lines += [f"  {path}" for path in body["outputs"]]
    lines += [f"Skipped: {item['item']}: {item['reason']}" for item in body["skipped"][:MOST_ROWS]]
    lines += [f"Undo: {body['undo']}"] if body.get("undo") else []
    return "\n".join(lines)


def dedupe_text(body: dict[str, Any], side: str) -> str:
    """What was found to be the same, and the way back."""
    count, kept = body["duplicates"], body["faces"]
    would = "would move" if body["dry_run"] else "moved"
    lines = [f"{count} of {kept} faces show what a sharper one shows; they {would} to aligned_trash."]
    for group in body["groups"][:MOST_PAIRS]:
        others = group["dropped"]
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        lines.append(f"  {group['kept']} stays for {', '.join(others[:3])}{more}")
    lines += [f"  … {len(body['groups']) - MOST_PAIRS} more groups; --json lists all"] * (
        len(body["groups"]) > MOST_PAIRS
    )
    lines += [f"Skipped: {item['item']}: {item['reason']}" for item in body["skipped"][:MOST_ROWS]]
    lines += [f"Undo: {body['undo']}"] if body.get("undo") else []
    return "\n".join(lines) if count else summary(f"No duplicates of {side}", body)
