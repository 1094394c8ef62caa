"""Measure speed and memory beside a calibration of the machine; without names, everything.

Each benchmark runs in a process of its own, after a calibration in that same process, so that none inherits another's
threads or memory. --write puts the figures, with machine, date and calibration, into docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench
from bench.calibration import calibrate
from understudy.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
NOT_BENCHMARKS = ("__main__", "calibration", "learning")
INTRODUCTION = "# Performance\n\nFigures of `python run.py bench --write`.\n"


def main(arguments: list[str]) -> int:
    """Run the benchmarks that the arguments name; the exit code is 1 when one failed."""
    chosen = parse(arguments)
    if chosen.alone:
        (name,) = chosen.names
        machine = calibrate(quick=chosen.quick)
        figures = importlib.import_module(f"bench.{name}").run(chosen.quick)
        print(json.dumps({"calibration": machine, "figures": figures}, default=str))
        return 0
    found = {name: measure(name, quick=chosen.quick) for name in chosen.names or names()}
    done = {name: figures for name, figures in found.items() if figures is not None}
    for name, figures in done.items():
        if chosen.write:
            write_section(name, section(name, figures))
        if not chosen.json:
            print(section(name, figures) + "\n")
    if chosen.json:
        print(json.dumps(done))
    return 0 if len(done) == len(found) else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python run.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--write", action="store_true", help=f"write the figures into {PAGE.name}")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in names()]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(names())}")
    return chosen


def names() -> list[str]:
    """Every benchmark: the modules of this package that have figures."""
    found = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name for name in found if name not in NOT_BENCHMARKS)


def measure(name: str, *, quick: bool) -> dict[str, Any] | None:
    """One benchmark's calibration and figures; None when it failed, which is said on stderr."""
    print(f"bench: {name} …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "bench", name, "--alone", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"bench: {name} failed", file=sys.stderr, flush=True)
        return None
    body = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(body, dict)
    return body


def section(name: str, measured: dict[str, Any]) -> str:
    """One benchmark as a heading, a line about the machine, and a table."""
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in measured["calibration"].items())
    figures = {key: value for key, value in measured["figures"].items() if key != "rows"}
    rows = [f"| {key} | {value} |" for key, value in flat(figures)]
    lines = [f"## {name}", "", about, "", "| figure | |", "|---|---|", *rows]
    return "\n".join([*lines, *table(measured["figures"].get("rows", []))])


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows with named columns, such as one per file, as a table of their own."""
    if not rows:
        return []
    head = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    return ["", *head, *(f"| {' | '.join(str(value) for value in row.values())} |" for row in rows)]


def flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Figures by name, nested ones with their path, numbers to three places."""
    rows: list[tuple[str, Any]] = []
    for key, value in figures.items():
        label = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, dict):
            rows += flat(value, f"{label}: ")
        else:
            rows.append((label, round(value, 3) if isinstance(value, float) else value))
    return rows


def write_section(name: str, text: str) -> None:
    """Put a section between its two marks on the page; what people wrote around it stays."""
    start, end = f"<!-- bench {name} -->", f"<!-- /bench {name} -->"
    block = f"{start}\n{text}\n{end}"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else INTRODUCTION
    if start in page and end in page:
        before, rest = page.split(start, 1)
        page = before + block + rest.split(end, 1)[1]
    else:
        page = f"{page.rstrip()}\n\n{block}\n"
    write_text(PAGE, page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
