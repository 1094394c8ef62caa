"""Which models a folder of the reference's files holds, from their names alone."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from understudy.interop.flat import (
    find_backups,
    find_flat_model,
    find_flat_models,
    flat_models_named,
    headless_models,
    iteration_in,
)


def put(folder: Path, *names: str) -> None:
    """Files with a `data.dat` that says iteration 5, and empty ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(pickle.dumps({"iter": 5}, 3) if "data.dat" in name else b"")


def found(folder: Path) -> dict[str, list[str]]:
    return {model.full_name: [path.name for path in model.files] for model in find_flat_models(folder)}


def test_a_name_is_everything_before_the_class(tmp_path: Path) -> None:
    put(tmp_path, "my_face 2_SAEHD_data.dat", "my_face 2_SAEHD_encoder.npy", "_AMP_data.dat", "SAEHD_data.dat")
    put(tmp_path, "XSeg_data.dat", "XSeg_256.npy", "SAEHD_default_options.dat", "notes.txt")
    assert found(tmp_path) == {
        "my_face 2_SAEHD": ["my_face 2_SAEHD_data.dat", "my_face 2_SAEHD_encoder.npy"],
        "XSeg": ["XSeg_256.npy", "XSeg_data.dat"],
    }
    model = find_flat_model(tmp_path, "my_face 2")
    assert model is not None
    assert (model.name, model.model_class, model.iteration) == ("my_face 2", "SAEHD", 5)


def test_a_file_belongs_to_the_longest_name_that_fits(tmp_path: Path) -> None:
    put(tmp_path, "a_SAEHD_data.dat", "a_SAEHD_b_AMP_data.dat", "a_SAEHD_b_AMP_encoder.npy", "a_SAEHD_encoder.npy")
    put(tmp_path, "XSeg_data.dat", "XSeg_SAEHD_data.dat", "XSeg_SAEHD_inter.npy")
    assert found(tmp_path) == {
        "a_SAEHD": ["a_SAEHD_data.dat", "a_SAEHD_encoder.npy"],
        "a_SAEHD_b_AMP": ["a_SAEHD_b_AMP_data.dat", "a_SAEHD_b_AMP_encoder.npy"],
        "XSeg": ["XSeg_data.dat"],
        "XSeg_SAEHD": ["XSeg_SAEHD_data.dat", "XSeg_SAEHD_inter.npy"],
    }


def test_several_classes_of_one_name_are_several_models(tmp_path: Path) -> None:
    put(tmp_path, "new_SAEHD_data.dat", "new_AMP_data.dat", "new_Quick96_data.dat")
    os.utime(tmp_path / "new_SAEHD_data.dat", (9e9, 9e9))
    models = find_flat_models(tmp_path)
    assert flat_models_named(models, "new")[0].model_class == "SAEHD", "the one saved last"
    assert [model.model_class for model in flat_models_named(models, "new_AMP")] == ["AMP"]
    assert flat_models_named(models, "old") == []


def test_the_mask_network_is_one_without_its_data(tmp_path: Path) -> None:
    put(tmp_path, "XSeg_256.npy", "XSeg_256_opt.npy")
    (model,) = find_flat_models(tmp_path)
    assert (model.name, model.model_class, model.iteration) == ("XSeg", "XSeg", None)


def test_what_an_interrupted_save_left_is_a_part(tmp_path: Path) -> None:
    put(tmp_path, "new_AMP_data.dat.tmp", "new_AMP_encoder.npy", "new_AMP_encoder.npy.tmp", "new_AMP_decoder.npy.tmp")
    (model,) = find_flat_models(tmp_path)
    parts = {what: path.name for what in ("data.dat", "encoder.npy", "decoder.npy") if (path := model.part(what))}
    assert parts == {
        "data.dat": "new_AMP_data.dat.tmp",
        "encoder.npy": "new_AMP_encoder.npy",
        "decoder.npy": "new_AMP_decoder.npy.tmp",
    }
    assert model.part("inter_src.npy") is None


def test_weights_without_data_are_known_by_name(tmp_path: Path) -> None:
    put(tmp_path, "good_SAEHD_data.dat", "good_SAEHD_encoder.npy", "lost_AMP_inter_src.npy", "x_SAEHD_notes.npy")
    assert headless_models(tmp_path) == ["lost_AMP"]
    assert headless_models(tmp_path / "nowhere") == []
    assert find_flat_models(tmp_path / "nowhere") == []


def test_backups_are_found_newest_first(tmp_path: Path) -> None:
    put(tmp_path, "new_SAEHD_data.dat")
    for slot in ("02", "01", "10"):
        put(tmp_path / "new_SAEHD_autobackups" / slot, "new_SAEHD_data.dat", "other_SAEHD_data.dat")
    (tmp_path / "new_SAEHD_autobackups" / "03").mkdir()
    (model,) = find_flat_models(tmp_path)
    assert [backup.folder.name for backup in find_backups(model)] == ["01", "02", "10"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_iteration_is_read_without_reading_the_file(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "data.dat"
    history = [[0.1, 0.2]] * 5000
    path.write_bytes(pickle.dumps({"iter": 123456, "options": {}, "loss_history": history}, protocol))
    assert iteration_in(path) == 123456
    for garbage in (b"", b"not a pickle", b"\x80\x04\x95", b"\x80\x04K"):
        path.write_bytes(garbage)
        assert iteration_in(path) is None
