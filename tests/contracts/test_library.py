"""`import understudy` is a door with everything on it that the command line can do."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import understudy
from understudy.cli.library_page import definition
from understudy.cli.reference import leaves
from understudy.options import Options

SOURCE = Path(understudy.__file__).parent


@pytest.mark.parametrize("name", understudy.__all__)
def test_every_name_is_defined_where_the_door_says_and_describes_itself(name: str) -> None:
    node = definition(name)
    assert len(ast.get_docstring(node) or "") > 20


def test_every_name_opens() -> None:
    for name in understudy.__all__:
        found = getattr(understudy, name)
        assert found.__name__ == name
        assert found.__module__ == f"understudy.{understudy.HOMES[name]}"
    with pytest.raises(AttributeError, match="extrakt"):
        understudy.extrakt  # noqa: B018


def test_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse(Path(understudy.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: imported.module
        for imported in block.body
        if isinstance(imported, ast.ImportFrom)
        for alias in imported.names
    }
    assert seen == {name: f"understudy.{home}" for name, home in understudy.HOMES.items()}
    assert sorted(understudy.HOMES) == understudy.__all__


def test_every_stage_that_a_command_runs_is_at_the_door() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (SOURCE / "cli").glob("*.py")]
    stages = {name for text in texts for name in re.findall(r'"stages\.\w+:(\w+)"', text)}
    assert len(stages) > 20
    assert stages <= set(understudy.__all__)


def test_the_options_of_every_stage_at_the_door_are_at_the_door_too() -> None:
    stages = [name for name, home in understudy.HOMES.items() if home.startswith("stages.")]
    for name in stages:
        stage = getattr(understudy, name)
        hints = inspect.signature(stage).parameters if inspect.isfunction(stage) else {}
        for wanted in re.findall(r"\b\w+Options\b", " ".join(str(item.annotation) for item in hints.values())):
            assert wanted in understudy.__all__, (name, wanted)
            assert issubclass(getattr(understudy, wanted), Options)


def test_options_of_commands_at_the_door_are_those_of_the_library() -> None:
    """One declaration serves both, so what is typed and what is called cannot drift apart."""
    for full_name, leaf in leaves():
        module, _, name = leaf.target.partition(":")
        command = getattr(importlib.import_module(f"understudy.cli.{module}"), name)
        model = getattr(command, "options_model", None)
        if model is not None and model.__name__ in understudy.__all__:
            assert getattr(understudy, model.__name__) is model, full_name
