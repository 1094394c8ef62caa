"""The page of a recipe, written into its workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.files import write_bytes
from understudy.recipe.journal import Journal, State
from understudy.recipe.plan import Unit
from understudy.recipe.records import Recipe
from understudy.recipe.report.facts import gather
from understudy.recipe.report.merged import Sample, samples
from understudy.recipe.report.page import page
from understudy.workspace import Workspace


def report_path(workspace: Workspace, name: str) -> Path:
    """Where the page of a recipe is."""
    return workspace.root / f"report-{name}.html"


def write_report(workspace: Workspace, recipe: Recipe, units: Sequence[Unit], journal: Journal) -> Path:
    """Write the page of what is done of a recipe so far, and give its path. Raises DiskFull, ReadOnlyWorkspace."""
    path = report_path(workspace, recipe.name)
    text = page(gather(workspace, recipe, units, journal), _merged(workspace, units, journal))
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
    return path


def _merged(workspace: Workspace, units: Sequence[Unit], journal: Journal) -> list[Sample]:
    """Samples of the last merge of the recipe that is done."""
    for unit in reversed(units):
        entry = journal.entry(unit)
        if unit.step is None or unit.step.stage != "merge" or entry is None or entry.state is not State.DONE:
            continue
        video = next((path for path in map(Path, entry.result.get("outputs", [])) if path.is_file()), None)
        return samples(workspace, video if "to_video" in unit.step.options and video else workspace.merged)
    return []
