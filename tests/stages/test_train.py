"""Training as a user meets it: it resumes exactly, loses nothing, refuses clearly."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import disks
from small_faces import SMALL, small_model, workspace_with_faces
from understudy.errors import (
    Busy,
    CorruptCheckpoint,
    DiskFull,
    EmptyFaceset,
    Interrupted,
    InvalidOption,
    TrainingDiverged,
    UsageError,
)
from understudy.networks.quick96 import Quick96
from understudy.records import PrecisionChoice, Side
from understudy.report import Event, Metrics, Note, Preview, Progress
from understudy.stages.models import list_models
from understudy.stages.train import train
from understudy.training.faces.hold_out import held_out_split
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.manifests import MANIFEST, WEIGHTS
from understudy.training.saved.models import read_record, write_record
from understudy.training.saved.new import adopt_model
from understudy.training.saved.predictor import load_predictor
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot")


def stop_at(workspace: Workspace, iteration: int, options: TrainOptions = FAST) -> Interrupted:
    """Train the small model up to `iteration` and stop it there as a user would; what that raised."""
    at = 0

    def watch(event: Event) -> None:
        nonlocal at
        if isinstance(event, Metrics):
            at = event.iteration

    with pytest.raises(Interrupted) as caught:
        train(workspace, "small", options, report=watch, stop=lambda: at >= iteration)
    return caught.value


def generation(workspace: Workspace, iteration: int) -> Path:
    return workspace.model("small") / "checkpoints" / f"{iteration:09d}"


def assert_same_training(one: Path, other: Path, iteration: int) -> None:
    """Weights, optimiser, sampler, options and history position are equal to the last bit, and so is the history."""
    name = f"checkpoints/{iteration:09d}"
    first, second = (json.loads((folder / name / MANIFEST).read_text()) for folder in (one, other))
    assert set(first["files"]) == {"weights.safetensors", "optimiser.safetensors", "state.json"}
    assert first == second
    assert (one / "history.jsonl").read_bytes() == (other / "history.jsonl").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model trained to iteration 8 in one go."""
    workspace = workspace_with_faces(tmp_path_factory.mktemp("uninterrupted") / "shot")
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=8))
    return folder


def test_a_new_model_trains_and_leaves_everything_a_user_looks_for(workspace: Workspace) -> None:
    events: list[Event] = []
    folder = small_model(workspace)
    result = train(workspace, "small", FAST.but(target_iter=4, preview_every=2), report=events.append)
    assert result.notes["iteration"] == 4
    assert result.faces == 10
    assert result.outputs == [folder]
    assert set(result.notes["losses"]) == {"src", "dst"}
    assert [event.iteration for event in events if isinstance(event, Metrics)] == [1, 2, 3, 4]
    metrics = next(event for event in events if isinstance(event, Metrics))
    assert {"src", "dst", "seconds", "data_share"} <= set(metrics.values)
    last = [event for event in events if isinstance(event, Progress) and event.step == "Training"][-1]
    assert (last.done, last.total, last.unit) == (4, 4, "iterations")
    shown = {event.name: event.path for event in events if isinstance(event, Preview)}
    assert set(shown) == {"Quick96", "Quick96 masked", "Loss"}
    with Image.open(shown["Quick96"]) as picture:
        assert picture.size == (5 * SMALL.size, 4 * SMALL.size)
    assert len((folder / "history.jsonl").read_text().splitlines()) == 4


def test_training_learns(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=110, batch_size=4))
    losses = [json.loads(line)["src"] for line in (folder / "history.jsonl").read_text().splitlines()]
    assert np.mean(losses[-10:]) < 0.97 * np.mean(losses[:10])


@pytest.mark.parametrize(
    ("precision", "stopped_at"), [(PrecisionChoice.FP32, 1), (PrecisionChoice.FP32, 3), (PrecisionChoice.BF16, 5)]
)
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, precision: PrecisionChoice, stopped_at: int
) -> None:
    options = FAST.but(precision=precision, target_iter=8)
    whole, parts = workspace_with_faces(tmp_path / "whole"), workspace_with_faces(tmp_path / "parts")
    for workspace in (whole, parts):
        small_model(workspace)
    train(whole, "small", options)
    stop_at(parts, stopped_at, options)
    train(parts, "small")  # everything else is remembered
    assert_same_training(whole.model("small"), parts.model("small"), 8)


