"""The guide for people who come from DeepFaceLab names only what is there, and leaves no option out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from understudy.cli.tree import TREE, Branch, build
from understudy.curation.sort_options import SortBy
from understudy.interop.reference_options import OPTIONS

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "moving-from-deepfacelab.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def command_lines() -> list[str]:
    """Every command that the guide shows: in code spans, and in blocks without their comments."""
    spans = re.findall(r"`(understudy [^`]+)`", TEXT)
    blocks = re.findall(r"^(understudy [^#\n]+)", TEXT, re.MULTILINE)
    return sorted({line.strip() for line in (*spans, *blocks)})


def parameters(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words behind it."""
    entry: Any = TREE[words[0]]
    if isinstance(entry, Branch):
        return build(words[1], entry.commands[words[1]]), words[2:]
    return build(words[0], entry), words[1:]


@pytest.mark.parametrize("line", command_lines())
def test_every_command_is_there_with_its_flags(line: str) -> None:
    command, rest = parameters(shlex.split(line)[1:])
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in rest if word.startswith("--") and word not in flags] == []


def test_flags_in_running_text_are_there() -> None:
    mentioned = {
        "understudy clear": ["--undo"],
        "understudy train": ["--pretrained"],
        "understudy model copy": ["--fresh"],
        "understudy model import": ["--backups", "--as"],
        "understudy video encode": ["--lossless"],
        "understudy faceset extract": ["--debug-images"],
    }
    for line, wanted in mentioned.items():
        command, _ = parameters(line.split()[1:])
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        for flag in wanted:
            assert flag in flags, f"{line} {flag}"
            assert flag in TEXT


def test_every_option_of_deepfacelab_is_in_the_guide() -> None:
    missing = {name for known in OPTIONS.values() for name in known if f"`{name}`" not in TEXT}
    assert missing == set()


def test_every_classic_order_is_in_the_guide() -> None:
    classic = list(SortBy)[:15]
    assert [by.value for by in classic if by.value not in TEXT] == []


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (GUIDE.parent / target).exists(), target
    for page in ("docs/guide/index.md", "README.md"):
        assert GUIDE.name in (GUIDE.parents[2] / page).read_text(encoding="utf-8")
