"""Only the training of a recipe, on one model: `understudy train NAME --schedule classic`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.errors import InvalidOption, UsageError
from understudy.recipe.options import RunOptions
from understudy.recipe.reading import find_recipe, load_recipe
from understudy.recipe.records import Recipe
from understudy.recipe.running import carry_out
from understudy.recipe.schedules import OF_THE_END, declared_variables
from understudy.recipe.variables import parse_settings
from understudy.report import Report, Stop, never, silent
from understudy.stages.result import StageResult
from understudy.training.commands import Commands
from understudy.training.options import TrainOptions, flag_of
from understudy.workspace import Workspace


def train_by_schedule(
    workspace: Workspace,
    name: str,
    schedule: str,
    options: TrainOptions = TrainOptions(),
    run: RunOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """Train the model `name`, new or not, through the phases of a schedule, from where they are.

    schedule: the name of a recipe of the package, or the path of a file. options: those given hold in every phase.
    Its journal is that of the recipe `train-NAME`. Raises what `run_recipe` raises.
    """
    run = run or RunOptions()
    recipe = schedule_for(name, schedule, options, parse_settings(run.set_))
    result = carry_out(workspace, recipe, run, report=report, stop=stop, commands=commands)
    from understudy.stages.train_team import part

    part(device_of(recipe), timeout_mins=options.team_timeout)
    return result


def device_of(recipe: Recipe) -> str:
    """The device that a schedule's phases are to run on, as `--device`: what was typed, else what it says of all."""
    training = recipe.steps[0].training
    assert training is not None
    return str({**training.common, **training.typed}.get("device", "auto"))


def schedule_for(
    name: str, schedule: str | Path, options: TrainOptions, settings: Mapping[str, Any] | None = None
) -> Recipe:
    """The recipe that trains `name` by a schedule and does nothing else.

    Raises InvalidOption for options that the schedule decides, UsageError for a recipe that trains nothing.
    """
    typed = options.model_dump(mode="json")
    for option in OF_THE_END:
        if option in typed:
            raise InvalidOption(
                f"{flag_of(option)} does not go together with --schedule: its phases say when they end.",
                hint="Leave it out, or change the ends in a copy of the schedule.",
            )
    path = find_recipe(schedule)
    named = {"model": name} if "model" in declared_variables(path) else {}
    recipe = load_recipe(schedule, {**named, **(settings or {})}, model=name)
    step = next((step for step in recipe.steps if step.training), None)
    if step is None or step.training is None:
        raise UsageError(f"{path.name} trains nothing.", hint="A schedule has [[train.phase]]: docs/guide/recipes.md")
    training = replace(step.training, model=name, typed=typed)
    step = replace(step, id=f"train-{name}", training=training, arguments={"name": name}, on=True)
    return replace(recipe, name=f"train-{name}", title=f"{name}: {recipe.title}", steps=(step,), footage={})
