"""`understudy run`: a whole pipeline from one file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.errors import UsageError
from understudy.recipe.options import RunOptions

if TYPE_CHECKING:
    from understudy.recipe.records import Recipe
    from understudy.training.options import TrainOptions


@flags(RunOptions, table="run")
def run(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A TOML file, or the name of a recipe that comes with understudy: see --list.")
    ] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="Only list the steps and what of them is done; alone, the recipes there are.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as --list with a recipe.")] = False,
    *,
    options: RunOptions,
) -> None:
    """Carry out a recipe: stages and phases of training, one after the other, unattended.

    What is done is not repeated; stopped or killed, the same command goes on. At the end, and after each phase, a
    report page says what was done.
    """
    door = context.obj
    if not recipe:
        if not list_:
            raise UsageError("Which recipe?", hint="Name a TOML file or one of: understudy run --list")
        _list_recipes(context)
        return
    from understudy.recipe.reading import find_recipe, load_recipe, shipped
    from understudy.recipe.variables import parse_settings
    from understudy.workspace import Workspace

    found = load_recipe(recipe, parse_settings(options.set_))
    _enter(context, found)
    if list_ or dry_run:
        _show_plan(context, found, options)
        return
    if found.footage or found.workspace == door.folder:
        Workspace.create(door.folder)
    name = recipe if recipe in shipped() else str(find_recipe(recipe))
    from understudy.cli.recipe_text import run_text

    shown = functools.partial(run_text, title=found.title)
    run_stage(door, "recipe.running:run_recipe", found.title, shown=shown, anew=(), recipe=name, options=options)


def _enter(context: typer.Context, recipe: Recipe) -> None:
    """Go to the workspace: the one that -w names, else the recipe's own."""
    door = context.obj
    if recipe.workspace is not None and door.folder == Path.cwd():
        door.folder = recipe.workspace


def _show_plan(context: typer.Context, recipe: Recipe, options: RunOptions) -> None:
    from understudy.cli.recipe_text import plan_text
    from understudy.recipe.planning import plan_of
    from understudy.workspace import Workspace

    door = context.obj
    is_to_be_made = (recipe.footage or recipe.workspace == door.folder) and not door.folder.exists()
    workspace = Workspace(door.folder) if is_to_be_made else door.workspace
    planned = plan_of(workspace, recipe, from_=options.from_, until=options.until)
    body: dict[str, Any] = {"ok": True, "recipe": recipe.name, "title": recipe.title, "variables": recipe.variables}
    door.finish({**body, "steps": [row.as_json() for row in planned]}, plan_text(recipe, planned))


def _list_recipes(context: typer.Context) -> None:
    from understudy.cli.recipe_text import recipes_text
    from understudy.recipe.reading import load_recipe, shipped

    found = [load_recipe(name) for name in shipped()]
    rows = [{"name": recipe.name, "title": recipe.title, "about": " ".join(recipe.about.split())} for recipe in found]
    context.obj.finish({"ok": True, "recipes": rows}, recipes_text(found))


def schedules_device(name: str, schedule: str, settings: list[str], options: TrainOptions) -> str:
    """Where a schedule trains, as `--device`."""
    from understudy.recipe.scheduling import device_of, schedule_for
    from understudy.recipe.variables import parse_settings

    return device_of(schedule_for(name, schedule, options, parse_settings(settings)))


def train_by_schedule(
    context: typer.Context, name: str, schedule: str, settings: list[str], options: TrainOptions
) -> None:
    """The phases of a recipe on one model, as a job."""
    from understudy.cli.recipe_text import run_text
    from understudy.recipe.reading import find_recipe, shipped
    from understudy.recipe.scheduling import schedule_for
    from understudy.recipe.variables import parse_settings

    found = schedule_for(name, schedule, options, parse_settings(settings))  # judged before anything heavy loads
    run_stage(
        context.obj,
        "recipe.scheduling:train_by_schedule",
        found.title,
        shown=functools.partial(run_text, title=found.title),
        anew=(),
        name=name,
        schedule=schedule if schedule in shipped() else str(find_recipe(schedule)),
        options=options,
        run=RunOptions(set_=tuple(settings)),
    )
