"""One phase of a training: the options that hold in it, and the stage `train` up to the phase's end."""

from __future__ import annotations

from typing import Any

from understudy.errors import Interrupted, InvalidOption
from understudy.networks.families import config_to_plain
from understudy.recipe.records import Phase, Training
from understudy.recipe.schedules import FOR_NEW
from understudy.recipe.work_clock import WorkClock
from understudy.report import Event, Metrics, Note, Report, Stop, silent
from understudy.stages.models import list_models
from understudy.stages.result import StageResult
from understudy.stages.train import train
from understudy.training.commands import Commands
from understudy.training.options import CONFIG_OPTIONS, TrainOptions
from understudy.training.recipes import Recipe as ClassRecipe
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.model_config import choices_of, new_config
from understudy.training.saved.models import is_model, newest_iteration, read_record
from understudy.workspace import Workspace

ENDED_BY_TIME = "minutes"


def iteration_of(workspace: Workspace, name: str) -> int:
    """Where a model is; 0 for one that is still to be made."""
    folder = workspace.model(name)
    if is_model(folder):
        return newest_iteration(folder) or 0
    return next((model.iteration or 0 for model in list_models(workspace) if model.name == name), 0)


def start_of(workspace: Workspace, training: Training, phase: Phase) -> int:
    """The iteration that a phase begins at: where the model is, or 0 where the phase ends its pretraining, which
    counts from 0 again."""
    folder = workspace.model(training.model)
    if is_model(folder) and read_record(folder).options.get("pretrain"):
        values, _ = options_of(workspace, training, phase)
        if values.get("pretrain") is False:
            return 0
    return iteration_of(workspace, training.model)


def require_can_be_made(workspace: Workspace, training: Training, report: Report = silent) -> None:
    """Raise InvalidOption before anything starts, where the model that is to be made could not be."""
    if _exists(workspace, training.model) or "pretrained" in training.new:
        return
    new_config(TrainOptions.of(**new_options(training)), report)


def run_phase(
    workspace: Workspace,
    training: Training,
    phase: Phase,
    *,
    start: int,
    spent_secs: float,
    report: Report,
    stop: Stop,
    commands: Commands | None = None,
) -> StageResult:
    """Train the model from iteration `start`, or from wherever it is by now, to the end of the phase.

    spent_secs: that earlier runs have worked at this phase. `ended` of the notes says what ended it: target, plateau
    or minutes. Raises what `train` raises; Interrupted only when it was stopped before its end.
    """
    for difference in unlike(workspace, training):
        report(Note(f"{training.model} is there already and stays what it is: {difference}.", "warning"))
    values, unknown = options_of(workspace, training, phase)
    if unknown:
        report(Note(f"{training.model} has no choice of {', '.join(unknown)}: {phase.name} goes without.", "warning"))
        if set(unknown) >= set(phase.options) and phase.options:
            report(Note(f"{phase.name} would change nothing for this model, and is left out.", "warning"))
            return StageResult(notes={"model": training.model, "iteration": start, "ended": "left out"})
    end = phase.end
    if values.get("lr_schedule", "constant") != "constant" and "lr_from" not in phase.options:
        values["lr_from"] = start  # the rate falls from the phase's beginning to its end
    values["target_iter"] = start + end.iterations if end.iterations else 0
    values["plateau"] = end.plateau
    countdown = Countdown(end.minutes * 60 - spent_secs if end.minutes else float("inf"), report)
    before = max(start, iteration_of(workspace, training.model))
    options = TrainOptions.of(**values)
    if countdown.secs <= 0 and before > start:
        return _by_time(training.model, before)
    try:
        return train(
            workspace,
            training.model,
            options,
            report=countdown,
            stop=lambda: stop() or countdown.is_over,
            commands=commands,
        )
    except Interrupted as ended:
        if stop() or not countdown.is_over:
            raise
        return _by_time(training.model, int(ended.context.get("iteration", before)))


