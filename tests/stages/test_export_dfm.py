"""`model export-dfm`: a file that draws what the model draws, whole or not there, and nothing lost on the way."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disks import fill, small_disk
from mortal import mortal
from small_faces import workspace_with_faces
from understudy.errors import (
    Busy,
    CorruptCheckpoint,
    DiskFull,
    IncompatibleModel,
    Interrupted,
    InvalidOption,
    MissingExtra,
    MissingModel,
    ReadOnlyWorkspace,
    UsageError,
)
from understudy.interop import onnx_graph
from understudy.interop.dfm_options import DfmOptions
from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.dfm import DfmNetwork
from understudy.networks.saehd import SaehdConfig, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi, FaceType
from understudy.report import Event, Note, Progress
from understudy.stages import dfm_check
from understudy.stages.export_dfm import export_dfm
from understudy.training.saved.new import adopt_model, create_model
from understudy.workspace import Workspace
from users import ordinary_user

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SMALL = {"ae_dims": 8, "e_dims": 4, "d_dims": 4, "d_mask_dims": 4}
ONE = DfmOptions(check_faces=1)


def small_network(kind: str) -> Any:
    chance = torch.Generator().manual_seed(4)
    if kind == "AMP":
        return Amp(AmpConfig(size=64, inter_dims=12, **SMALL), generator=chance)
    if kind == "XSeg":
        return XSeg(XSegConfig(size=64, base_dims=2), generator=chance)
    config = SaehdConfig(size=64, face_type=FaceType.FULL, archi=Archi.parse("liae-ud"), **SMALL)
    return saehd_network(config, generator=chance)


def add_model(workspace: Workspace, name: str = "hi", kind: str = "SAEHD", iteration: int = 70) -> Any:
    net = small_network(kind)
    adopt_model(workspace.model(name), net, kind, weights=net.state_dict(), iteration=iteration)
    return net.eval()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A model that was never trained, and no faces."""
    found = Workspace.create(tmp_path / "shot")
    add_model(found)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "options", "file", "least_db"),
    [
        ("SAEHD", ONE, "hi_SAEHD_model.dfm", 100),
        ("SAEHD", ONE.but(quantize=True), "hi_SAEHD_model.dfm", 60),
        ("SAEHD", ONE.but(int8=True), "hi_SAEHD_model.dfm", 40),
        ("AMP", ONE, "hi_AMP_model.dfm", 100),
        ("AMP", ONE.but(int8=True), "hi_AMP_model.dfm", 40),
    ],
)
def test_the_file_is_where_and_what_live_tools_expect(
    kind: str, options: DfmOptions, file: str, least_db: int, tmp_path: Path
) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    net = add_model(workspace, kind=kind)
    result = export_dfm(workspace, "hi", options)
    path = workspace.models / file
    assert result.outputs == [path]
    assert result.notes["bytes"] == path.stat().st_size
    assert result.notes["agreement"]["psnr_db"] > least_db
    assert result.notes["agreement"]["faces"] == (len(dfm_check.MORPHS) if kind == "AMP" else 1)
    network = DfmNetwork(path, threads=1)
    known = network.metadata
    assert (known.face_type, known.name, known.iteration) == (net.config.face_type, "hi", 70)
    assert (known.model_class, known.archi) == (kind, "liae-ud" if kind == "SAEHD" else None)
    assert [item.name for item in workspace.models.iterdir() if item.name.startswith(".")] == []


def test_it_is_tried_on_the_faces_of_the_dst(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path / "shot")
    add_model(workspace, "new")
    events: list[Event] = []
    result = export_dfm(workspace, "new", DfmOptions(check_faces=3), report=events.append)
    assert result.notes["agreement"]["faces"] == 3
    checked = [event for event in events if isinstance(event, Progress) and event.step == "Checking"]
    assert checked[-1].done == 3
    assert not any("no dst faces" in event.message for event in events if isinstance(event, Note))


