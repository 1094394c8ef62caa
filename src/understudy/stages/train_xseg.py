"""Train a mask network on the labelled faces of a workspace."""

from __future__ import annotations

from understudy.errors import UsageError
from understudy.interop.flat import find_flat_model
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.model_manage import delete_model
from understudy.stages.result import StageResult
from understudy.stages.train import train_model
from understudy.training.commands import Commands
from understudy.training.options.xseg import XSegTrainOptions
from understudy.training.saved.models import is_model, read_record
from understudy.workspace import Workspace

XSEG = "XSeg"
"""The name of a workspace's own mask network, and of the class."""


def train_xseg(
    workspace: Workspace,
    name: str = XSEG,
    options: XSegTrainOptions = XSegTrainOptions(),
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """Train the mask network `name`, made on its first run, on every labelled face of both sides, and save it.

    Options that are not given keep the values of its last run; flat files of the reference are imported first. Faces
    that are labelled meanwhile are learned from after the next save.
    Raises EmptyFaceset where nothing is labelled, UsageError for a model of another class, and what `train` raises.
    """
    folder = workspace.model(name)
    if is_model(folder) and read_record(folder).model_class != XSEG:
        raise UsageError(f"The model {name} draws faces, no masks.", hint=f"Train it with: understudy train {name}")
    if options.restart and (is_model(folder) or find_flat_model(workspace.models, name) is not None):
        moved = delete_model(workspace, name)
        report(Note(f"{name} begins anew. To have the old one back, delete the new one, then: {moved.notes['undo']}"))
    return train_model(workspace, name, options.as_training(), report=report, stop=stop, commands=commands)
