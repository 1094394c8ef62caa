"""A step's stage called with the types that it wants."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from understudy.recipe.records import Step
from understudy.recipe.stage_table import STAGES
from understudy.report import Report, Stop
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def call(
    workspace: Workspace, step: Step, *, more: Mapping[str, Any], report: Report, stop: Stop
) -> StageResult:  # fmt: skip
    """Run the stage of a step. more: options laid over its own, `replace` for example."""
    stage = STAGES[step.stage]
    kinds = {argument.parameter or name: argument.kind for name, argument in stage.arguments.items()}
    arguments = {name: TypeAdapter(kinds[name]).validate_python(value) for name, value in step.arguments.items()}
    if stage.options is not None:
        arguments["options"] = stage.options.of(**{**step.options, **more})
    else:
        arguments |= more
    if stage.in_workspace:
        arguments["workspace"] = workspace
    takes = inspect.signature(stage.function).parameters
    arguments |= {name: value for name, value in (("report", report), ("stop", stop)) if name in takes}
    made = stage.function(**arguments)
    return made if isinstance(made, StageResult) else _plain(made)


def _plain(made: Any) -> StageResult:
    """A stage's answer of its own kind, as a result."""
    body = {
        name: value for name, value in made.as_json().items() if name not in ("ok", "outputs", "skipped", "seconds")
    }
    return StageResult(notes=body)
