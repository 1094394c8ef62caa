"""The preview history: readable, bounded, and with the losses as people know them from the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.errors import InvalidOption
from understudy.report import Event, Note
from understudy.training.history import History
from understudy.training.previews.loss_graph import colour_of, loss_graph
from understudy.training.previews.preview_choice import chosen_faces, preview_names
from understudy.training.previews.preview_history import keep_previews, thin_out, usual_interval

BLUE, YELLOW = (0, 0, 255), (255, 255, 0)
KNOWN = {"src": ["00001_0.jpg", "00002_0.jpg"], "dst": ["00001_0.jpg", "anna/00007_0.jpg"]}


def history_of(tmp_path: Path, src: list[float], dst: list[float]) -> History:
    history = History(tmp_path / "history.jsonl")
    history.append([(n + 1, {"src": a, "dst": b}) for n, (a, b) in enumerate(zip(src, dst, strict=True))])
    return history


def rows_of(graph: np.ndarray, column: int, colour: tuple[int, int, int]) -> list[int]:
    """Heights above the bottom of the pixels of a colour in a column."""
    found = np.flatnonzero((graph[:, column] == colour).all(-1))
    return sorted(len(graph) - 1 - int(row) for row in found)


def test_losses_have_the_colours_of_the_reference() -> None:
    assert (colour_of(0, 2), colour_of(1, 2)) == ((0.0, 0.0, 1.0), (1.0, 1.0, 0.0))


def test_a_bar_reaches_from_the_least_to_the_greatest_loss_of_its_column(tmp_path: Path) -> None:
    """Full scale is twice the mean of all but the first fifth: here 2, so that a loss of 1 stands half way up."""
    history = history_of(tmp_path, [0.5, 0.7] * 100, [1.5, 1.3] * 100)
    graph = loss_graph(history, 20, iteration=200)
    assert graph.shape == (100, 20, 3)
    assert graph.dtype == np.uint8
    src, dst = rows_of(graph, 10, BLUE), rows_of(graph, 10, YELLOW)
    assert (src[0], src[-1]) == (24, 34)
    assert (dst[0], dst[-1]) == (64, 74)


def test_few_losses_fill_the_width(tmp_path: Path) -> None:
    """Three losses in 300 columns: a hundred columns each."""
    graph = loss_graph(history_of(tmp_path, [1.0, 0.8, 0.5], [1.0] * 3), 300, iteration=3)
    heights = [rows_of(graph, column, BLUE) or [0] for column in (150, 199, 200, 299)]
    assert heights == [[44], [44], [28], [28]]


def test_a_graph_without_losses_has_its_lines(tmp_path: Path) -> None:
    graph = loss_graph(History(tmp_path / "none.jsonl"), 30, iteration=0)
    lines = [row for row in range(100) if (graph[row] == 204).all()]
    assert lines == [0, 19, 39, 59, 79, 99]
    assert tuple(graph[50, 25]) == (26, 26, 26)


def test_a_loss_that_began_later_is_drawn_from_there(tmp_path: Path) -> None:
    """A history that was imported may know one loss longer than the other."""
    history = History(tmp_path / "history.jsonl")
    history.append([(1, {"src": 1.0}), (2, {"src": 1.0, "dst": 0.5})])
    graph = loss_graph(history, 400, iteration=2)
    assert not rows_of(graph, 100, YELLOW)
    assert rows_of(graph, 300, YELLOW)


def test_each_picture_stands_below_its_losses(tmp_path: Path) -> None:
    history = history_of(tmp_path, [1.0] * 5, [0.5] * 5)
    sheet = np.full((64, 320, 3), 90, np.uint8)
    keep_previews(tmp_path, {"SAEHD masked": sheet}, history, 5, limit=10)
    folder = tmp_path / "previews" / "SAEHD_masked"
    assert {path.name for path in folder.iterdir()} == {"0000005.jpg", "_last.jpg"}
    with Image.open(folder / "0000005.jpg") as picture:
        assert picture.size == (320, 164)
        assert abs(int(np.asarray(picture)[150, 160, 0]) - 90) < 4


def test_a_series_stays_within_its_limit_and_reaches_from_first_to_last(tmp_path: Path) -> None:
    """A model that trains for months must not fill the disk, and its beginning is the best part to look at."""
    sheet = np.zeros((4, 8, 3), np.uint8)
    history = history_of(tmp_path, [1.0], [1.0])
    for iteration in range(1, 60):
        keep_previews(tmp_path, {"A": sheet}, history, iteration, limit=8)
        kept = sorted(int(path.stem) for path in (tmp_path / "previews" / "A").glob("0*.jpg"))
        assert len(kept) <= 8
        assert kept[-1] == iteration
    assert kept[0] == 1
    assert max(np.diff(kept)) <= 16


def test_thinning_leaves_other_files_alone(tmp_path: Path) -> None:
    for name in ("0000001.jpg", "0000002.jpg", "0000003.jpg", "_last.jpg", "notes.txt"):
        (tmp_path / name).touch()
    thin_out(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"0000001.jpg", "0000003.jpg", "_last.jpg", "notes.txt"}


@pytest.mark.parametrize(("size", "every"), [(64, 10), (96, 10), (128, 20), (224, 30), (640, 100)])
def test_large_models_are_looked_at_less_often(size: int, every: int) -> None:
    assert usual_interval(size) == every


@pytest.mark.parametrize(
    ("wanted", "src", "dst"),
    [
        (["00001_0"], ["00001_0.jpg"], ["00001_0.jpg"]),
        (["src/00002_0.jpg"], ["00002_0.jpg"], []),
        (["dst/00007_0", "00002_0", "00002_0.jpg"], ["00002_0.jpg"], ["anna/00007_0.jpg"]),
        (["anna/00007_0.jpg"], [], ["anna/00007_0.jpg"]),
        (["dst/anna/00007_0"], [], ["anna/00007_0.jpg"]),
    ],
)
def test_faces_are_chosen_by_name(wanted: list[str], src: list[str], dst: list[str]) -> None:
    assert chosen_faces(wanted, KNOWN) == {"src": src, "dst": dst}


def test_a_face_that_is_not_there_is_refused_with_names_like_it() -> None:
    with pytest.raises(InvalidOption) as caught:
        chosen_faces(["src/0002_0"], KNOWN)
    assert "src/00002_0.jpg" in caught.value.hint


def test_a_preview_has_an_end() -> None:
    many = {"src": [f"{number:05d}.jpg" for number in range(40)], "dst": []}
    with pytest.raises(InvalidOption, match="16 faces of src"):
        chosen_faces(many["src"], many)


def test_a_chosen_face_that_went_is_named_and_the_rest_is_shown() -> None:
    """A face in the trash is no reason for a training not to begin."""
    events: list[Event] = []
    found = preview_names(["00002_0", "00099_0"], {}, KNOWN, 1, events.append)
    assert found == {"src": ["00002_0.jpg"], "dst": ["anna/00007_0.jpg"]}
    assert [event.message for event in events if isinstance(event, Note)] == [
        "No longer there to show in the previews: 00099_0."
    ]


def test_a_chosen_face_is_missed_once_while_it_trains() -> None:
    events: list[Event] = []
    shown = {"src": ["00002_0.jpg", "00099_0.jpg"], "dst": ["anna/00007_0.jpg"]}
    for _ in range(2):
        shown = preview_names(["00002_0", "00099_0"], shown, KNOWN, 1, events.append)
    assert len(events) == 1


def test_the_faces_of_before_stay_while_all_are_there() -> None:
    before = {"src": ["00002_0.jpg"], "dst": ["gone.jpg"]}
    assert preview_names([], before, KNOWN, 2) == {
        "src": ["00002_0.jpg"],
        "dst": ["00001_0.jpg", "anna/00007_0.jpg"],
    }
