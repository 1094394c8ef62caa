"""`understudy engines`: the networks that find faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from understudy.stages.engines import EngineState


def list_engines(context: typer.Context) -> None:
    """List the engines: which can be used, from which files, under which terms."""
    from understudy.stages.engines import list_engines as listed

    engines = listed()
    body = {"ok": True, "engines": [engine.as_json() for engine in engines]}
    context.obj.finish(body, "\n\n".join(engine_text(engine) for engine in engines))


def fetch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which engine, as `engines list` names it.")],
    sha256: Annotated[
        list[str] | None,
        typer.Option("--sha256", metavar="FILE=HASH", help="The SHA-256 of a file that is not pinned; repeatable."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="URL", help="Where the files lie, if not where they are published."),
    ] = None,
) -> None:
    """Fetch the files of an engine, once their SHA-256 is known; prints licence and data-set terms.

    An interrupted download goes on where it stopped. Nothing that has another hash is kept.
    """
    from understudy.errors import UsageError
    from understudy.stages.engines import fetch_engine

    hashes = {}
    for item in sha256 or []:
        file, separator, value = item.partition("=")
        if not separator:
            raise UsageError(f"--sha256 {item}: no file is named.", hint="Write it as --sha256 FILE=HASH")
        hashes[file] = value
    with context.obj.progress() as report:
        result = fetch_engine(name, sha256=hashes, source=source, report=report)
    text = "\n".join(str(path) for path in result.outputs) or f"Every file of {name} is here already."
    context.obj.finish(result.as_json(), text)


def add(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Weight files: S3FD.npy, 2DFAN.npy, 2DFAN4-….pth.tar, …")],
) -> None:
    """Bring in weight files that you have; the files stay where they are."""
    from understudy.stages.engines import add_engine_files

    with context.obj.progress() as report:
        result = add_engine_files([file.absolute() for file in files], report=report)
    context.obj.finish(result.as_json(), "\n".join(str(path) for path in result.outputs))


def engine_text(engine: EngineState) -> str:
    """An engine as a person reads it: state, terms, then each file."""
    lines = [f"{engine.info.name}: {'ready' if engine.ready else 'not ready'}. {engine.info.what}"]
    lines += [f"  licence  {engine.info.licence}", f"  data     {engine.info.data_terms}"]
    for file in engine.files:
        state = "whole" if file.ok else "CHANGED" if file.present else "not here"
        lines.append(f"  {file.name}: {state}, {file.path}")
        if file.ok:
            origin = "" if file.origin == "bundled" else f" of {file.origin.partition(',')[0]}"
            lines.append(f"    SHA-256{origin} {file.sha256}")
        else:
            lines.append(
                f"    from {file.origin}" + (f", {file.url}" if file.url else ", which you bring: engines add")
            )
    return "\n".join(lines)
