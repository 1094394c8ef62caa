"""Merging with every class of model, and with `.dfm` files: what is drawn, what is remembered, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from own_models import CONFIGS, class_of, own_model
from shots import small_shot
from understudy.cli.main import main
from understudy.compositing.options import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.errors import IncompatibleModel, InvalidOption, MissingModel
from understudy.facesets import FaceMeta, encode_jpeg, write_face
from understudy.geometry import transform
from understudy.geometry.affine import apply
from understudy.imaging.files import read_image
from understudy.interop import dfm_writing
from understudy.networks.dfm import DfmMetadata
from understudy.networks.saehd import SaehdConfig
from understudy.networks.xseg import XSegConfig
from understudy.records import Archi, FaceType
from understudy.report import Event, Note
from understudy.stages.export_dfl import export_dfl
from understudy.stages.merge import merge
from understudy.training.saved.new import adopt_model, new_network
from understudy.workspace import Workspace

FRAMES = 3
CONFIG = SaehdConfig(size=64, archi=Archi.parse("df-ud"), ae_dims=32, e_dims=16, d_dims=16, d_mask_dims=16)
OPTIONS = MergeOptions(
    mode=MergeMode.RAW_RGB, mask_mode=MaskMode.FULL, color_transfer_mode=ColorTransfer.NONE, workers=1, device="cpu"
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three frames of one face and a model of each class."""
    workspace = Workspace.create(tmp_path_factory.mktemp("models") / "shot")
    shot = small_shot(frames=FRAMES)
    shot.write_frames(workspace.dst.frames)
    for index, (frame, landmarks) in enumerate(zip(shot.frames, shot.truth.landmarks, strict=True)):
        matrix = transform(landmarks, 64, FaceType.WHOLE_FACE)
        meta = FaceMeta(
            FaceType.WHOLE_FACE,
            apply(matrix, landmarks),
            source_filename=f"{index + 1:05d}.png",
            source_landmarks=landmarks,
            image_to_face_mat=matrix,
        )
        picture = encode_jpeg(np.zeros_like(frame[:64, :64]), 90)
        write_face(workspace.dst.aligned / f"{index + 1:05d}_0.jpg", picture, meta)
    for kind in ("df-ud", "liae-udtc", "AMP", "Quick96-small"):
        net = new_network(class_of(kind), CONFIGS[kind])
        adopt_model(workspace.model(kind), net, class_of(kind), weights=net.state_dict(), iteration=4)
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(template, tmp_path / "shot"))


def write_dfm(path: Path, seed: int = 0, metadata: DfmMetadata | None = None) -> Path:
    net = new_network("saehd", CONFIG, seed=seed)
    properties = metadata.as_properties() if metadata else {}
    path.write_bytes(dfm_writing.build(net, properties=properties).SerializeToString())
    return path


def pictures(workspace: Workspace) -> list[np.ndarray]:
    return [read_image(path).rgb.astype(int) for path in sorted(workspace.merged.glob("*.png"))]


def stamps(workspace: Workspace) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted(workspace.merged.glob("*.png"))]


def warnings_in(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Note) and event.level == "warning"]


@pytest.mark.parametrize("kind", ["df-ud", "liae-udtc", "AMP", "Quick96-small"])
def test_every_class_of_model_draws_the_faces(workspace: Workspace, kind: str) -> None:
    result = merge(workspace, kind, OPTIONS)
    assert (result.frames, result.faces, result.skipped) == (FRAMES, FRAMES, [])
    plates = [read_image(path).rgb.astype(int) for path in workspace.dst.frame_files()]
    for plate, merged in zip(plates, pictures(workspace), strict=True):
        changed = (np.abs(plate - merged).max(axis=2) > 8).mean()
        assert 0.05 < changed < 0.95


def test_the_morph_factor_of_amp(workspace: Workspace) -> None:
    drawn = {}
    for morph in (1.0, 0.0, 0.5):
        merge(workspace, "AMP", OPTIONS.but(morph_factor=morph))
        drawn[morph] = pictures(workspace)
    assert min(np.abs(a - b).max() for a, b in zip(drawn[0.0], drawn[1.0], strict=True)) > 3
    assert min(np.abs(a - b).max() for a, b in zip(drawn[0.5], drawn[1.0], strict=True)) > 1
    saved = json.loads((workspace.merged / "options.json").read_text())
    assert saved["options"]["morph_factor"] == 0.5


def test_only_another_morph_factor_renders_anew(workspace: Workspace) -> None:
    merge(workspace, "AMP", OPTIONS.but(morph_factor=0.5))
    before = stamps(workspace)
    merge(workspace, "AMP", OPTIONS.but(morph_factor=0.5))
    assert stamps(workspace) == before
    merge(workspace, "AMP", OPTIONS.but(morph_factor=0.25))
    assert not set(stamps(workspace)) & set(before)


def test_a_model_without_a_morph_factor_says_so_and_renders_nothing_anew(workspace: Workspace) -> None:
    merge(workspace, "df-ud", OPTIONS)
    before = stamps(workspace)
    events: list[Event] = []
    merge(workspace, "df-ud", OPTIONS.but(morph_factor=0.5), report=events.append)
    assert stamps(workspace) == before
    assert len([text for text in warnings_in(events) if "morph factor" in text]) == 1


@pytest.mark.parametrize("morph", [-0.1, 1.5, float("nan")])
def test_a_morph_factor_out_of_range(morph: float) -> None:
    with pytest.raises(InvalidOption, match="morph_factor"):
        MergeOptions.of(morph_factor=morph)


