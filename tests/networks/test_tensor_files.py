"""Files of tensors that are written one at a time, byte for byte as the format's own library writes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.networks.tensor_files import TensorKind, read_tensors, write_tensors


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(2, 3, 5, 7, generator=generator)
    return {
        "weight": torch.randn(3, 4, generator=generator),
        "steps": torch.tensor(5),
        "half": picture.half(),
        "bfloat": picture.bfloat16(),
        "channels_last": picture.to(memory_format=torch.channels_last),
        "turned": picture.permute(1, 0, 3, 2),
        "double": picture.double(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "yes": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "ä name": torch.zeros(1, requires_grad=True),
    }


def test_the_file_is_the_librarys_own(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    given = tensors()
    written = write_tensors(ours, given)
    save_file({name: value.detach().contiguous() for name, value in given.items()}, theirs)
    assert ours.read_bytes() == theirs.read_bytes()
    assert written.size_bytes == ours.stat().st_size
    assert written.sha256 == hashlib.sha256(ours.read_bytes()).hexdigest()
    found = load_file(ours)
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], value) for name, value in given.items())


def test_arrays_are_written_in_the_files_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    given = {"big": np.arange(6, dtype=">f4").reshape(2, 3), "turned": np.arange(6.0).reshape(2, 3).T}
    write_tensors(path, given)
    found = read_tensors(path)
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value)
    assert read_tensors(tmp_path / "nowhere") == {}


class Elsewhere:
    """Tensors that are made when they are asked for."""

    def __init__(self, shape: tuple[int, ...] = (3, 2)) -> None:
        self.kinds = {"b": TensorKind("F32", (3, 2)), "a": TensorKind("F32", (2,))}
        self.shape, self.asked = shape, []

    def read(self, name: str) -> Tensor:
        self.asked.append(name)
        return torch.ones(self.shape if name == "b" else 2)


def test_a_source_is_asked_for_one_tensor_after_the_other(tmp_path: Path) -> None:
    source, done = Elsewhere(), []
    write_tensors(tmp_path / "file.safetensors", source, each=done.append)
    assert source.asked == done == ["a", "b"]
    assert load_file(tmp_path / "file.safetensors")["b"].shape == (3, 2)


def test_a_source_that_gives_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="b is"):
        write_tensors(tmp_path / "file.safetensors", Elsewhere(shape=(2, 3)))
    with pytest.raises(ValueError, match="complex64"):
        write_tensors(tmp_path / "file.safetensors", {"z": torch.zeros(2, dtype=torch.complex64)})
