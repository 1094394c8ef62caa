"""The event log: what is written can be read, and neither half a line nor a newer program disturbs a reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.jobs.events import EventLog, EventTail, decode, encode, last_event
from understudy.report import Event, Metrics, Note, Preview, Progress

EVENTS: list[Event] = [
    Progress("Merging", 3, 10, "frames", 12.5),
    Progress("Counting", 3, None),
    Metrics(40, {"src": 0.5, "dst": 0.25}),
    Preview("faces", Path("/somewhere/faces.png"), 40),
    Note("A frame was skipped.", "warning", "00003.png"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert decode(json.loads(json.dumps(encode(event)))) == event


def test_lines_of_a_newer_version_and_unknown_kinds_are_passed_over() -> None:
    good = encode(EVENTS[0])
    assert decode({**good, "v": 2}) is None
    assert decode({**good, "type": "fireworks"}) is None
    assert decode({**good, "colour": "red"}) is None


def test_a_tail_gives_whole_lines_only_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.read() == []
    line = (json.dumps(encode(EVENTS[4])) + "\n").encode()
    path.write_bytes(line + line[:10])
    assert tail.read() == [EVENTS[4]]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(line[10:] + b"damaged\n" + line)
    assert tail.read() == [EVENTS[4], EVENTS[4]]


def test_fast_progress_is_thinned_but_its_end_is_not_lost(tmp_path: Path) -> None:
    """200,000 frames must not make 200,000 lines."""
    path = tmp_path / "events.jsonl"
    log = EventLog(path, every_secs=60)
    for done in range(1000):
        log(Progress("Merging", done, None))
        log(Metrics(done, {"loss": 1.0}))
    log.close()
    events = EventTail(path).read()
    assert events == [
        Progress("Merging", 0, None),
        Metrics(0, {"loss": 1.0}),
        Progress("Merging", 999, None),
        Metrics(999, {"loss": 1.0}),
    ]


def test_the_end_of_a_step_is_not_held_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, every_secs=60)
    for event in (Progress("A", 1, 3), Progress("A", 2, 3), Progress("A", 3, 3), Progress("B", 1, 2)):
        log(event)
    assert EventTail(path).read() == [Progress("A", 1, 3), Progress("A", 3, 3), Progress("B", 1, 2)]
    log.close()


def test_a_note_comes_after_the_progress_that_was_reported_before_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, every_secs=60)
    for event in (Progress("A", 1, 3), Progress("A", 2, 3), Note("here")):
        log(event)
    log.close()
    assert EventTail(path).read() == [Progress("A", 1, 3), Progress("A", 2, 3), Note("here")]


def test_the_newest_progress_is_found_from_the_end_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, every_secs=0)
    for done in range(3000):
        log(Progress("Merging", done, 3000))
    log(Note("done"))
    log.close()
    assert path.stat().st_size > 65536
    assert last_event(path, Progress) == Progress("Merging", 2999, 3000)
    assert last_event(tmp_path / "none.jsonl", Progress) is None


def test_what_is_written_last_is_what_happened_last(tmp_path: Path) -> None:
    """A step that is held back for its pace comes before another that begins after it."""
    log = EventLog(tmp_path / "events.jsonl", every_secs=60)
    for done in (1, 2):
        log(Progress("Training", done, None))
    log(Progress("Paused", 2, None))
    log(Note("Saved."))
    log.close()
    found = last_event(tmp_path / "events.jsonl", Progress)
    assert found is not None
    assert found.step == "Paused"


def test_what_is_held_back_keeps_its_order(tmp_path: Path) -> None:
    """Two steps by turns within one moment: the one that was reported last is the one that a listener reads last."""
    log = EventLog(tmp_path / "events.jsonl", every_secs=60)
    for _ in range(2):
        log(Progress("Training", 1, None))
        log(Progress("Paused", 1, None))
    log(Progress("Training", 2, None))
    log.close()
    assert last_event(tmp_path / "events.jsonl", Progress) == Progress("Training", 2, None)
