"""The table of stages agrees with the stages and with the commands."""

from __future__ import annotations

import inspect

import pytest

from understudy.cli.reference import leaves
from understudy.recipe.stage_table import STAGES

NO_STEPS = {
    "init": "a run makes the workspace",
    "status": "only looks",
    "video probe": "only looks",
    "faceset undo": "takes back what a step did: a recipe that undoes itself says nothing",
    "model list": "only looks",
    "model show": "only looks",
    "open": "for people",
    "stop": "for people",
    "clear": "would take what the steps before it made",
    "demo": "a pipeline of its own",
    "doctor": "only looks",
    "run": "recipes do not hold each other; trainings take schedules",
    "engines list": "about the machine, not a workspace",
    "engines fetch": "about the machine, not a workspace",
    "engines add": "about the machine, not a workspace",
}
ABOUT_RUNNING = ("train-control", "model find-lr", "model best", "evaluate", "model evaluate")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_takes_what_the_table_says(name):
    stage = STAGES[name]
    takes = set(inspect.signature(stage.function).parameters) - {"report", "stop", "commands"}
    wanted = {argument.parameter or key for key, argument in stage.arguments.items()}
    wanted |= {"options"} if stage.model else set()
    wanted |= {"workspace"} if stage.in_workspace else set()
    assert wanted == takes


def test_every_command_is_a_step_or_is_none_for_a_reason():
    commands = {name for name, _ in leaves()}
    assert set(STAGES) <= commands
    assert {name for name in commands - set(STAGES) - set(NO_STEPS) if not name.startswith(ABOUT_RUNNING)} == set()
