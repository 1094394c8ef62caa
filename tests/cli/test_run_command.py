"""`understudy run` and `train --schedule` from a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import understudy

from small_faces import small_model, workspace_with_faces
from understudy.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shot(tmp_path: Path) -> Workspace:
    workspace = workspace_with_faces(tmp_path / "shot", 3)
    small_model(workspace)
    return workspace


def test_the_recipes_of_the_package_are_listed_with_what_can_be_set():
    done = understudy("--json", "run", "--list")
    assert [recipe["name"] for recipe in done.body["recipes"]] == ["classic", "default"]
    assert "gan=true" in understudy("run", "--list").out


def test_a_plan_changes_nothing(shot):
    before = sorted(shot.root.rglob("*"))
    done = understudy("--json", "-w", shot.root, "run", "classic", "--list", "--set", "gan=false")
    steps = {step["id"]: step["state"] for step in done.body["steps"]}
    assert steps["train-hello/11-gan"] == "off"
    assert steps["train-hello/2-warp"] == "left"
    assert sorted(shot.root.rglob("*")) == before


def test_the_example_is_sound_and_its_plan_makes_no_folder(tmp_path):
    example = ROOT / "examples" / "recipes" / "shot.toml"
    copy = tmp_path / "shot.toml"
    copy.write_bytes(example.read_bytes())
    done = understudy("--json", "run", copy, "--dry-run", cwd=tmp_path)
    assert done.code == 0
    assert len(done.body["steps"]) >= 12
    assert list(tmp_path.iterdir()) == [copy]


def test_a_faulty_recipe_is_wrong_usage_and_starts_no_job(shot, tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text('[[step]]\nrun = "faceset sort"\nside = "left"\nbyy = 3\n')
    done = understudy("--json", "-w", shot.root, "run", path)
    assert done.code == 2
    assert done.body["error"]["code"] == "invalid-option"
    assert "line 3" in done.body["error"]["message"]
    assert "line 4" in done.body["error"]["message"]
    assert not (shot.private / "jobs").exists()


def test_a_schedule_trains_as_a_job_and_its_page_is_named(shot, tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        '[train]\nhold_out = 0\nprecision = "fp32"\n[[train.phase]]\nname = "a"\nend = 1\n'
        '[[train.phase]]\nname = "b"\nrandom_warp = false\nend = 1\n[variables]\nmodel = "x"\n'
    )
    done = understudy("--json", "-w", shot.root, "train", "small", "--schedule", path, "--batch-size", "1")
    assert done.code == 0, done.err
    assert [step["state"] for step in done.body["steps"]] == ["done", "done"]
    assert done.body["outputs"][0] == str(shot.root / "report-train-small.html")
    again = understudy("-w", shot.root, "train", "small", "--schedule", path, "--batch-size", "1")
    assert "2 of 2 steps done" in again.out
