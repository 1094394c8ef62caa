"""What a person reads while something runs, in a terminal and in a log file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from understudy.cli.jobs import resume_line, summary
from understudy.cli.progress import BarView, PlainLines, drawing, duration_text, pace_text, progress_text
from understudy.report import Metrics, Note, Preview, Progress


@pytest.mark.parametrize(
    ("secs", "text"),
    [(0.04, "0.0 s"), (3.21, "3.2 s"), (9.99, "10 s"), (59.4, "59 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations(secs: float, text: str) -> None:
    assert duration_text(secs) == text


def test_rate_and_time_left() -> None:
    assert pace_text(Progress("A", 1, 10)) == ""
    assert pace_text(Progress("A", 20, 320, rate=60.0)) == "60.0/s, 5.0 s left"
    assert pace_text(Progress("A", 2, 12, rate=0.5)) == "2.0 s each, 20 s left"
    assert pace_text(Progress("A", 12, 12, rate=0.5)) == "2.0 s each"
    assert pace_text(Progress("A", 20, None, rate=60.0)) == "60.0/s"


def test_a_line_counts_what_the_step_counts() -> None:
    assert progress_text(Progress("Training", 7, None, "iterations")) == "Training: 7 iterations"
    assert progress_text(Progress("Merging", 3, 9), "src 0.1") == "Merging: 3 of 9 frames, src 0.1"


def test_a_log_gets_the_first_and_the_last_line_of_a_fast_step(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainLines(verbose=False)
    for done in range(1, 101):
        view(Progress("Merging", done, 100))
    view(Progress("Merging", 100, 100))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Merging: 1 of 100 frames", "Merging: 100 of 100 frames"]


def test_notes_always_show_and_debug_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        view = PlainLines(verbose=verbose)
        for event in (
            Note("Skipped.", "warning", "00003.png"),
            Note("Detail.", "debug"),
            Metrics(1, {"src": 1.0}),
        ):
            view(event)
    assert capsys.readouterr().err.splitlines() == ["00003.png: Skipped.", "00003.png: Skipped.", "Detail."]


def test_without_a_terminal_there_are_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with drawing(verbose=False) as report:
        report(Progress("Merging", 1, 2))
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "Merging: 1 of 2 frames\n"


def test_bars_show_count_rate_time_left_and_losses(tmp_path: object) -> None:
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=160, color_system=None)
    with Bars(console=console) as bars:
        view = BarView(bars, verbose=False)
        view(Progress("Training [x]", 10, 100, "iterations", rate=2.0))
        view(Metrics(10, {"src": 0.5, "dst": 0.25, "src_mask": 9.0, "seconds": 0.5}))
        view(Note("Something [odd] happened.", "warning"))
        (task,) = bars.tasks
    assert task.completed == 10
    assert task.total == 100
    assert task.fields["pace"] == "500 ms, 45 s left"
    assert task.fields["metrics"] == "src 0.5000 dst 0.2500"
    assert "Something [odd] happened." in page.getvalue(), "brackets in a message are not markup"
    assert "Training [x]" in page.getvalue()


def test_a_result_names_what_was_skipped_up_to_a_length() -> None:
    skipped = [{"item": f"{number:05d}.png", "reason": "damaged"} for number in range(1, 13)]
    text = summary("Faces of src", {"frames": 20, "faces": 8, "seconds": 2.0, "rate": 10.0, "skipped": skipped})
    lines = text.splitlines()
    assert lines[0] == "Faces of src: 20 frames, 8 faces, in 2.0 s, 10.0/s"
    assert lines[1] == "12 skipped:"
    assert lines[2] == "  00001.png: damaged"
    assert lines[-1] == "  … and 2 more; --json lists all"


def test_previews_are_named_for_those_who_want_details(capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import Path

    PlainLines(verbose=True)(Preview("faces", Path("faces.png"), 3))
    assert capsys.readouterr().err == "faces: faces.png\n"


def test_the_line_that_resumes_does_not_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second --replace would move away what the stopped run had done."""
    monkeypatch.setattr("sys.argv", ["understudy", "-w", "my shot", "faceset", "extract", "dst", "--replace"])
    assert resume_line() == "understudy -w 'my shot' faceset extract dst"
