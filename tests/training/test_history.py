"""The loss history: exact, cut back to the checkpoint, and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from understudy.training.history import History, draw_curve


def entries(first: int, last: int) -> list[tuple[int, dict[str, float]]]:
    return [(i, {"src": 1 / i, "dst": 2 / i}) for i in range(first, last + 1)]


def test_a_history_cut_back_and_continued_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = History.open(tmp_path / "whole.jsonl", until=0)
    whole.append(entries(1, 30))

    broken = History.open(tmp_path / "broken.jsonl", until=0)
    broken.append(entries(1, 17))
    with broken.path.open("ab") as handle:
        handle.write(b'{"iteration": 18, "src": 0.')  # killed here
    resumed = History.open(broken.path, until=10)
    assert len(resumed) == 10
    resumed.append(entries(11, 30))

    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.losses == whole.losses


def test_reading_leaves_the_file_of_a_running_training_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    History.open(path, until=0).append(entries(1, 5))
    with path.open("ab") as handle:
        handle.write(b'{"iteration": 6')
    before = path.read_bytes()
    assert len(History.read(path)) == 5
    assert path.read_bytes() == before


def test_losses_keep_float32_exactly(tmp_path: Path) -> None:
    value = float(np.float32(0.1234567))
    history = History.open(tmp_path / "history.jsonl", until=0)
    history.append([(1, {"src": value})])
    assert History.read(history.path).losses["src"][0] == value


def test_the_curve_is_a_picture_with_both_losses(tmp_path: Path) -> None:
    history = History.open(tmp_path / "history.jsonl", until=0)
    history.append(entries(1, 500))
    history.append([(501, {"src": 0.1, "dst": 0.1, "gan": 0.7})])
    with Image.open(draw_curve(history, tmp_path / "curve.png", width=600, height=300)) as picture:
        assert picture.size == (600, 300)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20


def test_an_empty_history_draws_an_empty_curve(tmp_path: Path) -> None:
    assert draw_curve(History(tmp_path / "history.jsonl"), tmp_path / "curve.png").is_file()
