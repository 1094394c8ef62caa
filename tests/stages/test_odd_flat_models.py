"""Flat models as nobody would make them, brought in and handed back."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_models import Flat, write_flat
from understudy.errors import MissingModel, ModelError, ReadOnlyWorkspace, UsageError, WorkspaceError
from understudy.interop.dfm_options import DfmOptions
from understudy.interop.import_options import ModelImportOptions
from understudy.networks.dfm import DfmMetadata
from understudy.stages.export_dfl import export_dfl
from understudy.stages.export_dfm import export_dfm
from understudy.stages.model_import import import_models
from understudy.stages.publishing import PREFIX, finish_publishing
from understudy.workspace import Workspace
from users import ordinary_user

SMALLEST = {"resolution": 16, "ae_dims": 2, "e_dims": 1, "d_dims": 1, "d_mask_dims": 1, "gan_patch_size": 3}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.fixture
def flat(tmp_path: Path) -> Flat:
    return write_flat(tmp_path / "elsewhere", archi="df", iteration=20, discriminators=("GAN",), gan_dims=4, **SMALLEST)


def there_and_back(workspace: Workspace, flat: Flat) -> tuple[list[str], dict[str, Any]]:
    """What the import said, and the `data.dat` of the export."""
    result = import_models(workspace, flat.folder)
    export_dfl(workspace, "new")
    return result.notes["models"][0]["notes"], pickle.loads((workspace.models / "new_SAEHD_data.dat").read_bytes())


@pytest.mark.parametrize(("iteration", "kept"), [(5, 5), (0, 0)])
def test_there_are_no_more_losses_than_iterations(workspace: Workspace, flat: Flat, iteration: int, kept: int) -> None:
    flat.change("data.dat", lambda data: data.update(iter=iteration))
    said, data = there_and_back(workspace, flat)
    assert any(f"20 losses for {iteration} iterations" in note for note in said)
    if kept:
        assert data["loss_history"] == flat.data["loss_history"][-kept:]


def test_losses_that_are_no_numbers_go_back_as_they_came(workspace: Workspace, flat: Flat) -> None:
    flat.change("data.dat", lambda data: data.update(loss_history=[[float("nan"), float("inf")]] * 3))
    _, data = there_and_back(workspace, flat)
    np.testing.assert_array_equal(data["loss_history"], [[np.nan, np.inf]] * 3)


def test_a_count_near_the_most_takes_no_room(workspace: Workspace, flat: Flat) -> None:
    """A row of losses for each of a billion iterations would be 16 GB."""
    flat.change("data.dat", lambda data: data.update(iter=10**9 - 1))
    _, data = there_and_back(workspace, flat)
    assert (data["iter"], data["loss_history"]) == (10**9 - 1, flat.data["loss_history"])


def test_half_an_iteration_is_none(workspace: Workspace, flat: Flat) -> None:
    flat.change("data.dat", lambda data: data.update(iter=12.5))
    with pytest.raises(ModelError, match="sensible iteration count"):
        import_models(workspace, flat.folder)


@pytest.mark.parametrize(
    "odd", [{"gan_patch_size": "x"}, {"gan_patch_size": None}, {"gan_dims": [1]}, {"gan_dims": -3}]
)
def test_options_of_no_sense_go_back_as_they_came(workspace: Workspace, flat: Flat, odd: dict[str, Any]) -> None:
    flat.change("data.dat", lambda data: data["options"].update(odd))
    _, data = there_and_back(workspace, flat)
    assert {name: data["options"][name] for name in odd} == odd


def test_options_of_text_that_is_none_go_back_as_they_came(workspace: Workspace, flat: Flat) -> None:
    flat.change("data.dat", lambda data: data["options"].update({"a\udcff": "\ud800"}))
    _, data = there_and_back(workspace, flat)
    assert data["options"]["a\udcff"] == "\ud800"
    assert "\\ud800" in (workspace.models / "new_SAEHD_summary.txt").read_text(encoding="utf-8")


def test_a_network_that_cannot_be_built_is_not_blamed_on_a_file_that_is_not_there(
    workspace: Workspace, flat: Flat
) -> None:
    flat.change("data.dat", lambda data: data["options"].update(resolution=17))
    with pytest.raises(ModelError, match="17 px") as caught:
        import_models(workspace, flat.folder)
    assert "model.json" not in caught.value.message + caught.value.hint
    assert "data.dat" in caught.value.hint


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("put", [a_folder, a_loop])
def test_what_is_no_file_is_not_called_another_name(
    workspace: Workspace, flat: Flat, put: Callable[[Path], None]
) -> None:
    path = flat.file("encoder.npy")
    path.unlink()
    try:
        put(path)
    except OSError:
        pytest.skip("links need rights here")
    with pytest.raises(ModelError, match=r"is missing: new_SAEHD_encoder\.npy") as caught:
        import_models(workspace, flat.folder)
    assert "it is no file" in caught.value.hint


def test_a_backup_that_stays_behind_is_in_the_result(workspace: Workspace, flat: Flat) -> None:
    slot = flat.folder / "new_SAEHD_autobackups" / "01"
    write_flat(slot, archi="df", iteration=10, **SMALLEST)
    data = slot / "new_SAEHD_data.dat"
    data.write_bytes(data.read_bytes()[:30])
    (model,) = import_models(workspace, flat.folder, ModelImportOptions(backups=True)).notes["models"]
    assert (model["backups"], model["backups_found"]) == (0, 1)
    assert any("backup new_SAEHD_autobackups/01 was not brought over" in note for note in model["notes"])


@pytest.mark.parametrize("name", ["CON", "nul.2", "dot.", "tab\tx", os.fsdecode(b"who\xff")])
def test_a_name_that_no_folder_can_have_asks_for_another(workspace: Workspace, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "elsewhere"
    try:
        write_flat(folder, name, archi="df", **SMALLEST)
    except OSError:
        pytest.skip("this system does not take such names")
    with pytest.raises(UsageError, match="cannot be a model name") as caught:
        import_models(workspace, folder)
    assert "--as" in caught.value.hint
    import_models(workspace, folder, ModelImportOptions(as_="other"))


def test_what_a_kill_left_is_swept_whatever_the_name(tmp_path: Path) -> None:
    left, other = (tmp_path / f".tmp-01234567-{PREFIX}{name}" for name in ("a[1]_SAEHD", "a1_SAEHD"))
    left.mkdir()
    other.mkdir()
    finish_publishing(tmp_path, "a[1]_SAEHD")
    assert (left.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize("shut", ["", "01"])
def test_backups_that_nobody_may_see_do_not_stop_an_import(shut: str) -> None:
    with ordinary_user() as folder:
        write_flat(folder / "elsewhere", archi="df", **SMALLEST)
        slots = folder / "elsewhere" / "new_SAEHD_autobackups"
        (slots / "01").mkdir(parents=True)
        (slots / shut).chmod(0)
        (model,) = import_models(Workspace.create(folder / "shot"), folder / "elsewhere").notes["models"]
        assert (model["name"], model["backups_found"]) == ("new", 0)


def test_a_folder_that_may_not_be_entered_is_no_place_for_an_export() -> None:
    for module in ("onnx", "onnxruntime"):  # here, since the other user may not see them
        pytest.importorskip(module)
    with ordinary_user() as folder:
        workspace = Workspace.create(folder / "shot")
        write_flat(workspace.models, archi="df", **SMALLEST)
        (folder / "shut").mkdir(mode=0)
        with pytest.raises(ReadOnlyWorkspace):
            export_dfl(workspace, "new", output=folder / "shut" / "inner")
        with pytest.raises(ReadOnlyWorkspace):
            export_dfm(workspace, "new", DfmOptions(output=folder / "shut" / "new.dfm"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place in which nobody can make a folder")
def test_a_place_that_does_not_exist_is_said_to_be_none(workspace: Workspace, flat: Flat) -> None:
    pytest.importorskip("onnxruntime")
    import_models(workspace, flat.folder)
    with pytest.raises(WorkspaceError, match="its place does not exist"):
        export_dfl(workspace, "new", output=Path("/proc/nowhere"))
    with pytest.raises(WorkspaceError, match="its place does not exist"):
        export_dfm(workspace, "new", DfmOptions(output=Path("/proc/nowhere/new.dfm")))


def test_a_dfm_is_not_called_missing(workspace: Workspace) -> None:
    (workspace.models / "drawn.dfm").write_bytes(b"any")
    with pytest.raises(MissingModel, match=r"drawn is a \.dfm file"):
        export_dfl(workspace, "drawn")


def test_what_a_dfm_says_of_itself_can_be_shown() -> None:
    told = {"understudy.iteration": "9" * 200, "understudy.archi": "\x1b[31mdf", "understudy.name": "a face"}
    known = DfmMetadata.of(told, Path("x.dfm"))
    assert (known.iteration, known.archi, known.name) == (None, None, "a face")
