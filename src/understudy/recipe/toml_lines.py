"""Where in a TOML text every key stands, since tomllib does not say.

    lines_of('[[step]]\\nrun = "merge"\\n')  →  {("step",): 1, ("step", 0): 1, ("step", 0, "run"): 2}

For texts that tomllib has read already: what is no TOML is not noticed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key. Members of a list of tables count from 0.

    Keys inside inline tables are not listed; theirs is the line of the key that holds the table.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in _statements(text):
        header = _HEADER.match(line)
        if header:
            table = _entered(_parts(header[2]), counts, is_list=header[1] == "[[")
            lines.setdefault(table, number)
            if isinstance(table[-1], int):
                lines.setdefault(table[:-1], number)
        elif key := _KEY.match(line):
            parts = _parts(key[1])
            for length in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:length]), number)
    return lines


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int:
    """The line of a key, or of the nearest table around it; 1 where even that is not known."""
    key = tuple(path)
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key, 1)


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]


def _entered(parts: list[str], counts: dict[Path, int], *, is_list: bool) -> Path:
    """The path of a header, with the number of the member that each list of tables is at."""
    path: Path = ()
    for position, part in enumerate(parts):
        path = (*path, part)
        if is_list and position == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines that begin a statement, with their numbers: none that lies inside a list, a table or a long text."""
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not depth and not quote:
            yield number, line
            if _HEADER.match(line):
                continue
        depth, quote = _after(line, depth, quote)


def _after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """How deep in brackets, and in which long text, a line ends that began so."""
    at = 0
    while at < len(line):
        if quote:
            if line.startswith(quote, at):
                at, quote = at + len(quote), ""
            else:
                at += 2 if quote[0] == '"' and line[at] == "\\" else 1
            continue
        char = line[at]
        if char == "#":
            break
        if char in "\"'":
            quote = char * 3 if line.startswith(char * 3, at) else char
            at += len(quote)
            continue
        depth += (char in "[{") - (char in "]}")
        at += 1
    return max(0, depth), quote if len(quote) == 3 else ""
