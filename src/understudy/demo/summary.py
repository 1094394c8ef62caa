"""The demo's last words: what came of it, what took how long, what to try next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

GOOD_CORRELATION = 0.8
"""A swapped face follows the dst performance when its movement correlates at least this well with the truth."""


def summary_text(body: Mapping[str, Any]) -> str:
    """The summary of a demo's JSON result (`run_demo(…).as_json()`) as lines of text."""
    return "\n".join([*_result(body), "", *_timing(body), "", *_next(body)])


def _result(body: Mapping[str, Any]) -> list[str]:
    verdict = body["verdict"]
    frames = f"{verdict['frames']} held-out frames"
    missed = f", no face found in {verdict['missed']}" if verdict["missed"] else ""
    return [
        *(f"{_what(Path(path).name):<16} {path}" for path in body["outputs"]),
        "",
        f"Does the swapped face do what dst did? Measured against the known truth of {frames}{missed}:",
        _measure("mouth opening", verdict["mouth_correlation"], verdict["plate_mouth_correlation"]),
        _measure("yaw", verdict["yaw_correlation"], verdict["plate_yaw_correlation"]),
        f"Inside the face the frames differ from dst by {verdict['changed_levels']:.1f} of 255 levels on average.",
    ]


def _measure(name: str, value: float, plate: float) -> str:
    word = "good" if value >= GOOD_CORRELATION else f"short of {GOOD_CORRELATION}: train longer"
    return f"  {name:<14} correlates {value:.2f} ({word}; the untouched footage measures {plate:.2f})"


def _timing(body: Mapping[str, Any]) -> list[str]:
    steps = {"installing": body["install_secs"], **body["steps"]} if body["install_secs"] else body["steps"]
    lines = [f"  {name:<28}{_clock(seconds):>8}" for name, seconds in steps.items()]
    return ["Where the time went:", *lines, f"  {'altogether':<28}{_clock(body['total_secs']):>8}"]


def _next(body: Mapping[str, Any]) -> list[str]:
    folder = Path(body["outputs"][0]).parent
    iteration = body["iteration"]
    return [
        f"{iteration} iterations only show that it works; a good likeness takes many thousands. To try next:",
        f"  cd {folder}",
        f"  understudy train demo --target-iter {max(2000, 4 * (iteration or 0))}",
        "  understudy merge demo && understudy video encode mp4",
        "  understudy status        what is there and what comes next",
        "  understudy init shot     a workspace for two videos of your own",
    ]


def _what(name: str) -> str:
    known = {"result.mp4": "The result:", "contact_sheet.png": "Contact sheet:", "before_after.jpg": "Before, after:"}
    return known.get(name, "Also:")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{seconds:.1f} s"
