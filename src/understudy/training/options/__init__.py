"""Training options, one module for each group. What cannot change once a model exists is in the model's config instead
(`training/saved/models.py`)."""

from __future__ import annotations

from typing import Any

from understudy.training.options.course import CourseOptions
from understudy.training.options.evaluation import EvaluationOptions
from understudy.training.options.given import GivenOptions
from understudy.training.options.losses import LossOptions
from understudy.training.options.machine import MachineOptions
from understudy.training.options.model import CONFIG_OPTIONS, ModelClass, ModelOptions
from understudy.training.options.optimiser import LrDropout, OptimiserOptions
from understudy.training.options.pretraining import OVERRIDDEN, PretrainingOptions
from understudy.training.options.samples import SampleOptions
from understudy.training.options.saving import SavingOptions

__all__ = ["CONFIG_OPTIONS", "OVERRIDDEN", "LrDropout", "ModelClass", "TrainOptions", "flag_of"]


def flag_of(name: str) -> str:
    """An option as it is typed: `--gan-power`."""
    return f"--{name.replace('_', '-')}"


class TrainOptions(
    GivenOptions,
    MachineOptions,
    SavingOptions,
    PretrainingOptions,
    SampleOptions,
    OptimiserOptions,
    LossOptions,
    EvaluationOptions,
    CourseOptions,
    ModelOptions,
):  # the groups of the last base come first
    """How a model is trained. Which options a class of model has, and its own defaults, is in `training/recipes.py`."""

    @property
    def in_force(self) -> TrainOptions:
        """The options that a run goes by: while pretraining, some have other values than are stored for afterwards."""
        if self.model is ModelClass.XSEG:  # a mask network's pretraining is an objective and faces of its own
            return self
        known = {name: value for name, value in OVERRIDDEN.items() if name in type(self).model_fields}
        return self.but(**known) if self.pretrain else self

    def stored(self) -> dict[str, Any]:
        """What a model keeps of the options of a run, and falls back on in the next, as JSON values."""
        return self.model_dump(mode="json", exclude={"model", "pretrained", *CONFIG_OPTIONS})
