"""`understudy video`: look at footage, cut it into frames, deliver the result."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.errors import Interrupted
from understudy.media.options import CutOptions, DenoiseOptions, EncodeOptions, FramesOptions
from understudy.records import FootageFrom, Side
from understudy.report import Report, track

SideArgument = Annotated[Side, typer.Argument(help="src: the face to take; dst: the footage to put it into.")]


def probe(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A video, a picture or a folder of frames.")],
    check: Annotated[bool, typer.Option("--check", help="Decode every frame, and name the damaged ones.")] = False,
) -> None:
    """Say what a video file or a folder of pictures is, and what is wrong with it."""
    from understudy.cli.footage_text import footage_text
    from understudy.media import probe as look

    info = look(file)
    body: dict[str, Any] = {"ok": True, **info.as_json()}
    damaged = None
    if check:
        with context.obj.progress() as report:
            damaged = _damaged(file, report)
        body["damaged"] = [{"item": item, "reason": reason} for item, reason in damaged]
    context.obj.finish(body, footage_text(info, damaged))


def _damaged(file: Path, report: Report) -> list[tuple[str, str]]:
    """What a whole pass over the footage could not use, or not fully."""
    from understudy.media import open_footage

    with open_footage(file) as footage:
        for _ in track(footage.frames(), "Checking", report, total=footage.estimated_count):
            pass
        return [(item.item, item.reason) for item in footage.skipped]


@flags(CutOptions, table="cut")
def cut(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A video file.")], options: CutOptions
) -> None:
    """Write a part of a video beside it, with its times, colours, timecode and sound.

    The new file is called NAME_cut. Times count from the first frame; frames are named as their files are: f123 is
    00123.
    """
    from understudy.stages.cut_video import cut_video

    _stop_on_hangup()
    try:
        with context.obj.progress() as report:
            result = cut_video(file.absolute(), options, report=report)
    except KeyboardInterrupt:
        raise Interrupted("Stopped; nothing was written.", hint="Cutting starts anew.") from None
    how = "copied without loss" if result.notes["copied"] else "encoded"
    context.obj.finish(result.as_json(), f"{summary('Cut', result.as_json())}\n  {how}; {result.notes['part']}")


def _stop_on_hangup() -> None:
    """A closed terminal stops like Ctrl-C what is no job of its own, so that nothing half written stays."""
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:  # nohup ignores it
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(hangup, signal.default_int_handler)


@flags(FramesOptions, table="frames")
def frames(context: typer.Context, side: SideArgument, options: FramesOptions) -> None:
    """Cut the footage of one side into numbered frames.

    Extraction and merging also read the video itself. Frames on disk are for looking at; when there are any, they win.
    """
    run_stage(context.obj, "stages.extract_frames:extract_frames", f"Frames of {side}", side=side, options=options)


@flags(EncodeOptions, table="encode", bare="format")
def encode(context: typer.Context, options: EncodeOptions) -> None:
    """Make a video of the merged frames, with the sound and timing of the dst."""
    run_stage(context.obj, "stages.encode:encode", "Encoding", options=options)


@flags(DenoiseOptions, table="denoise")
def denoise(
    context: typer.Context,
    side: SideArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the frames as they were.")] = False,
    *,
    options: DenoiseOptions,
) -> None:
    """Take the noise out of the frames of one side.

    Within each frame and from frame to frame; shots are kept apart. The old frames go to the trash. Draws a sheet of
    before and after.
    """
    if undo:
        run_stage(context.obj, "stages.denoise:undo_denoise", f"Noise back into {side}", side=side)
        return
    run_stage(context.obj, "stages.denoise:denoise", f"Denoising {side}", side=side, options=options)


def shots(
    context: typer.Context,
    side: SideArgument,
    footage: Annotated[
        FootageFrom | None, typer.Option("--from", help="Which frames to look at; else those on disk if there are any.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Look even where the shots are known.")] = False,
) -> None:
    """Find the cuts in the footage of one side, and list its shots.

    Draws a sheet of the first and last frame of each shot. Tracking, curation and merging use what is found here.
    """
    run_stage(
        context.obj, "stages.shots:find_shots", f"Shots of {side}", shown=_shot_list, side=side, prefer=footage,
        again=again,
    )  # fmt: skip


def _shot_list(body: dict[str, Any]) -> str:
    rows = body["shots"]
    lines = [f"{len(rows)} shot{'s' if len(rows) != 1 else ''} in {body['frames']} frames"]
    lines += [
        f"{row['shot']:5}  {row['first_frame']} to {row['last_frame']}  {row['frames']:6} frames  "
        f"{row['from']} to {row['to']}"
        for row in rows
    ]
    return "\n".join([*lines, *(f"  {path}" for path in body["outputs"])])
