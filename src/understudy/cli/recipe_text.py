"""Recipes, their plans and what came of them, as lines of text for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from understudy.cli.progress import duration_text

if TYPE_CHECKING:
    from understudy.recipe.planning import PlannedUnit
    from understudy.recipe.records import Recipe

WORDS = {"running": "begun", "passed": "passed over", "left": "to do", "changed": "again"}


def recipes_text(recipes: Sequence[Recipe]) -> str:
    """The recipes of the package, with their variables."""
    lines = []
    for recipe in recipes:
        lines += [f"{recipe.name}: {recipe.title}", textwrap.indent(textwrap.fill(recipe.about, 96), "  ")]
        settings = "  ".join(f"{name}={_plain(value)}" for name, value in recipe.variables.items())
        lines += [textwrap.fill(settings, 100, initial_indent="  ", subsequent_indent="  "), ""]
    return "\n".join([*lines, "The steps of one: understudy run NAME --list", "Another value: --set NAME=VALUE"])


def plan_text(recipe: Recipe, planned: Sequence[PlannedUnit]) -> str:
    """The steps in order, what is done of them, and how long the rest may take."""
    width = max((len(row.unit.id) for row in planned), default=0)
    lines = [recipe.title, ""]
    for row in planned:
        number = f"{row.unit.number:3}" if row.unit.on else "  -"
        state = WORDS.get(row.state, row.state)
        lines.append(f"{number}  {row.unit.id:{width}}  {state:11}  {_of(row)}".rstrip())
    known = [row.estimate for row in planned if row.estimate is not None]
    open_ = sum(row.estimate is None for row in planned if row.state in ("left", "changed", "running"))
    if known:
        rest = f", and {open_} steps whose time is not known" if open_ else ""
        lines += ["", f"Left: about {duration_text(sum(known))}{rest}"]
    return "\n".join(lines)


def run_text(body: dict[str, Any], *, title: str) -> str:
    """What a run came to."""
    steps = body["steps"]
    done = sum(step["state"] == "done" for step in steps)
    lines = [f"{title}: {done} of {len(steps)} steps done, in {duration_text(body['seconds'])}"]
    width = max(len(step["title"]) for step in steps)
    for step in steps:
        count = _count(step.get("result", {}))
        lines.append(
            f"  {step['number']:3}  {step['title']:{width}} {duration_text(step.get('seconds', 0.0)):>12}  {count}"
        )
    lines += [f"  {path}" for path in body["outputs"]]
    if body["skipped"]:
        lines.append(f"{len(body['skipped'])} items were skipped; the report names them.")
    return "\n".join(line.rstrip() for line in lines)


def _of(row: PlannedUnit) -> str:
    parts = []
    if row.unit.phase is not None and row.state != "off":
        parts.append(row.unit.phase.end.text)
    if row.state == "done":
        parts += [text for text in (duration_text(row.seconds), _count(row.result)) if text]
    elif row.estimate is not None:
        parts.append(f"about {duration_text(row.estimate)}")
    return ", ".join(parts)


def _count(result: dict[str, Any]) -> str:
    """What a step came to, in few words."""
    if "iteration" in result and "ended" in result:
        return f"iteration {result['iteration']}"
    return ", ".join(f"{result[name]} {name}" for name in ("frames", "faces") if name in result)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'
