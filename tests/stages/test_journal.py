"""What a stage remembers of a run: never more than is safe on disk, and all of it after an ordinary end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from understudy import files
from understudy.errors import DiskFull, Interrupted
from understudy.records import Skipped
from understudy.stages import journal as journals
from understudy.stages.extract_journal import Done, ExtractJournal
from understudy.stages.merge_journal import MergeJournal, Rendered

EXTRACTED = """\
{"schema": "understudy-extract/1", "footage": "data_src.mp4 123456", "settings": {"face_type": "whole_face"}}
{"frame": 0, "name": "00001.png", "faces": 1}
{"frame": 1, "name": "größe.png", "faces": 0}
{"skipped": "00003.png", "reason": "it is broken"}
{"end": true}
"""
MERGED = """\
{"schema": "understudy-merge/1"}
{"frame": 0, "name": "00001.png", "key": "5f1c", "faces": 1, "bytes": [812345, 4321]}
{"frame": 1, "name": "00002.png", "key": "77a0", "faces": 1, "bytes": [0, 0], "problem": "no eyes"}
{"skipped": "00003.png", "reason": "it is broken"}
{"frame": 3, "name": "00004.png", "ke"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "journal.jsonl"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is a batch of its own."""
    monkeypatch.setattr(journals, "BATCH_SECS", 0.0)


def empty(path: Path) -> ExtractJournal:
    return ExtractJournal(path, "frames", {})


def known(path: Path) -> list[str]:
    read = ExtractJournal.read(path)
    assert read is not None
    return list(read.done)


def test_journals_of_earlier_versions_are_read(path: Path) -> None:
    files.write_text(path, EXTRACTED)
    extracted = ExtractJournal.read(path)
    assert extracted is not None
    assert extracted.done == {"00001.png": Done(0, 1), "größe.png": Done(1, 0)}
    assert (extracted.footage, extracted.settings) == ("data_src.mp4 123456", {"face_type": "whole_face"})
    assert (extracted.skipped, extracted.is_complete) == ([Skipped("00003.png", "it is broken")], True)
    files.write_text(path, MERGED)
    merged = MergeJournal.read(path)
    assert list(merged.rendered.values()) == [
        Rendered(0, "00001.png", "5f1c", 1, (812345, 4321)),
        Rendered(1, "00002.png", "77a0", 1, (0, 0), "no eyes"),
    ]
    assert (merged.skipped, merged.is_complete) == ([Skipped("00003.png", "it is broken")], False)
    assert (ExtractJournal.read(path), merged.next_index) == (None, 2)


@pytest.mark.parametrize("name", ["00001.png", "größe.png", "two\u2028lines.png", "not text \udcff.png"])
def test_any_name_comes_back(path: Path, name: str) -> None:
    with empty(path) as journal:
        journal.add(name, Done(0, 2), [])
        journal.skip([Skipped(name, "why")] * 2)
        journal.finish()
    read = ExtractJournal.read(path)
    assert read == journal
    assert (read.done, read.skipped) == ({name: Done(0, 2)}, [Skipped(name, "why")])


@pytest.mark.usefixtures("at_once")
def test_a_line_waits_for_the_files_it_tells_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    may_go = threading.Event()

    def slow_disk(paths: Sequence[Path]) -> None:
        asked.extend(paths)
        assert may_go.wait(10)

    monkeypatch.setattr(files, "sync_files", slow_disk)
    with empty(path) as journal:
        for index in range(3):
            journal.add(f"{index}.png", Done(index, 1), [path.with_name(f"{index}.jpg")])
        assert known(path) == [], "a slow disk holds up nobody, and nothing is promised before it has answered"
        may_go.set()
    assert known(path) == ["0.png", "1.png", "2.png"]
    assert [file.name for file in asked] == ["0.jpg", "1.jpg", "2.jpg"]


def interrupted(journal: ExtractJournal) -> None:
    with journal:
        journal.add("a.png", Done(0, 1), [journal.path.with_name("deleted since.jpg")])
        raise Interrupted("stopped")


def test_an_interrupted_run_keeps_everything(path: Path) -> None:
    with pytest.raises(Interrupted):
        interrupted(empty(path))
    assert known(path) == ["a.png"]


def full_disk(paths: Sequence[Path]) -> None:
    if paths:
        raise DiskFull("no room")


def test_what_ended_the_run_is_said_and_not_what_the_disk_says_then(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_files", full_disk)
    with pytest.raises(Interrupted):
        interrupted(empty(path))
    assert known(path) == []


@pytest.mark.usefixtures("at_once")
def test_what_did_not_reach_the_disk_is_an_error_and_is_not_promised(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_files", full_disk)

    def run(journal: ExtractJournal) -> None:
        with journal:
            journal.add("0.png", Done(0, 0), [])
            while not known(path):
                time.sleep(0.01)
            for index in range(1, 3):
                journal.add(f"{index}.png", Done(index, 1), [path.with_name(f"{index}.jpg")])

    with pytest.raises(DiskFull):
        run(empty(path))
    assert known(path) == ["0.png"]
