"""Whether a unit that a killed process had begun was finished by it, for stages that must not run twice.

Most stages may simply run again: they see what is there and do the rest. Those here change a faceset in place, where a
second time would do it to the result of the first.
"""

from __future__ import annotations

from understudy.facesets.changes import changes
from understudy.recipe.plan import Unit
from understudy.records import Side
from understudy.stages.denoise_state import denoised_with
from understudy.stages.face_changes import writing_faces
from understudy.training.saved.models import is_model
from understudy.workspace import Workspace

IN_PLACE = ("faceset resize", "faceset enhance", "faceset unpack")
"""Stages whose last act is one change of the faceset that can be undone."""


def mark_before(workspace: Workspace, unit: Unit) -> str | None:
    """What tells afterwards whether the unit changed anything; None where it may simply run again."""
    if unit.step is None or not _is_in_place(unit):
        return None
    return _last_change(workspace, Side(unit.step.arguments["side"]))


def was_finished(workspace: Workspace, unit: Unit, mark: str | None) -> bool:
    """Whether a unit that had begun with this mark needs no second run."""
    step = unit.step
    if step is None or unit.phase is not None:
        return False
    if mark is not None:
        side = Side(step.arguments["side"])
        with writing_faces(workspace, side):  # finishes or takes back a change that was cut off
            return _last_change(workspace, side) != mark
    match step.stage:
        case "video denoise":
            side = Side(step.arguments["side"])
            return denoised_with(workspace, side) == int(step.options.get("factor", 7))
        case "model copy":
            return is_model(workspace.model(step.arguments["new"]))
        case "model rename":
            return is_model(workspace.model(step.arguments["new"])) and not _there(workspace, step.arguments["old"])
        case "model delete":
            return not _there(workspace, step.arguments["name"])
    return False


def _is_in_place(unit: Unit) -> bool:
    assert unit.step is not None
    stage, options = unit.step.stage, unit.step.options
    return stage == "faceset unpack" or (stage in IN_PLACE and bool(options.get("replace")))


def _last_change(workspace: Workspace, side: Side) -> str:
    found = changes(workspace.changes(side))
    return str(found[0].journal.name) if found else "none"


def _there(workspace: Workspace, name: str) -> bool:
    return is_model(workspace.model(name))
