"""The options of training a mask network: those of every training that concern it, with its own defaults."""

from __future__ import annotations

from pathlib import Path

from understudy.options import option
from understudy.records import FaceType
from understudy.training.options import TrainOptions
from understudy.training.options.course import CourseOptions
from understudy.training.options.evaluation import EvaluationOptions
from understudy.training.options.given import GivenOptions
from understudy.training.options.machine import MachineOptions
from understudy.training.options.model import ModelClass
from understudy.training.options.optimiser import LrDropout, OptimiserOptions
from understudy.training.options.saving import SavingOptions


class XSegTrainOptions(GivenOptions, MachineOptions, SavingOptions, EvaluationOptions, OptimiserOptions, CourseOptions):
    """How a mask network is trained. What was not given stays as in its last run."""

    face_type: FaceType | None = option(
        None,
        "How much of the head a new network sees: h, mf, f, wf or head; begins with wf. Faces of another type are "
        "converted.",
        group="Model",
    )
    restart: bool = option(
        False, "Begin anew, with initial weights and options; what was there goes to the trash.", group="Model"
    )
    faithful: bool | None = option(
        None,
        "Bend the samples as the reference does, whose warp moves both axes alike. Not given: on for imported "
        "networks, off for new ones.",
        group="Model",
        live=True,
    )
    batch_size: int = option(
        4,
        "Faces in an iteration. More is steadier and needs more memory.",
        group="Training",
        ge=2,
        le=16,
        live=True,
    )
    pretrain: bool = option(
        False,
        "Learn what faces look like first: to draw any face in grey, without labels. Turned off, training begins at "
        "iteration 0 with what was learned.",
        group="Pretraining",
    )
    pretrain_faces: Path | None = option(
        None,
        "Faceset of many people to pretrain on: a folder, or a faceset.pak. Not given: pretrain_faces in the user data "
        "folder.",
        group="Pretraining",
    )
    hold_out: float = option(
        0.1,
        "Share of the labelled faces of each side, from neighbouring frames, that is never trained on and shows how "
        "good masks of unseen faces are. Fewer than 20 labelled faces hold none out at 0.1.",
        group="Evaluation",
        unit="share",
        ge=0.0,
        le=0.5,
    )
    adabelief: bool = option(False, "Optimise with AdaBelief instead of RMSprop.", group="Optimiser", live=True)
    learning_rate: float = option(0.0, "How far a step goes. 0 is 1e-4.", group="Optimiser", ge=0.0, le=1.0, live=True)
    lr_dropout: LrDropout = option(
        LrDropout.ON,
        "y: each step changes only 30 % of the weights, drawn anew; n: all of them.",
        group="Optimiser",
        live=True,
    )
    freeze: str = option("", "A mask network trains as a whole.", group="Optimiser", hidden=True)

    def as_training(self) -> TrainOptions:
        """The same as options of the training loop, of which the others keep a mask network's values."""
        given = self.model_dump()
        given.pop("restart", None)
        return TrainOptions.of(**given, model=ModelClass.XSEG)
