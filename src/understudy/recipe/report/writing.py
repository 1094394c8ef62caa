"""The page, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.files import write_text
from understudy.recipe.journal import Journal
from understudy.recipe.plan import Unit
from understudy.recipe.records import Recipe
from understudy.workspace import Workspace


def write_report(workspace: Workspace, recipe: Recipe, units: Sequence[Unit], journal: Journal) -> Path:
    """Write `report-NAME.html` in the workspace; its path."""
    path = workspace.root / f"report-{recipe.name}.html"
    write_text(path, "<!doctype html>")
    return path