def test_eight_bits_are_checked_on_other_faces_than_they_were_fitted_to(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []
    checked: list[Any] = []
    from understudy.stages import export_dfm as stage

    write, compare = stage.dfm_quantising.write_int8, stage.compare

    def writing(net: Any, path: Path, samples: Any, **rest: Any) -> None:
        fitted.extend(face.tobytes() for face in samples)
        write(net, path, samples, **rest)

    def comparing(ours: Any, theirs: Any, faces: Any, *rest: Any, **more: Any) -> Any:
        checked.extend(face.tobytes() for face in faces)
        return compare(ours, theirs, faces, *rest, **more)

    monkeypatch.setattr(stage.dfm_quantising, "write_int8", writing)
    monkeypatch.setattr(stage, "compare", comparing)
    export_dfm(workspace, "hi", DfmOptions(int8=True, check_faces=4))
    assert len(checked) == 4
    assert len(fitted) == 32
    assert not set(checked) & set(fitted)


def test_the_mask_network_becomes_an_onnx_file(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    add_model(workspace, "XSeg", "XSeg")
    result = export_dfm(workspace, "XSeg", ONE)
    assert result.outputs == [workspace.models / "XSeg_model.onnx"]
    with pytest.raises(UsageError, match="single precision"):
        export_dfm(workspace, "XSeg", ONE.but(quantize=True, output=tmp_path))


def test_a_file_that_draws_something_else_is_not_delivered(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias that is converted wrongly, as a fault of the program or of the runtime would show."""
    convert = onnx_graph.as_onnx

    def wrong(name: str, tensor: torch.Tensor) -> Any:
        return convert(name, tensor) + (0.01 if name == "decoder.out_convm.bias" else 0)

    monkeypatch.setattr(onnx_graph, "as_onnx", wrong)
    before = files(workspace.models)
    with pytest.raises(IncompatibleModel, match=r"mask.* differs by 0\.0025.*not delivered"):
        export_dfm(workspace, "hi", ONE)
    assert files(workspace.models) == before


def test_a_file_of_no_numbers_is_not_delivered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = onnx_graph.as_onnx
    monkeypatch.setattr(onnx_graph, "as_onnx", lambda name, tensor: convert(name, tensor) * np.float32(np.nan))
    with pytest.raises(IncompatibleModel, match="no finite numbers"):
        export_dfm(workspace, "hi", ONE)
    assert files(workspace.models) == {}


def test_what_is_there_stays_or_moves_to_the_trash(workspace: Workspace, tmp_path: Path) -> None:
    first = export_dfm(workspace, "hi", ONE).outputs[0].read_bytes()
    with pytest.raises(UsageError, match="there already") as caught:
        export_dfm(workspace, "hi", ONE.but(quantize=True))
    assert "--replace" in caught.value.hint
    result = export_dfm(workspace, "hi", ONE.but(quantize=True, replace=True))
    assert result.outputs[0].read_bytes() != first
    assert Path(result.notes["trash"]).read_bytes() == first
    named = export_dfm(workspace, "hi", ONE.but(output=tmp_path / "live" / "Some Name.dfm"))
    assert named.outputs == [tmp_path / "live" / "Some Name.dfm"]
    beside = export_dfm(workspace, "hi", ONE.but(output=tmp_path / "folder"))
    assert beside.outputs == [tmp_path / "folder" / "hi_SAEHD_model.dfm"]


def test_too_large_for_one_file_is_said_before_anything_is_written(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 10_000)
    with pytest.raises(IncompatibleModel, match="GB") as caught:
        export_dfm(workspace, "hi", ONE)
    assert "--quantize" in caught.value.hint
    assert files(workspace.models) == {}


def test_models_that_cannot_be_exported_say_why(workspace: Workspace) -> None:
    with pytest.raises(MissingModel, match="no model nobody"):
        export_dfm(workspace, "nobody", ONE)
    create_model(workspace.model("new"), "SAEHD", config=small_network("SAEHD").config)
    with pytest.raises(MissingModel, match="not been trained"):
        export_dfm(workspace, "new", ONE)
    (weights,) = workspace.model("hi").glob("checkpoints/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptCheckpoint):
        export_dfm(workspace, "hi", ONE)
    assert files(workspace.models) == {}


def test_two_precisions_at_once_are_refused() -> None:
    with pytest.raises(InvalidOption, match="exclude each other"):
        DfmOptions.of(quantize=True, int8=True)


def test_two_exports_at_once_are_one_too_many(workspace: Workspace) -> None:
    with workspace.writing("export-hi"), pytest.raises(Busy):
        export_dfm(workspace, "hi", ONE)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_it_is_named(missing: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra) as caught:
        export_dfm(workspace, "hi", ONE)
    assert "understudy[onnx]" in caught.value.hint


def test_a_stop_leaves_nothing(workspace: Workspace) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(Interrupted):
        export_dfm(workspace, "hi", DfmOptions(check_faces=8), stop=stop)
    assert files(workspace.models) == {}


def test_a_full_disk_leaves_the_old_file(workspace: Workspace) -> None:
    with small_disk(mib=4) as disk:
        (old,) = export_dfm(workspace, "hi", ONE.but(output=disk / "a.dfm")).outputs
        before = old.read_bytes()
        ballast = fill(disk)
        with pytest.raises(DiskFull):
            export_dfm(workspace, "hi", ONE.but(output=disk / "a.dfm", replace=True))
        assert old.read_bytes() == before
        assert {item.name for item in disk.iterdir()} == {"a.dfm", ballast.name}


def test_where_nothing_may_be_written_it_is_said_at_once() -> None:
    with ordinary_user() as folder:
        workspace = Workspace.create(folder / "shot")
        add_model(workspace)
        closed = folder / "closed"
        closed.mkdir(mode=0o555)
        events: list[Event] = []
        with pytest.raises(ReadOnlyWorkspace):
            export_dfm(workspace, "hi", ONE.but(output=closed), report=events.append)
        assert not any(isinstance(event, Progress) for event in events)


def exports_killed(workspace: Workspace, folder: Path, choose: Callable[[int], Iterable[int]]) -> int:
    """Kill an export that replaces an older file before each of the chosen changes on the disk; how many there are."""
    old = export_dfm(workspace, "hi", ONE).outputs[0].read_bytes()
    new = export_dfm(workspace, "hi", ONE.but(quantize=True, output=folder / "new.dfm")).outputs[0].read_bytes()
    again = ONE.but(quantize=True, replace=True)
    with mortal() as run:

        def attempt(kill_at: int) -> int:
            root = folder / "killed"
            shutil.copytree(workspace.root, root)
            options = again.model_dump(mode="json")
            fate = run("stages.export_dfm:export_dfm", root, kill_at=kill_at, name="hi", options=options)
            path = root / "model" / "hi_SAEHD_model.dfm"
            assert path.read_bytes() in (old, new), kill_at
            assert old in [found.read_bytes() for found in root.rglob(path.name)], kill_at
            if fate.killed:
                export_dfm(Workspace.open(root), "hi", again)
                assert path.read_bytes() == new
                assert not list(path.parent.glob(f".tmp-*-{path.name}")), kill_at
            shutil.rmtree(root)
            return fate.changes

        changes = attempt(-1)
        for kill_at in choose(changes):
            attempt(kill_at)
    return changes


def test_a_killed_export_leaves_a_whole_file_and_the_next_one_ends_it(workspace: Workspace, tmp_path: Path) -> None:
    assert exports_killed(workspace, tmp_path, lambda count: (count - 2, count - 1)) > 4


@pytest.mark.faults
def test_killed_before_any_change_on_the_disk(workspace: Workspace, tmp_path: Path) -> None:
    exports_killed(workspace, tmp_path, range)