def test_a_run_of_two_targets_equals_one_of_the_second(workspace: Workspace, uninterrupted: Path) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=5))
    train(workspace, "small", TrainOptions(target_iter=8))
    assert_same_training(uninterrupted, workspace.model("small"), 8)


def test_previews_do_not_disturb_training(workspace: Workspace, uninterrupted: Path) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=8, preview_every=1))
    one, other = (json.loads((f / f"checkpoints/{8:09d}" / MANIFEST).read_text()) for f in (uninterrupted, folder))
    assert one["files"][WEIGHTS] == other["files"][WEIGHTS]


TRAINER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

train(Workspace.open(Path(sys.argv[1])), "small", TrainOptions.of(**eval(sys.argv[2])))
"""


def start_training(workspace: Workspace, options: TrainOptions) -> subprocess.Popen[bytes]:
    values = repr(options.model_dump(mode="json"))
    return subprocess.Popen([sys.executable, "-c", TRAINER, str(workspace.root), values], stderr=subprocess.PIPE)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_killed_between_two_saves_it_resumes_to_the_same_result(workspace: Workspace, tmp_path: Path) -> None:
    """With iterations that are lost and done again."""
    small_model(workspace)
    endless = FAST.but(save_minutes=0.01)
    process = start_training(workspace, endless)
    history = workspace.model("small") / "history.jsonl"
    deadline = time.monotonic() + 120
    while lines_in(history) < 12:
        assert process.poll() is None, (process.stderr.read() if process.stderr else b"").decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    target = lines_in(history) + 5
    train(workspace, "small", TrainOptions(target_iter=target))

    whole = workspace_with_faces(tmp_path / "whole")
    small_model(whole)
    train(whole, "small", endless.but(target_iter=target))
    assert_same_training(whole.model("small"), workspace.model("small"), target)


def test_previews_show_the_same_faces_when_the_faceset_grows(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1))
    before = CheckpointStore(folder).newest()
    first, *_ = sorted(workspace.src.aligned.iterdir())
    for index in range(10):
        shutil.copy(first, first.with_name(f"00000_{index}.jpg"))
    events: list[Event] = []
    train(workspace, "small", TrainOptions(target_iter=2), report=events.append)
    after = CheckpointStore(folder).newest()
    assert before is not None
    assert after is not None
    assert after.state["preview_faces"] == before.state["preview_faces"]
    assert len(set(after.state["preview_faces"]["src"])) == 4
    assert any("src faceset" in event.message for event in events if isinstance(event, Note))


def test_a_damaged_state_falls_back_to_the_newest_whole_one_and_says_so(
    workspace: Workspace, uninterrupted: Path
) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=3))
    train(workspace, "small", TrainOptions(target_iter=6))
    os.truncate(generation(workspace, 6) / WEIGHTS, 1000)
    events: list[Event] = []
    train(workspace, "small", TrainOptions(target_iter=8), report=events.append)
    warnings = [event.message for event in events if isinstance(event, Note) and event.level == "warning"]
    assert len(warnings) == 1
    assert "000000006" in warnings[0]
    assert_same_training(uninterrupted, workspace.model("small"), 8)


def test_with_no_whole_state_nothing_is_overwritten(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1))
    (generation(workspace, 1) / WEIGHTS).write_bytes(b"")
    with pytest.raises(CorruptCheckpoint) as caught:
        train(workspace, "small", TrainOptions(target_iter=8))
    assert caught.value.hint
    assert generation(workspace, 1).is_dir()


def test_a_loss_that_is_no_number_ends_training_and_is_not_saved(workspace: Workspace) -> None:
    net = Quick96(SMALL)
    weights = {name: torch.full_like(value, 1e30) for name, value in net.state_dict().items()}
    adopt_model(workspace.model("small"), net, "quick96", weights=weights, iteration=5)
    with pytest.raises(TrainingDiverged) as caught:
        train(workspace, "small", FAST.but(target_iter=9))
    assert "fp32" in caught.value.hint
    assert CheckpointStore(workspace.model("small")).newest_iteration() == 5
    assert lines_in(workspace.model("small") / "history.jsonl") == 0


def test_what_a_killed_process_left_half_made_is_no_model_and_is_swept(workspace: Workspace) -> None:
    shutil.copytree(small_model(workspace, "other"), workspace.models / ".tmp-0123abcd-small")
    assert [model.name for model in list_models(workspace)] == ["other"]
    small_model(workspace)
    assert sorted(path.name for path in workspace.models.iterdir()) == ["other", "small"]


def test_stopping_saves_and_says_how_to_go_on(workspace: Workspace) -> None:
    small_model(workspace)
    interrupted = stop_at(workspace, 2)
    assert "iteration 2" in interrupted.message
    assert "goes on" in interrupted.hint
    assert generation(workspace, 2).is_dir()


def test_a_target_already_reached_is_said_and_nothing_is_trained(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=2))
    events: list[Event] = []
    result = train(workspace, "small", report=events.append)
    assert result.notes["iteration"] == 2
    assert any("--target-iter" in event.message for event in events if isinstance(event, Note))


def test_options_not_given_are_those_of_the_last_run(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1, batch_size=3))
    train(workspace, "small", TrainOptions(target_iter=2))
    stored = read_record(folder).options
    assert (stored["batch_size"], stored["target_iter"], stored["precision"]) == (3, 2, "fp32")


def test_a_device_asked_for_in_vain_is_not_kept(workspace: Workspace) -> None:
    """Else every later run would fail until someone thinks of --device."""
    small_model(workspace)
    with pytest.raises(InvalidOption, match="cuda:77"):
        train(workspace, "small", FAST.but(target_iter=1, device="cuda:77"))
    assert train(workspace, "small", FAST.but(target_iter=1)).notes["iteration"] == 1


def test_a_model_from_a_machine_with_another_device(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1, device="cpu"))
    record = read_record(folder)
    write_record(folder, record.with_options({**record.options, "device": "cuda:77"}))
    events: list[Event] = []
    train(workspace, "small", TrainOptions(target_iter=2), report=events.append)
    assert any("cuda:77" in event.message for event in events if isinstance(event, Note))


def test_options_survive_the_way_through_json() -> None:
    """A job is started from JSON; what was not typed must stay not typed."""
    options = TrainOptions(target_iter=5)
    again = TrainOptions.of(**json.loads(json.dumps(options.model_dump(mode="json"))))
    assert again.model_fields_set == {"target_iter"}


@pytest.mark.parametrize("side", list(Side))
def test_an_empty_faceset_makes_no_model(workspace: Workspace, side: Side) -> None:
    for path in workspace.side(side).aligned.iterdir():
        path.unlink()
    with pytest.raises(EmptyFaceset) as caught:
        train(workspace, "hello", FAST.but(target_iter=1))
    assert f"understudy faceset extract {side}" in caught.value.hint
    assert not workspace.model("hello").exists()


def test_pictures_that_are_no_faces_are_named_and_left_out(workspace: Workspace) -> None:
    small_model(workspace)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(workspace.src.aligned / "holiday.jpg")
    (workspace.dst.aligned / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    result = train(workspace, "small", FAST.but(target_iter=1))
    assert {Path(item.item).name for item in result.skipped} == {"holiday.jpg", "broken.jpg"}
    assert result.faces == 10


def test_a_second_training_of_the_same_model_is_refused(workspace: Workspace) -> None:
    small_model(workspace)
    process = start_training(workspace, FAST)
    try:
        history = workspace.model("small") / "history.jsonl"
        while lines_in(history) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        with pytest.raises(Busy) as caught:
            train(workspace, "small", FAST)
        assert caught.value.hint
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


READER = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from understudy.errors import ReadOnlyWorkspace
from understudy.stages import models, train
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    train.train(Workspace.open(Path(sys.argv[1])), "small", TrainOptions(target_iter=9))
except ReadOnlyWorkspace as error:
    print(error.hint)
    sys.exit(77)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a system with user ids")
@pytest.mark.parametrize("closed", ["", "model/small"])
def test_what_may_not_be_written_is_said_and_left_alone(closed: str) -> None:
    """As an ordinary user, in a workspace or a model folder of somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        workspace = workspace_with_faces(Path(folder) / "shot")
        small_model(workspace)
        train(workspace, "small", FAST.but(target_iter=1))
        closed_folder = workspace.root / closed
        for path in [workspace.root, *workspace.root.rglob("*")]:
            inside = path == closed_folder or closed_folder in path.parents
            path.chmod((0o555 if inside else 0o777) if path.is_dir() else (0o444 if inside else 0o666))
        before = sorted(closed_folder.rglob("*"))
        command = [sys.executable, "-c", READER, str(workspace.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 77, done.stderr
        assert "writable" in done.stdout
        assert sorted(closed_folder.rglob("*")) == before
        for path in [workspace.root, *workspace.root.rglob("*")]:
            path.chmod(0o777)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 15 MB, on which a few states of the small model fit."""
    with disks.small_disk(mib=15) as folder:
        yield folder


def test_on_a_full_disk_the_last_state_stays_and_training_goes_on_later(small_disk: Path, uninterrupted: Path) -> None:
    workspace = workspace_with_faces(small_disk / "shot")
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=3))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(16 << 20))
    with pytest.raises(DiskFull) as caught:
        train(workspace, "small", TrainOptions(target_iter=8))
    assert caught.value.hint
    ballast.unlink()
    train(workspace, "small", TrainOptions(target_iter=8))
    assert_same_training(uninterrupted, workspace.model("small"), 8)


def test_the_class_of_a_model_and_reserved_names(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="mask network"):
        train(workspace, "XSeg", FAST)
    (workspace.models / "taken").mkdir()
    (workspace.models / "taken" / "holiday.txt").write_text("not a model")
    with pytest.raises(UsageError, match="taken"):
        train(workspace, "taken", FAST.but(target_iter=1))
    assert (workspace.models / "taken" / "holiday.txt").is_file()


def test_the_last_faces_in_frame_order_can_be_held_out(workspace: Workspace) -> None:
    events: list[Event] = []
    small_model(workspace)
    result = train(workspace, "small", FAST.but(target_iter=1, hold_out=0.4), report=events.append)
    assert result.faces == 6
    from understudy.facesets import Catalog

    with Catalog.open(workspace.src.aligned) as catalog:
        kept = held_out_split(catalog.faces(), 0.4).training
    assert [face.frame for face in kept] == ["00001", "00002", "00003"]


def test_backups_are_made_in_addition(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours have passed at the session's first look at the clock, an hour more at each one after."""
    clock = SimpleNamespace(monotonic=itertools.count(time.monotonic() + 7200.0, 3600.0).__next__)
    monkeypatch.setattr("understudy.training.session.time", clock)
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=3, autobackup_hour=1))
    assert "000000003" in {path.name for path in (folder / "backups").iterdir()}
    shutil.rmtree(folder / "checkpoints")
    assert load_predictor(folder, precision=PrecisionChoice.FP32).iteration == 3


def test_models_are_listed(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=2))
    (found,) = list_models(workspace)
    assert (found.name, found.model_class, found.iteration, found.ours) == ("small", "Quick96", 2, True)
    assert found.size_bytes > 10_000


def test_a_predictor_redraws_faces_the_same_in_any_batch(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=2))
    predictor = load_predictor(folder, precision=PrecisionChoice.FP32)
    assert (predictor.size, predictor.iteration) == (SMALL.size, 2)
    faces = np.random.default_rng(0).random((19, SMALL.size, SMALL.size, 3), dtype=np.float32)
    face, mask, mask_dst = predictor.predict(faces)
    assert face.shape == faces.shape
    assert mask.shape == mask_dst.shape == faces.shape[:3]
    for part in (face, mask, mask_dst):
        assert part.dtype == np.float32
        assert 0 <= part.min() <= part.max() <= 1
    np.testing.assert_allclose(predictor.predict(faces[3:4]).face, face[3:4], atol=1e-5)
    assert predictor.predict(faces[:0]).face.shape == (0, SMALL.size, SMALL.size, 3)
    with pytest.raises(UsageError):
        predictor.predict(faces[:, :16])
