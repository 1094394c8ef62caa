"""The guide on training explains every option there is, once, and what its pages point to exists."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from understudy.cli.tree import TREE, Leaf, build

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
HEADER = re.compile(r"\| option \|[^\n]*\| what it costs \|")
"""How a table begins whose rows explain options."""


def option_rows() -> list[tuple[list[str], str]]:
    """The flags that each row of those tables explains, as --help names them, and what it says they do."""
    rows = []
    inside = False
    for line in (GUIDE / "training.md").read_text(encoding="utf-8").splitlines():
        header = bool(HEADER.fullmatch(line))
        inside = header or (inside and line.startswith("|"))
        if inside and not header and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            flags = [re.sub(r"^--no-", "--", flag) for flag in re.findall(r"--[a-z][a-z-]*", cells[0])]
            rows.append((flags, cells[-2]))
    return rows


def offered() -> set[str]:
    """What `understudy train --help` lists."""
    leaf = TREE["train"]
    assert isinstance(leaf, Leaf)
    return {item.opts[0] for item in build("train", leaf).params if item.param_type_name == "option"} - {"--help"}


def test_every_option_is_explained_once() -> None:
    """A person who meets a flag in --help finds one place that says what it buys and costs; no flag is gone."""
    explained = Counter(flag for flags, _ in option_rows() for flag in flags)
    assert set(explained) == offered()
    assert [flag for flag, times in explained.items() if times > 1] == []


def test_no_option_is_only_named() -> None:
    """A row without a word on what the option does explains nothing."""
    assert [flags for flags, told in option_rows() if not flags or len(told) < 10] == []


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings that a page of the guide points to are there."""
    text = page.read_text(encoding="utf-8")
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        file = page if not name else (page.parent / name).resolve()
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
