"""How faces come into the training of a model: all of both sides for a swapper, those with labels for XSeg."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from understudy.report import Report, Stop, never, silent
from understudy.stages.held_out_faces import decided, evaluator_for
from understudy.stages.label_faces import LabelSupply, decided_labels, mask_evaluator_for
from understudy.stages.train_faces import Faces, FaceSupply
from understudy.training.masking.task import Masking
from understudy.training.measuring.evaluating import Evaluator
from understudy.training.options import TrainOptions
from understudy.training.recipes import recipe_for
from understudy.training.saved.models import ModelRecord
from understudy.workspace import Workspace


@dataclass(frozen=True)
class TaskFaces:
    """supply: loads those that are learned from. decide: which are held out. evaluator: measures on these. title: what
    the faces are called."""

    supply: type[FaceSupply]
    decide: Callable[..., ModelRecord]
    evaluator: Callable[..., Evaluator]
    title: str = ""


SWAPPING = TaskFaces(FaceSupply, decided, evaluator_for)
MASKING = TaskFaces(LabelSupply, decided_labels, mask_evaluator_for, "labelled ")


def task_faces(record: ModelRecord) -> TaskFaces:
    """What a model of this class needs."""
    return MASKING if isinstance(recipe_for(record.model_class).task, Masking) else SWAPPING


def faces_for(
    workspace: Workspace, record: ModelRecord, options: TrainOptions, report: Report = silent, stop: Stop = never
) -> Faces:
    """The faces of both sides as a model is trained on them with these options. Raises EmptyFaceset, Interrupted."""
    with task_faces(record).supply(workspace, record) as supply:
        return supply.load(options, report, stop)
