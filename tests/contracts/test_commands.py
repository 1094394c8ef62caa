"""The tree of commands and what it names must not drift apart."""

from __future__ import annotations

import inspect

import pytest

from understudy.cli.reference import leaves, pages
from understudy.cli.tree import Leaf, load
from understudy.options import meta_of

LEAVES = dict(leaves())


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_listed_exists_and_is_described_as_listed(name: str) -> None:
    leaf: Leaf = LEAVES[name]
    described = inspect.getdoc(load(leaf)) or ""
    assert described.splitlines()[0] == leaf.help


def test_the_commands_of_the_contract_are_there() -> None:
    """Scripts rely on these names; adding is fine, renaming is not."""
    promised = {
        "init", "status", "clear", "demo", "doctor", "open", "stop", "video probe", "video frames", "video encode",
        "faceset extract", "faceset info", "faceset sort", "faceset undo", "faceset pack", "faceset unpack",
        "faceset resize", "faceset restore-names", "faceset save-meta", "faceset restore-meta",
        "faceset draw-landmarks",
        "train", "model list", "merge", "engines list", "engines fetch",
        "engines add",
    }  # fmt: skip
    assert promised <= set(LEAVES)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_generated_pages_are_not_stale(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    assert path.exists(), f"{path.name} is missing; write it with: python run.py generate"
    assert path.read_text(encoding="utf-8") == pages()[path], f"{path.name} is stale: python run.py generate"


def test_no_schema_is_left_behind() -> None:
    """A renamed options model must not leave its old schema."""
    wanted = set(pages())
    folder = next(path for path in wanted if path.suffix == ".json").parent
    assert {path for path in folder.iterdir() if path.suffix == ".json"} <= wanted


@pytest.mark.parametrize("name", [name for name, leaf in LEAVES.items() if hasattr(load(leaf), "options_model")])
def test_every_option_says_what_it_does_and_where_it_belongs(name: str) -> None:
    command = load(LEAVES[name])
    for option, field in command.options_model.model_fields.items():
        assert field.description, option
        assert meta_of(field).get("group"), option