@pytest.mark.parametrize("named", ["path", "file in model/", "its name"])
def test_a_dfm_is_a_model_like_any_other(workspace: Workspace, tmp_path: Path, named: str) -> None:
    """The same network merges to the same pictures, give or take the rounding of two programs."""
    net = new_network("saehd", CONFIG)
    adopt_model(workspace.model("ours"), net, "saehd", weights=net.state_dict(), iteration=3)
    faithful = OPTIONS.but(faithful=False, face_type=FaceType.FULL)
    merge(workspace, "ours", faithful)
    expected = pictures(workspace)
    file = write_dfm(tmp_path / "live.dfm" if named == "path" else workspace.models / "live.dfm")
    name = {"path": str(file), "file in model/": "live.dfm", "its name": "live"}[named]
    assert merge(workspace, name, faithful).faces == FRAMES
    for one, other in zip(expected, pictures(workspace), strict=True):
        assert np.abs(one - other).max() <= 1
    saved = json.loads((workspace.merged / "options.json").read_text())
    assert saved["model"] == "live.dfm"


def test_another_file_under_the_same_name_renders_anew(workspace: Workspace) -> None:
    told = DfmMetadata(face_type=FaceType.FULL)
    write_dfm(workspace.models / "live.dfm", metadata=told)
    merge(workspace, "live.dfm", OPTIONS)
    first, before = pictures(workspace), stamps(workspace)
    merge(workspace, "live", OPTIONS)
    assert stamps(workspace) == before
    write_dfm(workspace.models / "live.dfm", seed=1, metadata=told)
    merge(workspace, "live.dfm", OPTIONS)
    assert not set(stamps(workspace)) & set(before)
    assert all((one != other).any() for one, other in zip(first, pictures(workspace), strict=True))


def test_a_dfm_that_does_not_say_its_face_type(workspace: Workspace) -> None:
    """Whole face is assumed, loudly; what is said by hand counts, also against what a model says."""
    write_dfm(workspace.models / "live.dfm")
    events: list[Event] = []
    merge(workspace, "live.dfm", OPTIONS, report=events.append)
    assert len([text for text in warnings_in(events) if "--face-type" in text]) == 1
    assumed = pictures(workspace)
    events.clear()
    merge(workspace, "live.dfm", OPTIONS.but(face_type=FaceType.WHOLE_FACE), report=events.append)
    assert warnings_in(events) == []
    for one, other in zip(assumed, pictures(workspace), strict=True):
        np.testing.assert_array_equal(one, other)
    merge(workspace, "live.dfm", OPTIONS.but(face_type=FaceType.HALF))
    assert all((one != other).any() for one, other in zip(assumed, pictures(workspace), strict=True))


def test_flat_files_are_imported_by_the_merge_that_names_them(workspace: Workspace) -> None:
    own_model(workspace, "old", "df-ud", iteration=9)
    export_dfl(workspace, "old")
    merge(workspace, "old", OPTIONS.but(faithful=True))
    expected = pictures(workspace)
    shutil.rmtree(workspace.model("old"))
    events: list[Event] = []
    result = merge(workspace, "old", OPTIONS, report=events.append)
    assert result.notes["iteration"] == 9
    assert (workspace.model("old") / "model.json").is_file()
    assert (workspace.models / "old_SAEHD_encoder.npy").is_file()
    saved = json.loads((workspace.merged / "options.json").read_text())
    assert saved["options"]["faithful"] is True
    for one, other in zip(expected, pictures(workspace), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_draws_no_faces_is_refused(workspace: Workspace) -> None:
    net = new_network("xseg", XSegConfig(size=64, base_dims=8))
    adopt_model(workspace.model("XSeg"), net, "xseg", weights=net.state_dict(), iteration=1)
    with pytest.raises(IncompatibleModel, match="masks"):
        merge(workspace, "XSeg", OPTIONS)
    assert not workspace.merged.exists()


@pytest.mark.parametrize("name", ["gone.dfm", "elsewhere/gone.dfm", "gone"])
def test_a_model_that_is_not_there(workspace: Workspace, name: str) -> None:
    write_dfm(workspace.models / "live.dfm")
    with pytest.raises(MissingModel) as caught:
        merge(workspace, name, OPTIONS)
    assert "live" in caught.value.hint


def test_a_file_that_is_no_network(workspace: Workspace) -> None:
    (workspace.models / "live.dfm").write_bytes(b"no network")
    with pytest.raises(IncompatibleModel):
        merge(workspace, "live.dfm", OPTIONS)
    assert not workspace.merged.exists()


def test_from_the_command_line(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path counts from the current folder."""
    write_dfm(tmp_path / "live.dfm", metadata=DfmMetadata(face_type=FaceType.FULL))
    monkeypatch.chdir(tmp_path)
    line = ["-w", str(workspace.root), "-q", "merge", "./live.dfm", "--mode", "raw-rgb", "--device", "cpu"]
    assert main(line) == 0
    assert len(pictures(workspace)) == FRAMES
    assert main(["-w", str(workspace.root), "-q", "merge", "AMP", "--morph-factor", "0.4", "--device", "cpu"]) == 0
    saved: dict[str, Any] = json.loads((workspace.merged / "options.json").read_text())
    assert (saved["model"], saved["options"]["morph_factor"]) == ("AMP", 0.4)
