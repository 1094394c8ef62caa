"""The library's door to a model: whatever holds it, it draws the same faces, and nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from own_models import own_model
from understudy import load_model
from understudy.errors import (
    CorruptCheckpoint,
    IncompatibleModel,
    InvalidOption,
    MissingModel,
    UnderstudyError,
    UsageError,
)
from understudy.interop import dfm_writing
from understudy.networks.dfm import DfmMetadata
from understudy.records import FaceType
from understudy.report import Event, Note
from understudy.stages.export_dfl import export_dfl
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.manifests import WEIGHTS
from understudy.training.saved.models import read_record
from understudy.training.saved.new import adopt_model, new_network
from understudy.workspace import Workspace

KINDS = ("df-ud", "liae-udtc", "liae", "AMP", "Quick96")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model of every class, and each of them as flat files in `flat/KIND/`."""
    made = Workspace.create(tmp_path_factory.mktemp("load") / "shot")
    for kind in KINDS:
        own_model(made, kind, kind, judged=True)
    mask_network = new_network("xseg")
    adopt_model(made.model("XSeg"), mask_network, "xseg", weights=mask_network.state_dict(), iteration=4)
    for kind in (*KINDS, "XSeg"):
        export_dfl(made, kind, output=made.root / "flat" / kind)
    return made


