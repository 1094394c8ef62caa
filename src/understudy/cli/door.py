"""What every command shares: which workspace, how much to say, and the one place where something is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from understudy.report import Report, silent

if TYPE_CHECKING:
    from understudy.workspace import Workspace


@dataclass
class Door:
    """The global flags, and the ways out: one JSON object or text on stdout, everything else on stderr."""

    folder: Path = field(default_factory=Path.cwd)
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    finished: bool = False

    @property
    def workspace(self) -> Workspace:
        """The workspace that -w names. Raises NotAWorkspace."""
        from understudy.workspace import Workspace

        return Workspace.open(self.folder)

    def finish(self, body: dict[str, Any], text: str = "", *, exit_code: int = 0) -> None:
        """Show how a command ended, for a program or for a person, and end it with `exit_code` if that is not 0."""
        self.finished = True
        if self.json:
            self.print_json(body)
        elif text and not self.quiet:
            print(text, file=self.out, flush=True)
        if exit_code:
            raise typer.Exit(exit_code)

    def print_json(self, body: dict[str, Any]) -> None:
        """Print the one object; spelled out in ASCII where the terminal, or UTF-8, has no letter for something in it.

        Names of files may hold bytes that are no text at all.
        """
        text = json.dumps(body, ensure_ascii=False)
        try:
            text.encode(self.out.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json.dumps(body)
        print(text, file=self.out, flush=True)

    def say(self, message: str) -> None:
        """A line for the person who watches."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """A report that draws progress on stderr while the block runs; silent with -q."""
        if self.quiet:
            yield silent
            return
        from understudy.cli.progress import drawing

        with drawing(verbose=self.verbose) as report:
            yield report
