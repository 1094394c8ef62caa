"""A set of files appears in a folder together, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import WorkspaceError
from understudy.stages.publishing import PLAN, PREFIX, finish_publishing, publishing_set


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def publish(target: Path, trash: Path, **files: str) -> None:
    with publishing_set(target, "x", last="last", trash=trash, replacing=["last", "old"]) as made:
        write(made, **files)


def test_new_files_come_and_old_ones_go_to_the_trash(tmp_path: Path) -> None:
    target, trash = tmp_path / "target", tmp_path / "trash"
    write(target, last="old last", old="old", other="stays")
    publish(target, trash, last="new last", new="new")
    assert read(target) == {"last": "new last", "new": "new", "other": "stays"}
    assert read(trash) == {"last": "old last", "old": "old"}
    assert not [path for path in target.iterdir() if path.is_dir()]
    assert not finish_publishing(target, "x")


def test_an_error_while_they_are_made_leaves_everything(tmp_path: Path) -> None:
    target, trash = tmp_path / "target", tmp_path / "trash"
    write(target, last="old last")
    with (  # noqa: PT012 - what is tested is how the block ends
        pytest.raises(ZeroDivisionError),
        publishing_set(target, "x", last="last", trash=trash, replacing=["last"]) as made,
    ):
        write(made, last="new last")
        raise ZeroDivisionError
    assert read(target) == {"last": "old last"}
    assert [path.name for path in target.iterdir()] == ["last"]
    assert not trash.exists()


def test_what_was_cut_off_is_finished(tmp_path: Path) -> None:
    """As a process leaves it that was killed between the two: new files ready, one in place, old ones partly gone."""
    target, trash = tmp_path / "target", tmp_path / "trash"
    write(target, new="new", old="old", last="old last")
    ready = target / f"{PREFIX}x"
    write(ready, last="new last", second="second")
    text = f'{{"schema": "understudy-publishing/1", "last": "last", "replacing": ["last", "old"], "trash": "{trash}"}}'
    (ready / PLAN).write_text(text.replace("\\", "\\\\"))
    assert finish_publishing(target, "x")
    assert read(target) == {"last": "new last", "new": "new", "second": "second"}
    assert read(trash) == {"last": "old last", "old": "old"}
    assert not ready.exists()


def test_a_plan_that_makes_no_sense_moves_nothing(tmp_path: Path) -> None:
    for plan in ("", "{}", '{"schema": "understudy-publishing/1", "last": "../x", "replacing": [], "trash": "t"}'):
        ready = tmp_path / f"{PREFIX}x"
        write(ready, new="new", **{PLAN: plan})
        with pytest.raises(WorkspaceError, match="plan"):
            finish_publishing(tmp_path, "x")
        assert read(ready) == {"new": "new", PLAN: plan}