def faces_for(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((2, size, size, 3), dtype=np.float32)


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_dfm(workspace: Workspace, kind: str, path: Path, metadata: DfmMetadata | None = None) -> Path:
    """The model of the workspace as a `.dfm`; it says of itself what `metadata` says."""
    from understudy.networks.families import config_from_plain, family_for

    folder = workspace.model(kind)
    record = read_record(folder)
    net = new_network(record.model_class, config_from_plain(family_for(record.model_class), record.config))
    found = CheckpointStore(folder).newest()
    assert found is not None
    net.load_state_dict({name: found.weights[name] for name in net.state_dict()})
    properties = metadata.as_properties() if metadata else {}
    path.write_bytes(dfm_writing.build(net, properties=properties).SerializeToString())
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_flat_files_and_a_dfm_draw_the_same(workspace: Workspace, tmp_path: Path, kind: str) -> None:
    before = files_in(workspace.root)
    ours = load_model(workspace.model(kind), precision="fp32")
    flat = load_model(workspace.root / "flat" / kind, precision="fp32")
    dfm = None if kind == "Quick96" else load_model(write_dfm(workspace, kind, tmp_path / "x.dfm"))
    assert files_in(workspace.root) == before
    faces = faces_for(ours.size)
    drawn = ours.predict(faces)
    for other in filter(None, (flat, dfm)):
        assert (other.size, other.has_morph) == (ours.size, kind == "AMP")
        for found, expected in zip(other.predict(faces), drawn, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (flat.face_type, flat.iteration, flat.model_class) == (ours.face_type, ours.iteration, ours.model_class)


def test_a_morph_factor_means_the_same_to_a_dfm(workspace: Workspace, tmp_path: Path) -> None:
    ours = load_model(workspace.model("AMP"), precision="fp32")
    dfm = load_model(write_dfm(workspace, "AMP", tmp_path / "x.dfm"))
    faces = faces_for(64)
    for morph in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(dfm.predict(faces, morph).face, ours.predict(faces, morph).face, atol=1e-4)


def test_what_a_dfm_says_of_itself(workspace: Workspace, tmp_path: Path) -> None:
    silent = load_model(write_dfm(workspace, "df-ud", tmp_path / "x.dfm"))
    assert (silent.model_class, silent.face_type, silent.iteration) == ("DFM", None, None)
    told = DfmMetadata(FaceType.HEAD, "hello", 77, "SAEHD", "df-ud", "2.0")
    spoken = load_model(write_dfm(workspace, "df-ud", tmp_path / "y.dfm", told))
    assert (spoken.model_class, spoken.face_type, spoken.iteration) == ("SAEHD", FaceType.HEAD, 77)


@pytest.mark.parametrize("where", ["ours", "flat"])
def test_a_mask_network_gives_masks(workspace: Workspace, where: str) -> None:
    folder = workspace.model("XSeg") if where == "ours" else workspace.root / "flat" / "XSeg"
    network = load_model(folder, precision="fp32")
    assert not network.can_swap
    faces = faces_for(256)[:1]
    face, mask, mask_dst = network.predict(faces)
    np.testing.assert_array_equal(face, faces)
    np.testing.assert_array_equal(mask, mask_dst)
    assert mask.shape == (1, 256, 256)
    assert not ((mask > 0) & (mask < 0.1)).any()


@pytest.mark.parametrize(
    "named", ["df-ud_SAEHD_data.dat", "df-ud_SAEHD_encoder.npy", "df-ud_SAEHD", "df-ud_SAEHD_", "df-ud"]
)
def test_flat_files_by_one_of_them_or_by_what_they_begin_with(workspace: Workspace, named: str) -> None:
    predictor = load_model(str(workspace.root / "flat" / "df-ud" / named), precision="fp32")
    assert predictor.model_class == "SAEHD"


def test_of_several_flat_models_one_has_to_be_named(workspace: Workspace, tmp_path: Path) -> None:
    for kind in ("df-ud", "liae"):
        shutil.copytree(workspace.root / "flat" / kind, tmp_path, dirs_exist_ok=True)
    with pytest.raises(UsageError, match=r"2 models.*df-ud_SAEHD, liae_SAEHD") as caught:
        load_model(tmp_path)
    assert "_SAEHD" in caught.value.hint
    assert load_model(tmp_path / "liae", precision="fp32").face_type is FaceType.HEAD


@pytest.mark.parametrize("named", ["nothing", "nothing.dfm", ""])
def test_where_there_is_nothing(tmp_path: Path, named: str) -> None:
    with pytest.raises(MissingModel) as caught:
        load_model(tmp_path / named)
    assert caught.value.hint


def test_a_device_and_a_precision_that_are_not_there(workspace: Workspace, tmp_path: Path) -> None:
    for path in (workspace.model("df-ud"), write_dfm(workspace, "df-ud", tmp_path / "x.dfm")):
        with pytest.raises(InvalidOption, match="cuda:77"):
            load_model(path, device="cuda:77")
    with pytest.raises(InvalidOption, match="fp8"):
        load_model(workspace.model("df-ud"), precision="fp8")


def test_a_damaged_state_is_passed_over_and_said(workspace: Workspace, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(workspace.model("df-ud"), tmp_path / "model"))
    found = CheckpointStore(folder).newest()
    assert found is not None
    newer = CheckpointStore(folder).save(9, weights=found.weights, optimiser=None, state={})
    os.truncate(newer / WEIGHTS, 1000)
    events: list[Event] = []
    assert load_model(folder, report=events.append).iteration == 4
    assert [event.level for event in events if isinstance(event, Note)] == ["warning"]
    os.truncate(folder / "checkpoints" / f"{4:09d}" / WEIGHTS, 1000)
    with pytest.raises(CorruptCheckpoint):
        load_model(folder)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "other"])
@pytest.mark.parametrize("part", ["data.dat", "encoder.npy"])
def test_damaged_flat_files_are_named(workspace: Workspace, tmp_path: Path, part: str, damage: str) -> None:
    folder = Path(shutil.copytree(workspace.root / "flat" / "df-ud", tmp_path / "flat"))
    file = folder / f"df-ud_SAEHD_{part}"
    if damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "missing":
        file.unlink()
    else:  # another class's encoder, and no table at all
        other = {"encoder.npy": "Quick96/Quick96_Quick96_encoder.npy", "data.dat": "liae/liae_SAEHD_summary.txt"}[part]
        shutil.copy(workspace.root / "flat" / other, file)
    with pytest.raises(UnderstudyError) as caught:
        load_model(folder / "df-ud")
    assert caught.value.hint


def test_a_file_that_is_no_dfm(tmp_path: Path) -> None:
    (tmp_path / "x.dfm").write_bytes(b"no network")
    with pytest.raises(IncompatibleModel, match=r"x\.dfm"):
        load_model(tmp_path / "x.dfm")


def test_a_folder_that_may_only_be_read(workspace: Workspace, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(workspace.model("df-ud"), tmp_path / "model"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert load_model(folder).iteration == 4
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
