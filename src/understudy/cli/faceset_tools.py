"""`understudy faceset`: pack, unpack, resize and the other tools for files of faces."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.cli.video import SideArgument
from understudy.facesets.options import (
    DrawLandmarksOptions,
    ExportMasksOptions,
    ImportPngOptions,
    PackOptions,
    ResizeOptions,
    UnpackOptions,
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be renamed.")]


@flags(PackOptions, table="pack")
def pack(context: typer.Context, side: SideArgument, options: PackOptions) -> None:
    """Put all faces into one file, faceset.pak.

    Every program of this field reads it in place of the loose faces, which stay unless you say otherwise.
    """
    run_stage(context.obj, "stages.pack:pack", f"Packing {side}", side=side, options=options)


@flags(UnpackOptions, table="unpack")
def unpack(context: typer.Context, side: SideArgument, options: UnpackOptions) -> None:
    """Take the faces out of faceset.pak again.

    The pack moves to aligned_trash when every face is a file of its own.
    """
    run_stage(
        context.obj,
        "stages.unpack:unpack",
        f"Unpacking {side}",
        shown=_undoable("Unpacked"),
        side=side,
        options=options,
    )


@flags(ResizeOptions, table="resize")
def resize(context: typer.Context, side: SideArgument, options: ResizeOptions) -> None:
    """Bring the faces to another picture size or face type.

    The new faces go to aligned_resized; with --replace they take the places of the old ones, which can be undone.
    """
    run_stage(
        context.obj, "stages.resize:resize", f"Resizing {side}", shown=_undoable("Resized"), side=side, options=options
    )


def restore_names(context: typer.Context, side: SideArgument, dry_run: DryRun = False) -> None:
    """Name the faces after their frames again, as they were before sorting.

    00012_0.jpg is a face of frame 00012; several faces of one frame are numbered in the order of their present names.
    """
    shown = _dry_names if dry_run else _undoable("Restored names")
    run_stage(
        context.obj, "stages.names:restore_names", f"Names of {side}", shown=shown, side=side, dry_run=dry_run
    )  # fmt: skip


def save_meta(context: typer.Context, side: SideArgument) -> None:
    """Save the data of all faces to meta.dat, before editing the pictures elsewhere.

    Most image editors drop face data; restore-meta puts it back.
    """
    run_stage(context.obj, "stages.meta_backup:save_meta", f"Data of {side}", side=side)


def restore_meta(context: typer.Context, side: SideArgument) -> None:
    """Give the pictures the data back that meta.dat holds.

    Pictures that came back at another size are brought to the size they had. Their names must not have changed.
    """
    run_stage(
        context.obj, "stages.meta_backup:restore_meta", f"Data of {side}", shown=_undoable("Restored data"), side=side
    )


@flags(DrawLandmarksOptions, table="draw-landmarks")
def draw_landmarks(context: typer.Context, side: SideArgument, options: DrawLandmarksOptions) -> None:
    """Draw the landmarks of each face on a copy beside it, NAME_debug.jpg.

    To look through; the copies are no part of the faceset. --remove takes them away again.
    """
    shown, title = _undoable("Landmarks"), f"Landmarks of {side}"
    run_stage(context.obj, "stages.draw_landmarks:draw_landmarks", title, shown=shown, side=side, options=options)


@flags(ExportMasksOptions, table="export-masks")
def export_masks(context: typer.Context, side: SideArgument, options: ExportMasksOptions) -> None:
    """Write the mask of each face as a picture beside it, NAME_mask.jpg.

    The applied mask, else the outlines drawn by hand. --remove takes the pictures away again.
    """
    run_stage(
        context.obj,
        "stages.export_masks:export_masks",
        f"Masks of {side}",
        shown=_undoable("Masks"),
        side=side,
        options=options,
    )


@flags(ImportPngOptions, table="import-png")
def import_png(context: typer.Context, side: SideArgument, options: ImportPngOptions) -> None:
    """Take over faces of DeepFaceLab 1, which were PNG files.

    Each becomes a JPEG face of the same name, with all its data.
    """
    run_stage(context.obj, "stages.import_png:import_png", f"PNG faces of {side}", side=side, options=options)


def info(context: typer.Context, side: SideArgument) -> None:
    """Count the faces of a faceset and say what they are like."""
    from understudy.cli.faceset_table import info_text
    from understudy.stages.faceset_info import faceset_info

    with context.obj.progress() as report:
        found = faceset_info(context.obj.workspace, side, report=report)
    context.obj.finish(found.as_json(), info_text(found))


_COUNTS = ("renamed", "restored", "unchanged", "drawn", "masks", "removed")
"""What a result may say of how many files were touched."""


def _undoable(title: str) -> Any:
    """A summary that says how to take the change back."""

    def shown(body: dict[str, Any]) -> str:
        lines = [summary(title, body)]
        counts = [f"{body[name]} {name}" for name in _COUNTS if name in body]
        lines += [f"  {', '.join(counts)}"] if counts else []
        lines += [f"Undo: {body['undo']}"] if body.get("undo") else []
        return "\n".join(lines)

    return shown


def _dry_names(body: dict[str, Any]) -> str:
    names = body["names"]
    lines = [f"{body['would_rename']} of {body['faces']} faces would be renamed."]
    lines += [f"  {old} → {new}" for old, new in list(names.items())[:10]]
    lines += ["  …"] if body["would_rename"] > 10 else []
    return "\n".join([*lines, *(f"Skipped: {item['item']}: {item['reason']}" for item in body["skipped"][:10])])
