"""`understudy faceset review`, `realign` and `trash`: what is doubtful, mending it, and taking faces out."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.cli.video import SideArgument
from understudy.detection.realign_options import RealignOptions
from understudy.records import Side


def trash(
    context: typer.Context,
    side: SideArgument,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help='Which faces, in quotes, such as "index>0", "person=anna", "frame=100..250", "confidence<0.6"; '
            "given several times, all must hold.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which faces would go.")] = False,
) -> None:
    """Take faces out by what is known of them; undo brings them back.

    They move to aligned_trash. To bring them back: understudy faceset undo.
    """
    from understudy.facesets.where import parse

    texts = list(where or ())
    parse(texts)  # what is wrong with a condition is said before a job starts
    run_stage(
        context.obj, "stages.trash:trash", f"Trash of {side}", shown=trash_text, side=side, where=texts,
        dry_run=dry_run,
    )  # fmt: skip


def trash_text(body: dict[str, Any], *, most: int = 20) -> str:
    """What moved, what stays, and why faces that know too little stay."""
    total = body["matching"] + body["staying"]
    moved = body.get("moved")
    if not body["matching"]:
        lines = [f"None of the {total} faces meets {body['where']}; all stay."]
        return "\n".join([*lines, *_unknown(body)])
    words = "would move to" if moved is None else "moved to"
    lines = [
        f"{body['matching'] if moved is None else moved} of {total} faces ({body['where']}) {words} aligned_trash."
    ]
    if moved is None:
        names = body["names"]
        lines += [f"  {name}" for name in names[:most]]
        lines += [f"  … and {body['matching'] - most} more"] if body["matching"] > most else []
    lines.append(f"{body['staying']} stay.")
    lines += _unknown(body)
    lines += [f"Not moved: {item['item']}: {item['reason']}" for item in body["skipped"]]
    lines += [f"Undo: {body['undo']}"] if "undo" in body else []
    return "\n".join(lines)


def _unknown(body: dict[str, Any]) -> list[str]:
    return [f"  {count} of all do not know their {name}." for name, count in body["unknown"].items()]


def review(
    context: typer.Context,
    side: SideArgument,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", metavar="FRAME", help="This frame is fine as it is: leave it out.")
    ] = None,
    sheet: Annotated[
        int, typer.Option("--sheet", metavar="N", min=0, max=400, help="Also draw the N worst on a contact sheet.")
    ] = 0,
    rows: Annotated[int, typer.Option("--rows", min=1, max=100, help="Rows of the table.")] = 20,
) -> None:
    """List the frames and faces that are worth a second look, worst first.

    Works for facesets made elsewhere too. The whole list is in .understudy/review/SIDE.json; extraction makes it too.
    """
    shown = functools.partial(review_text, side=str(side), most=rows)
    run_stage(
        context.obj, "stages.review:review", f"Review of {side}", shown=shown, side=side, accept=list(accept or ()),
        sheet=sheet,
    )  # fmt: skip


def review_text(body: dict[str, Any], *, side: str, most: int) -> str:
    """The worst as a table, alike ones in one row."""
    from understudy.facesets.doubts import KIND_WORDS, Kind

    lines = [f"{body['frames']} frames, {body['faces']} faces: {body['doubtful']} worth a look."]
    lines += [f"  {count:6} {KIND_WORDS[Kind(kind)]}" for kind, count in body["counts"].items()]
    lines += [f"  {body['accepted']:6} accepted as they are"] if body["accepted"] else []
    worst = body["worst"][:most]
    if worst:
        lines += ["", "score  frames       face           why"]
    for row in worst:
        frames = row["from"] if row["items"] == 1 else f"{row['from']}-{row['to']}"
        face = row["file"] or "-"
        more = "" if row["items"] == 1 else f" ({row['items']} alike)"
        lines.append(f" {row['score']:.2f}  {frames:12} {face:14} {row['reasons'][0]}{more}")
    lines += [f"  … {len(body['worst']) - most} rows more: --rows"] if len(body["worst"]) > most else []
    lines += ["", *(f"  {path}" for path in body["outputs"])]
    return "\n".join([*lines, *_ways_on(worst, body["counts"], side)])


def _ways_on(worst: list[dict[str, Any]], counts: dict[str, int], side: str) -> list[str]:
    """What can be done about the first of the list, as commands to copy."""
    if not worst:
        return []
    first = worst[0]
    ways = []
    if "redo" in counts:
        ways.append(("search again", f"realign {side} --all-deleted-debug"))
    elif "missing" in counts or "gap" in counts:
        ways.append(("search again", f"realign {side} --all-missing"))
    ways.append(("place by hand", f"realign {side} {first['frame']} --rect LEFT,TOP,RIGHT,BOTTOM"))
    if first["file"]:
        ways.append(("take out", f'trash {side} --where "name={first["file"]}"'))
    ways.append(("fine as it is", f"review {side} --accept {first['frame']}"))
    return [f"{name + ':':15}understudy faceset {command}" for name, command in ways]


@flags(RealignOptions, table="realign")
def realign(
    context: typer.Context,
    side: SideArgument,
    options: RealignOptions,
    frame: Annotated[str, typer.Argument(metavar="FRAME", help="Name or number of the frame, such as 00012.")] = "",
) -> None:
    """Put the face of one frame right, or search many frames again.

    Say where the face is with --rect, --landmarks, or --anchor and --tip. To take it back: understudy faceset undo.
    """
    run_stage(
        context.obj, "stages.realign:realign", f"Realigning {frame or side}", shown=realign_text, side=side,
        frame=frame, options=options,
    )  # fmt: skip


def realign_text(body: dict[str, Any]) -> str:
    """What was written, what it replaced, and what is left to a person."""
    lines = [f"  {path}" for path in body["outputs"][:10]]
    lines += [f"  … and {len(body['written']) - 10} more"] if len(body["written"]) > 10 else []
    if "searched" in body:
        lines.insert(0, f"{body['searched']} frames searched, new faces in {body['found']} of them.")
        still = body["open"]
        names = ", ".join(still[:10]) + (", …" if len(still) > 10 else "")
        lines += [f"{len(still)} still need a person: {names}"] if still else []
    else:
        lines.insert(0, f"Placed, with a confidence of {body['confidence']:.2f}:")
    lines += [f"Replaced, now in aligned_trash: {', '.join(body['replaced'][:10])}"] if body["replaced"] else []
    lines += [f"Not moved: {item['item']}: {item['reason']}" for item in body["skipped"]]
    lines += [f"Undo: {body['undo']}"] if body.get("undo") else []
    return "\n".join(lines)


def coverage(
    context: typer.Context,
    side: SideArgument,
    against: Annotated[Side, typer.Option("--against", help="The faces that are to be covered.")] = Side.DST,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw what was found.")] = True,
    workers: Annotated[int, typer.Option("--workers", min=0, max=256, help="Threads; 0: one per core.")] = 0,
) -> None:
    """Say what src has too little of for the dst; draws a picture.

    Ways of looking, light, expression, sharpness. Measures each face once. The picture and the JSON are in
    .understudy/coverage/.
    """
    run_stage(
        context.obj, "stages.coverage:coverage", f"Coverage of {against}", shown=coverage_text, side=side,
        against=against, picture=picture, workers=workers,
    )  # fmt: skip


def coverage_text(body: dict[str, Any], *, most: int = 8) -> str:
    """What is covered, what is missing, and the riskiest faces."""
    total = body["covered"] + body["thin"] + body["at_risk"]
    parts = ((body["covered"], "covered"), (body["thin"], "thinly covered"), (body["at_risk"], "at risk"))
    lines = [", ".join(f"{count} {word} ({count / total:.0%})" for count, word in parts)]
    lines += ["Missing:", *(f"  {line}" for line in body["missing"])] if body["missing"] else ["Nothing is missing."]
    if body["risk"]:
        lines += ["Riskiest:", "  gap   frame        why"]
        lines += [f"  {row['gap']:.1f}   {row['frame'] or '-':12} {row['reason']}" for row in body["risk"][:most]]
    lines += [f"Skipped: {item['item']}: {item['reason']}" for item in body["skipped"][:10]]
    return "\n".join([*lines, *(f"  {path}" for path in body["outputs"])])
