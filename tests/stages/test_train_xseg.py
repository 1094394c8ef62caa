"""Training the mask network on labelled faces: from nothing, resumed, restarted, pretrained, imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelled_faces import labelled_face, labelled_workspace, small_xseg
from understudy.errors import EmptyFaceset, InvalidOption, UsageError
from understudy.facesets import read_face, write_face
from understudy.facesets.container import encode_jpeg
from understudy.facesets.xseg import encode_mask
from understudy.records import Side
from understudy.report import Event, Metrics, Note
from understudy.stages.train import train
from understudy.stages.train_xseg import train_xseg
from understudy.training.commands import Commands
from understudy.training.options import TrainOptions
from understudy.training.options.xseg import XSegTrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.workspace import Workspace

QUIET = {"batch_size": 2, "preview_every": 0, "threads": 1, "precision": "fp32", "evaluate_every": 0}


def run(workspace: Workspace, name: str = "XSeg", **given: Any) -> tuple[dict[str, Any], list[Event]]:
    events: list[Event] = []
    result = train_xseg(workspace, name, XSegTrainOptions.of(**{**QUIET, **given}), report=events.append)
    return result.as_json(), events


def saved(workspace: Workspace, name: str = "XSeg") -> dict[str, torch.Tensor]:
    found = CheckpointStore(workspace.model(name)).newest()
    assert found is not None
    return {**found.weights, **{f"moment {key}": value for key, value in (found.optimiser or {}).items()}}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = labelled_workspace(tmp_path / "shot")
    small_xseg(made)
    return made


def test_a_resumed_training_is_the_uninterrupted_one(workspace: Workspace) -> None:
    """To the bit: weights, moments, losses."""
    small_xseg(workspace, "whole")
    body, _ = run(workspace, "whole", target_iter=4)
    assert body["faces"] == 8
    assert set(body["losses"]) == {"loss"}
    run(workspace, target_iter=2)
    run(workspace, target_iter=4)
    assert same(saved(workspace), saved(workspace, "whole"))
    losses = [(workspace.model(name) / "history.jsonl").read_bytes() for name in ("XSeg", "whole")]
    assert losses[0] == losses[1]


def test_a_new_network_has_the_options_of_its_class(tmp_path: Path) -> None:
    """Checked before anything is computed: there are no labels."""
    workspace = labelled_workspace(tmp_path / "shot", labels=False)
    with pytest.raises(EmptyFaceset, match="None of 8 faces is labelled") as caught:
        run(workspace)
    assert "editor" in str(caught.value.hint)
    with pytest.raises(EmptyFaceset, match="no faces to learn masks from"):
        run(Workspace.create(tmp_path / "bare"))


def test_one_labelled_side_is_enough_and_labels_win_over_masks(workspace: Workspace) -> None:
    """Applied masks count where nobody has drawn an outline."""
    shutil.rmtree(workspace.side(Side.SRC).aligned)
    body, _ = run(workspace, target_iter=1)
    assert body["faces"] == 4
    mask = encode_mask(np.ones((32, 32), np.float32))
    first, *others = sorted(workspace.side(Side.DST).aligned.glob("*.jpg"))
    relabel(first, xseg_mask=mask)
    for path in others:
        relabel(path, polygons=())
    assert run(workspace, target_iter=2)[0]["faces"] == 1, "outlines on one face: only that one"
    relabel(first, polygons=())
    relabel(others[0], xseg_mask=mask)
    assert run(workspace, target_iter=3)[0]["faces"] == 2, "no outlines: every applied mask"


def relabel(path: Path, **changes: Any) -> None:
    face = read_face(path)
    write_face(path, encode_jpeg(face.rgb8, 95), face.meta.but(**changes))


def test_labels_made_meanwhile_are_learned_from_after_a_save(workspace: Workspace) -> None:
    added = False

    def label_one_more(event: Event) -> None:
        nonlocal added
        if not added:
            name, jpeg, meta = labelled_face(Side.DST, 5, frames=6)
            write_face(workspace.side(Side.DST).aligned / name, jpeg, meta)
        added = added or isinstance(event, Metrics)
        events.append(event)

    events: list[Event] = []
    options = XSegTrainOptions.of(**{**QUIET, "target_iter": 3, "save_minutes": 1e-6})
    train_xseg(workspace, options=options, report=label_one_more)
    told = [event.message for event in events if isinstance(event, Note)]
    assert any("Labelled dst faces: 5 by now" in message for message in told)


def test_labels_that_go_or_break_end_nothing_and_come_back(workspace: Workspace) -> None:
    """A side without labels rests; where neither has any, training goes on with those that it has."""
    src, dst = (workspace.side(side).aligned for side in Side)
    whole = {path: path.read_bytes() for folder in (src, dst) for path in folder.glob("*.jpg")}

    def unlabel(folder: Path) -> None:
        for path in folder.glob("*.jpg"):
            relabel(path, polygons=())

    def restore() -> None:
        (src / "faceset.pak").unlink()
        for path, body in whole.items():
            path.write_bytes(body)

    happening: dict[int, Any] = {
        2: lambda: unlabel(src),
        4: lambda: unlabel(dst),
        6: lambda: (src / "faceset.pak").write_bytes(b"no pack at all"),
        8: restore,
        10: lambda: [relabel(path, landmarks=np.zeros((68, 2))) for path in dst.glob("*.jpg")],
        12: lambda: [shutil.rmtree(folder) for folder in (src, dst)],
    }
    commands, told = Commands(), []

    def report(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.message)
        if isinstance(event, Metrics) and event.iteration in happening:
            happening.pop(event.iteration)()
            commands.offer({"command": "save"})

    train_xseg(workspace, options=XSegTrainOptions.of(**QUIET, target_iter=14), report=report, commands=commands)
    warnings = [message.partition(": ")[2] for message in told if message.startswith("Labels have changed")]
    assert [message for message in told if "by now" in message] == [
        "Labelled src faces: 0 by now.",
        "Labelled src faces: 4 by now.",
        "Labelled dst faces: 4 by now.",
        "Labelled dst faces: 0 by now.",
    ]
    assert len(warnings) == 3
    assert "None of 8 faces is labelled" in warnings[0]
    assert "faceset.pak" in warnings[1]
    assert "no faces to learn masks from" in warnings[2]
    assert any("left out: 00001_0.jpg: its landmarks do not span a face" in message for message in told)


def test_one_side_whose_labels_cannot_be_used_is_done_without(workspace: Workspace) -> None:
    for path in workspace.side(Side.SRC).aligned.glob("*.jpg"):
        relabel(path, landmarks=np.zeros((68, 2)))
    body, _ = run(workspace, target_iter=1)
    assert (body["faces"], len(body["skipped"])) == (4, 4)
    for path in workspace.side(Side.DST).aligned.glob("*.jpg"):
        relabel(path, landmarks=np.zeros((68, 2)))
    with pytest.raises(EmptyFaceset, match=r"00001_0\.jpg: its landmarks"):
        run(workspace, target_iter=2)


def test_any_face_can_be_shown_and_one_that_went_is_no_reason_not_to_begin(tmp_path: Path) -> None:
    """Also while it trains, and of hundreds, of which only a few are in memory to be shown."""
    workspace = labelled_workspace(tmp_path / "shot", 8)
    small_xseg(workspace)
    run(workspace, target_iter=1, preview_faces=("dst/00008_0",))
    (workspace.side(Side.DST).aligned / "00008_0.jpg").unlink()
    commands, told = Commands(), []

    def report(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.message)
        if isinstance(event, Metrics) and event.iteration == 2:
            commands.offer({"command": "set", "options": {"preview_faces": "src/00001_0"}})
            with pytest.raises(InvalidOption, match="no face 'src/nobody'"):
                commands.offer({"command": "set", "options": {"preview_faces": "src/nobody"}})

    options = XSegTrainOptions.of(target_iter=4)
    train_xseg(workspace, options=options, report=report, commands=commands)
    assert "No longer there to show in the previews: dst/00008_0." in told
    found = CheckpointStore(workspace.model("XSeg")).newest()
    assert found is not None
    assert found.state["preview_faces"]["src"] == ["00001_0.jpg"]


def test_two_processes_learn_what_one_learns(workspace: Workspace) -> None:
    """Samples are dealt by number, so each makes its part of the same batches; sums go in another order."""
    small_xseg(workspace, "two")
    for name, devices in (("XSeg", ""), ("two", "2")):
        run(workspace, name, target_iter=2, batch_size=4, device="cpu", devices=devices)
    one, two = saved(workspace), saved(workspace, "two")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        if not name.startswith("moment "):
            torch.testing.assert_close(two[name], tensor, rtol=0, atol=2e-5, msg=name)
    losses = [(workspace.model(name) / "history.jsonl").read_text().splitlines() for name in ("XSeg", "two")]
    for mine, theirs in zip(*losses, strict=True):
        assert json.loads(theirs) == pytest.approx(json.loads(mine), rel=1e-5)


def test_held_out_labels_are_measured_and_the_best_state_is_kept(tmp_path: Path) -> None:
    workspace = labelled_workspace(tmp_path / "shot", 12, sides=(Side.DST,))
    small_xseg(workspace)
    body, events = run(workspace, target_iter=2, hold_out=0.25, evaluate_every=1, preview_every=1)
    assert body["faces"] < 12 - 2
    found = [event.values for event in events if isinstance(event, Metrics) and "iou_dst" in event.values]
    assert len(found) == 2
    assert all(0 <= values["iou_dst"] <= 1 and {"held_dst", "train_dst"} <= values.keys() for values in found)
    folder = workspace.model("XSeg")
    assert len((folder / "evaluation.jsonl").read_text().splitlines()) == 2
    assert (folder / "best").exists()
    assert {path.name for path in (folder / "previews").glob("*.png")} == {
        "XSeg_training_faces.png",
        "XSeg_dst_faces.png",
    }


def test_a_network_that_is_restarted_goes_to_the_trash(workspace: Workspace) -> None:
    """And the new one may be another, which an old one may not."""
    run(workspace, target_iter=1)
    with pytest.raises(UsageError, match="face-type"):
        run(workspace, face_type="f")
    with pytest.raises(InvalidOption):  # refused only after the old one has gone: the new one has no such part
        run(workspace, restart=True, face_type="f", freeze="encoder")
    assert not workspace.model("XSeg").exists()
    kept = [path for path in workspace.private.rglob("model.json") if path.parent.name == "XSeg"]
    assert len(kept) == 1
    assert json.loads(kept[0].read_text())["options"]["batch_size"] == 2


def test_pretraining_needs_no_labels_and_all_that_is_learned_stays(tmp_path: Path) -> None:
    workspace = labelled_workspace(tmp_path / "shot")
    people = labelled_workspace(tmp_path / "people", labels=False).side(Side.SRC).aligned
    small_xseg(workspace)
    run(workspace, target_iter=2, pretrain=True, pretrain_faces=people, preview_every=1)
    before = saved(workspace)
    with pytest.raises(EmptyFaceset, match="not-there"):
        run(workspace, pretrain_faces=tmp_path / "not-there")
    _, events = run(workspace, target_iter=1, pretrain=False)
    told = [event.message for event in events if isinstance(event, Note)]
    assert any("ended at iteration 2; all that was learned stays" in message for message in told)
    store = CheckpointStore(workspace.model("XSeg"))
    newest = store.newest()
    assert newest is not None
    assert newest.iteration == 1
    assert int(newest.optimiser["iterations"]) == 3, "the optimiser goes on"  # type: ignore[index]
    assert not torch.equal(newest.weights["conv01.conv.weight"], before["conv01.conv.weight"])
    history = (workspace.model("XSeg") / "history.jsonl").read_text().splitlines()
    assert len(history) == 1


def test_the_mask_network_has_its_own_command(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        train(workspace, "XSeg", TrainOptions.of(target_iter=1))
    assert str(caught.value.hint) == "Train it with: understudy xseg train"
    small_xseg(workspace, "hands")
    for options in (TrainOptions.of(model="xseg"), TrainOptions()):
        with pytest.raises(UsageError) as caught:
            train(workspace, "hands", options)
        assert "understudy xseg train hands" in str(caught.value.hint)
