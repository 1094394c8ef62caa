"""The `understudy` command: global flags, the tree of commands, and how every ending reads.

Exit code 0: done; 1: failed with a clear message; 2: wrong usage; 130: interrupted, and the same command resumes.
With --json stdout holds exactly one object, whatever happens; everything else goes to stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from understudy import __version__
from understudy.cli.door import Door
from understudy.cli.tree import TREE, group_class
from understudy.errors import UnderstudyError
from understudy.files import error_of

GLOBAL_SWITCHES = {"--json", "-q", "--quiet", "-v", "--verbose"}
GLOBAL_VALUES = {"-w", "--workspace"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the result is the exit code."""
    front, rest = globals_first(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _stop_on_terminate()
        _spell_out_what_cannot_be_shown()
    door = Door(json="--json" in front, out=sys.stdout)
    # A library that prints must not spoil the one object on stdout.
    guard = contextlib.redirect_stdout(sys.stderr) if door.json else contextlib.nullcontext()
    try:
        with guard:
            code = command_line()([*front, *rest], prog_name="understudy", obj=door, standalone_mode=False)
    except UnderstudyError as error:
        return _failed(door, error.as_json(), error.exit_code)
    except typer.Abort:
        return _failed(door, {"code": "interrupted", "message": "Interrupted.", "hint": ""}, 130)
    except Exception as error:
        if _is_usage(error):
            return _misused(door, error)
        ours = error_of(error, Path(str(error.filename or door.folder))) if isinstance(error, OSError) else None
        if ours is not None:
            return _failed(door, ours.as_json(), ours.exit_code)
        traceback.print_exc()
        last = traceback.format_exception_only(error)[-1].strip()
        hint = "This is a fault of the program; the traceback above says where."
        return _failed(door, {"code": "internal-error", "message": last, "hint": hint}, 1)
    if code == 130 and not door.finished:
        return _failed(door, {"code": "interrupted", "message": "Interrupted.", "hint": ""}, 130)
    return code if isinstance(code, int) else 0


def command_line() -> Any:
    """The whole tree as one Typer command."""
    app = typer.Typer(
        name="understudy",
        cls=group_class(TREE),
        invoke_without_command=True,
        rich_markup_mode="rich",
        help=INTRODUCTION,
    )
    app.callback()(start)
    return get_command(app)


INTRODUCTION = (
    "Replace one performer's face with another's in footage. In a workspace, understudy alone says what comes next."
)


def start(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "-w", "--workspace", envvar="UNDERSTUDY_WORKSPACE", help="The workspace; else the folder one is in."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    door = context.obj
    door.folder = (workspace or Path.cwd()).absolute()
    door.json, door.quiet, door.verbose = json_, quiet, verbose
    if version:
        door.finish({"ok": True, "version": __version__}, f"understudy {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _status_or_help(context)


def _spell_out_what_cannot_be_shown() -> None:
    """A name that the terminal has no letters for must not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def globals_first(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The global flags and the rest of a line, so that global flags may also stand after the command."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in GLOBAL_SWITCHES or argument.startswith("--workspace="):
            front.append(argument)
        elif argument in GLOBAL_VALUES:
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        else:
            rest.append(argument)
    return front, rest


def _status_or_help(context: typer.Context) -> None:
    from understudy.cli.folder import status
    from understudy.errors import NotAWorkspace

    try:
        _ = context.obj.workspace
    except NotAWorkspace:
        if context.obj.json:
            raise
        print(context.get_help())
        return
    status(context)


def _failed(door: Door, error: dict[str, str], code: int) -> int:
    if door.json:
        door.print_json({"ok": False, "error": error})
    print(error["message"], file=sys.stderr)
    if error["hint"]:
        print(error["hint"], file=sys.stderr)
    return code


def _is_usage(error: Exception) -> bool:
    """Whether Typer found the line itself at fault. Its exceptions have no public base class but TyperException."""
    from typer.exceptions import TyperException

    return isinstance(error, TyperException)


def _misused(door: Door, error: Any) -> int:
    context = getattr(error, "ctx", None)
    hint = f"See: {context.command_path} --help" if context is not None else "See: understudy --help"
    if type(error).__name__ == "NoArgsIsHelpError" and not door.json:
        return 2  # the help has been printed
    message = error.format_message().replace(": Value error, ", ": ") or "A command is missing."
    return _failed(door, {"code": "usage-error", "message": message, "hint": hint}, 2)


def _stop_on_terminate() -> None:
    """SIGTERM stops like Ctrl-C, so that a scheduler that ends the command also ends its job, cleanly."""
    if os.name != "nt":
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