def unlike(workspace: Workspace, training: Training) -> list[str]:
    """What the recipe says of a new model and the model that is there is not."""
    folder, asked = workspace.model(training.model), new_options(training)
    if not is_model(folder):
        return []
    record = read_record(folder)
    wanted = TrainOptions.of(**asked)
    if "model" in asked and wanted.model != record.model_class.lower():
        return [f"a {record.model_class} model, not {wanted.model}"]
    try:
        config = config_to_plain(new_config(wanted.but(model=record.model_class.lower())))
    except InvalidOption as error:
        return [error.message.removesuffix(".")]
    fields = {"size" if name == "resolution" else name: name for name in CONFIG_OPTIONS if name in asked}
    has = {name: record.config.get(field) for field, name in fields.items()}
    return [f"{name} {has[name]}, not {config[field]}" for field, name in fields.items() if has[name] != config[field]]


class Countdown:
    """A report that counts seconds down from the first iteration on: loading faces and pausing is no training."""

    def __init__(self, secs: float, report: Report) -> None:
        self.secs = secs
        self._report = report
        self._clock: WorkClock | None = None

    @property
    def is_over(self) -> bool:
        return self._clock is not None and self._clock.seconds >= self.secs

    def __call__(self, event: Event) -> None:
        if self._clock is not None:
            self._clock.hear(event)
        elif isinstance(event, Metrics):
            self._clock = WorkClock()
        self._report(event)


def options_of(workspace: Workspace, training: Training, phase: Phase) -> tuple[dict[str, Any], list[str]]:
    """The options of a phase, and the names of those that this model leaves no choice of.

    What other phases name and this one does not is as the class of the model begins with it. What no phase names stays
    as the model's last run had it. Options of a new model are only there while there is none.
    """
    exists = _exists(workspace, training.model)
    new = {} if exists else new_options(training)
    typed = {name: value for name, value in training.typed.items() if exists or name not in new}
    given = {**training.common, **phase.options, **typed}
    recipe, fixed = _kind(workspace, training)
    others = {name: _usual(recipe, name) for name in training.named if name not in given}
    values = {**others, **given}
    refused = [
        name
        for name, value in values.items()
        if name in fixed
        and name not in typed
        and TrainOptions.of(**{name: value}) != TrainOptions.of(**{name: fixed[name]})
    ]
    told = [name for name in refused if name in phase.options or name in training.common]
    return {**new, **{name: value for name, value in values.items() if name not in refused}}, told


def new_options(training: Training) -> dict[str, Any]:
    """The options of a model that is to be made. Of another class than the recipe's, what that has no choice of is left
    out."""
    typed = {name: value for name, value in training.typed.items() if name in FOR_NEW}
    new = {**training.new, **typed}
    if typed.get("model", training.new.get("model")) == training.new.get("model"):
        return new
    has = choices_of(recipe_for(new["model"]).config)
    return {name: value for name, value in new.items() if name in typed or name not in CONFIG_OPTIONS or name in has}


def _kind(workspace: Workspace, training: Training) -> tuple[ClassRecipe, dict[str, Any]]:
    """The class of the model, and the options that it leaves no choice of."""
    folder = workspace.model(training.model)
    if is_model(folder):
        record = read_record(folder)
        recipe, stored = recipe_for(record.model_class), record.config
        return recipe, dict(recipe.fixed(config_from_plain(recipe, stored)))
    flat = next((model for model in list_models(workspace) if model.name == training.model and model.supported), None)
    if flat is not None and flat.model_class.lower() in ("saehd", "amp", "quick96"):
        recipe = recipe_for(flat.model_class)
        return recipe, {} if flat.model_class == "SAEHD" else dict(recipe.fixed(recipe.config()))
    options = TrainOptions.of(**new_options(training))
    recipe = recipe_for(options.model)
    if options.pretrained is not None:
        return recipe, {} if recipe.model_class == "SAEHD" else dict(recipe.fixed(recipe.config()))
    config = new_config(options)
    return recipe, dict(recipe.fixed(config_from_plain(recipe, config_to_plain(config))))


def _usual(recipe: ClassRecipe, name: str) -> Any:
    return recipe.defaults.get(name, getattr(TrainOptions(), name))


def _exists(workspace: Workspace, name: str) -> bool:
    return is_model(workspace.model(name)) or any(model.name == name for model in list_models(workspace))


def _by_time(model: str, iteration: int) -> StageResult:
    return StageResult(notes={"model": model, "iteration": iteration, "ended": ENDED_BY_TIME})
