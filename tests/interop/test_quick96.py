"""Flat Quick96 files of the reference: read whole, or refused with the file and the tensor named."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_faces import SMALL
from understudy.errors import IncompatibleModel, MissingModel, UnsafeFile
from understudy.facesets import pickles
from understudy.interop.flat import find_flat_model, find_flat_models, iteration_in
from understudy.interop.layout import to_reference
from understudy.interop.quick96 import NETWORKS, read_flat_quick96, read_pretrained_quick96
from understudy.networks.quick96 import Quick96


def small_net(seed: int) -> Quick96:
    return Quick96(SMALL, generator=torch.Generator().manual_seed(seed))


def optimiser_file(net: Quick96) -> dict[str, Any]:
    """RMSprop's squares as the reference names them: the weights themselves, so that a mix-up shows."""
    stored: dict[str, Any] = {"iters:0": np.int64(77)}
    for network, tensors in to_reference(net.state_dict()).items():
        for name, value in tensors.items():
            stored[f"acc_{network}/{name.removesuffix(':0')}_0:0"] = value
    return stored


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A model folder of the reference with one small Quick96 model, my_face."""
    net = small_net(1)
    for network, tensors in to_reference(net.state_dict()).items():
        (tmp_path / f"my_face_Quick96_{network}.npy").write_bytes(pickles.dumps(tensors, 4))
    (tmp_path / "my_face_Quick96_src_dst_opt.npy").write_bytes(pickles.dumps(optimiser_file(net), 4))
    data = {
        "iter": 1234,
        "options": {"batch_size": np.int64(6)},
        "loss_history": [[0.5, 0.25], [0.4, 0.2]],
        "sample_for_preview": None,
        "choosed_gpu_indexes": None,
    }
    (tmp_path / "my_face_Quick96_data.dat").write_bytes(pickles.dumps(data, 3))
    (tmp_path / "my_face_Quick96_summary.txt").write_text("== summary ==")
    return tmp_path


def read(folder: Path) -> Any:
    model = find_flat_model(folder, "my_face")
    assert model is not None
    return read_flat_quick96(model, small_net(2))


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    found = pickles.loads(path.read_bytes())
    edit(found)
    path.write_bytes(pickles.dumps(found, 4))


def test_everything_in_the_files_comes_over(flat: Path) -> None:
    found = read(flat)
    original = small_net(1).state_dict()
    assert found.weights.keys() == original.keys()
    assert all(torch.equal(found.weights[name], original[name]) for name in original)
    assert all(torch.equal(found.squares[name], original[name]) for name in original)
    assert (found.iteration, found.optimiser_steps) == (1234, 77)
    assert found.options == {"batch_size": 6}
    assert found.losses == [(0.5, 0.25), (0.4, 0.2)]
    assert found.notes == []


def test_a_model_keeps_underscores_in_its_name_and_says_what_it_is(flat: Path) -> None:
    (flat / "other_SAEHD_data.dat").write_bytes(pickles.dumps({"iter": 5}, 3))
    (flat / "XSeg_data.dat").write_bytes(pickles.dumps({"iter": 70000}, 4))
    (flat / "_Quick96_data.dat").write_bytes(b"")  # no name, no model
    found = {model.name: model for model in find_flat_models(flat)}
    assert {name: (model.model_class, model.iteration, model.importable) for name, model in found.items()} == {
        "my_face": ("Quick96", 1234, True),
        "other": ("SAEHD", 5, False),
        "XSeg": ("XSeg", 70000, False),
    }
    assert len(found["my_face"].files) == 7


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_iteration_is_read_without_reading_the_file(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "data.dat"
    history = [[0.1, 0.2]] * 5000
    path.write_bytes(pickle.dumps({"iter": 123456, "options": {}, "loss_history": history}, protocol))
    assert iteration_in(path) == 123456
    path.write_bytes(b"not a pickle")
    assert iteration_in(path) is None


@pytest.mark.parametrize("network", NETWORKS)
def test_a_missing_file_is_named(flat: Path, network: str) -> None:
    (flat / f"my_face_Quick96_{network}.npy").unlink()
    with pytest.raises(MissingModel, match=f"my_face_Quick96_{network}.npy"):
        read(flat)


def test_a_missing_tensor_is_named_with_its_file(flat: Path) -> None:
    change(flat / "my_face_Quick96_inter.npy", lambda tensors: tensors.pop("dense2/bias:0"))
    with pytest.raises(IncompatibleModel, match=r"my_face_Quick96_inter\.npy has no tensor dense2/bias:0"):
        read(flat)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(flat: Path) -> None:
    key = "down1/downs_1/conv1/weight:0"
    path = flat / "my_face_Quick96_encoder.npy"
    change(path, lambda tensors: tensors.update({key: tensors[key][..., :-1]}))
    with pytest.raises(IncompatibleModel) as caught:
        read(flat)
    for part in (path.name, key, "(5, 5, 8, 15)", "(5, 5, 8, 16)"):
        assert part in caught.value.message


def test_a_file_cut_off_is_named(flat: Path) -> None:
    path = flat / "my_face_Quick96_decoder_src.npy"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnsafeFile, match=path.name):
        read(flat)


class Hostile:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["encoder.npy", "src_dst_opt.npy", "data.dat"])
def test_no_file_runs_code(flat: Path, name: str) -> None:
    bait = flat / "was_here"
    (flat / f"my_face_Quick96_{name}").write_bytes(pickle.dumps({"iter": Hostile(bait)}))
    if name == "src_dst_opt.npy":
        assert read(flat).squares is None
    else:
        with pytest.raises(UnsafeFile, match=name):
            read(flat)
    assert not bait.exists()


def _shorten(tensors: dict[str, Any]) -> None:
    tensors.pop("acc_inter/dense1/weight_0:0")


@pytest.mark.parametrize("damage", ["missing", "cut", "short"])
def test_an_optimiser_that_cannot_be_used_is_a_note(flat: Path, damage: str) -> None:
    path = flat / "my_face_Quick96_src_dst_opt.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, 100)
    else:
        change(path, _shorten)
    found = read(flat)
    assert found.squares is None
    assert len(found.notes) == 1
    assert path.name in found.notes[0]


def test_numbers_of_another_type_are_taken_as_float32(flat: Path) -> None:
    """The reference casts whatever it reads."""
    change(
        flat / "my_face_Quick96_inter.npy",
        lambda tensors: tensors.update({name: value.astype(np.float16) for name, value in tensors.items()}),
    )
    found = read(flat)
    assert found.weights["inter.dense1.weight"].dtype == torch.float32


def test_a_pretrained_folder_has_no_prefixes(flat: Path) -> None:
    for path in list(flat.iterdir()):
        path.rename(flat / path.name.removeprefix("my_face_Quick96_"))
    found = read_pretrained_quick96(flat, small_net(2))
    assert torch.equal(found.weights["inter.dense1.weight"], small_net(1).state_dict()["inter.dense1.weight"])
    assert found.iteration == 0
    with pytest.raises(MissingModel):
        read_pretrained_quick96(flat / "nowhere", small_net(2))
