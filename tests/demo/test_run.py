"""The demo from nothing to its summary, as small as it can be; and the parts that decide about time and words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.demo import run
from understudy.demo.options import DemoOptions
from understudy.demo.run import INSTALL_VARIABLE, run_demo
from understudy.demo.sheet import WIDTH, Row, draw_sheet, label
from understudy.demo.summary import summary_text
from understudy.errors import Interrupted
from understudy.stages.result import StageResult

SMALL = DemoOptions(seconds=0.4, iterations=1, batch_size=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageResult]:
    folder = tmp_path_factory.mktemp("demo") / "ws"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(INSTALL_VARIABLE, "61.5")
        return folder, run_demo(folder, SMALL)


def test_the_demo_leaves_a_result_and_a_contact_sheet(done: tuple[Path, StageResult]) -> None:
    folder, result = done
    assert {path.name for path in result.outputs} == {"result.mp4", "contact_sheet.png", "before_after.jpg"}
    assert all(path.is_file() for path in result.outputs)
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width == WIDTH
        assert np.array(sheet.convert("RGB")).std() > 20
    verdict = result.as_json()["verdict"]
    assert verdict["frames"] == 2  # a quarter of ten frames, whole faces only
    assert -1 <= verdict["mouth_correlation"] <= 1
    assert json.loads((folder / ".understudy" / "demo" / "summary.json").read_text())["iteration"] == 1


def test_the_summary_says_the_correlations_and_where_the_time_went(done: tuple[Path, StageResult]) -> None:
    text = summary_text(done[1].as_json())
    for word in ("mouth opening", "yaw", "train", "merge", "installing", "1:02 min", "result.mp4", "--target-iter"):
        assert word in text


def test_a_second_run_keeps_what_is_there(done: tuple[Path, StageResult]) -> None:
    folder, first = done
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "data_dst" / "merged").glob("*.png")}
    again = run_demo(folder, SMALL.but(iterations=0))  # the first run's choice holds
    assert again.notes["iteration"] == first.notes["iteration"]
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert again.notes["verdict"] == first.notes["verdict"]


def test_stopping_says_how_to_continue(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped:
        run_demo(tmp_path / "ws", SMALL, stop=lambda: True)
    assert stopped.value.hint


def test_training_ends_when_its_time_is_up(
    done: tuple[Path, StageResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a number of iterations the clock decides, one iteration at least; the next run keeps what was reached."""
    monkeypatch.setattr(run, "LEAST_TRAINING_SECS", 0.1)
    shutil.copytree(done[0], tmp_path / "ws")
    plan = tmp_path / "ws" / ".understudy" / "demo" / "plan.json"
    plan.unlink()
    result = run_demo(tmp_path / "ws", SMALL.but(iterations=0, minutes=0.01))
    assert result.notes["iteration"] == 2
    assert result.notes["steps"]["train"] < 60
    assert json.loads(plan.read_text()) == {"target_iter": result.notes["iteration"]}


def test_every_picture_of_the_sheet_is_labelled() -> None:
    plain = np.full((120, 160, 3), 128, np.uint8)
    marked = label(plain)
    assert (marked[80:, :100] != 128).any()
    np.testing.assert_array_equal(marked[:60], plain[:60])
    one, two = (draw_sheet([Row("row", [plain] * count)], title="t") for count in (1, 2))
    assert one.shape[1] == two.shape[1] == WIDTH
