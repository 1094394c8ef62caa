"""The reference's flat files, from tensors that are somewhere else."""

from __future__ import annotations

import pickle
import pickletools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.facesets import pickles
from understudy.interop.flat_writing import (
    as_the_reference_types,
    network_files,
    optimiser_files,
    summary_text,
    write_data,
    write_flat_file,
)


class Made:
    """Tensors of these shapes, made when they are read."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.shapes = {name.replace("__", "."): shape for name, shape in shapes.items()}

    def read(self, name: str) -> NDArray[Any]:
        return np.full(self.shapes[name], len(name), np.float32)


def named(*names: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, (1,))


def test_each_network_is_a_file_and_strange_tensors_are_left() -> None:
    found = network_files("SAEHD", named("inter.dense1.weight", "encoder.down1.downs_0.conv1.bias", "ema.x.weight"))
    assert [file.name for file in found.files] == ["encoder.npy", "inter.npy"]
    assert found.left == ("ema.x.weight",)
    (entry,) = found.files[0].entries
    assert entry.key == "down1/downs_0/conv1/bias:0"


def test_ten_convolutions_are_counted_not_spelt() -> None:
    names = [f"gan.convs_{index}.weight" for index in (10, 2, 0, 1, 9)]
    (file,) = network_files("AMP", named(*names)).files
    assert [entry.key for entry in file.entries] == [f"convs_{index}/weight:0" for index in (0, 1, 2, 9, 10)]


def test_the_extra_mask_stage_comes_last_with_d_and_among_its_like_with_t() -> None:
    def order(*blocks: str) -> list[str]:
        names = [f"decoder.{block}.weight" for block in reversed(blocks)]
        (file,) = network_files("SAEHD", named(*names)).files
        return [entry.key.removesuffix("/weight:0") for entry in file.entries]

    ups = [f"upscale{index}.conv1" for index in range(3)]
    assert order(*ups, "upscalem2.conv1", "upscalem3.conv1", "out_conv", "out_conv1", "out_convm")[3:] == [
        "upscalem2/conv1", "out_conv", "out_conv1", "upscalem3/conv1", "out_convm",
    ]  # fmt: skip
    assert order(*ups, "upscale3.conv1", "upscalem3.conv1", "out_conv", "out_convm")[4:] == [
        "upscalem3/conv1", "out_conv", "out_convm",
    ]  # fmt: skip


def test_moments_carry_the_scope_of_their_network() -> None:
    weights = ["encoder.dense1.bias", "inter_src.dense2.bias", "gan.in_conv.bias"]
    state = named(
        "kind", "iterations", "generator", "scale", "first.encoder.dense1.bias", "second.encoder.dense1.bias",
        "first.inter_src.dense2.bias", "second.inter_src.dense2.bias",
        "gan/iterations", "gan/first.in_conv.bias", "gan/second.in_conv.bias",
    )  # fmt: skip
    found = optimiser_files("AMP", state, weights)
    main, judge = found.files
    assert (main.name, main.counter) == ("src_dst_opt.npy", "iterations")
    assert [entry.key for entry in main.entries] == ["ms_encoder/dense1/bias_0:0", "vs_encoder/dense1/bias_0:0"]
    assert (judge.name, judge.counter) == ("GAN_opt.npy", "gan/iterations")
    assert [entry.key for entry in judge.entries] == ["ms_GAN/in_conv/bias_0:0", "vs_GAN/in_conv/bias_0:0"]
    assert found.left == ("first.inter_src.dense2.bias", "second.inter_src.dense2.bias")  # the reference has none

    judge = optimiser_files("SAEHD", state, weights).files[1]
    assert judge.entries[0].key == "ms_D_src/in_conv/bias_0:0"
    (mask,) = optimiser_files("XSeg", named("iterations", "moment.conv01.tlu.tau"), ["conv01.tlu.tau"]).files
    assert mask.name == "256_opt.npy"
    assert [entry.key for entry in mask.entries] == ["acc_XSeg/conv01/tlu/tau_0:0"]


def test_a_moment_that_is_missing_is_left_to_the_reference() -> None:
    weights = ["encoder.a.weight", "encoder.a.bias"]
    (file,) = optimiser_files("SAEHD", named("iterations", "moment.encoder.a.bias"), weights).files
    assert [entry.key for entry in file.entries] == ["acc_encoder/a/bias_0:0"]
    assert optimiser_files("SAEHD", named("iterations", "generator"), weights).files == ()


def test_files_are_pickles_that_python_itself_reads(tmp_path: Path) -> None:
    tensors = Made(encoder__dense1__weight=(3, 5), encoder__dense1__bias=(3,), iterations=())
    (file,) = network_files("AMP", {"encoder.dense1.weight": (3, 5), "encoder.dense1.bias": (3,)}).files
    write_flat_file(tmp_path / "e.npy", file, tensors)
    data = (tmp_path / "e.npy").read_bytes()
    found = pickle.loads(data)
    assert list(found) == ["dense1/weight:0", "dense1/bias:0"]
    assert found["dense1/weight:0"].shape == (5, 3)
    assert found["dense1/weight:0"].flags.c_contiguous
    assert data[:2] == b"\x80\x04"
    opcodes = {opcode.name: value for opcode, value, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}
    assert opcodes
    assert b"numpy._core" not in data


def test_a_file_is_written_with_the_room_of_its_largest_tensor(tmp_path: Path) -> None:
    tensors = Made(**{f"inter__d{index}__bias": (1 << 20,) for index in range(24)})
    (file,) = network_files("SAEHD", tensors.shapes).files
    tracemalloc.start()
    write_flat_file(tmp_path / "i.npy", file, tensors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "i.npy").stat().st_size > 24 * 2**22
    assert peak < 5 * 2**22


def test_data_dat_has_the_five_entries_and_what_else_there_was(tmp_path: Path) -> None:
    path = tmp_path / "data.dat"
    sample = [[np.zeros((1, 2, 2, 3), np.float32)], []]
    write_data(
        path, iteration=2, options={"a": np.int64(3)}, losses=np.ones((2, 1)), sample_for_preview=sample, extra={"x": 1}
    )
    found = pickles.loads(path.read_bytes())
    assert list(found) == ["iter", "options", "loss_history", "sample_for_preview", "choosed_gpu_indexes", "x"]
    assert found["loss_history"] == [[1.0], [1.0]]
    assert type(found["options"]["a"]) is np.int64
    assert path.read_bytes()[:2] == b"\x80\x03"
    with pytest.raises(ValueError, match="never trained"):
        write_data(path, iteration=0, options={}, losses=np.ones((0, 2)))


def test_numbers_get_the_types_of_clipped_answers() -> None:
    options = {
        "resolution": 64,
        "archi": "df",
        "true_face_power": 0,
        "gan_power": 0.1,
        "batch_size": 4,
        "clipgrad": False,
    }
    typed = as_the_reference_types("SAEHD", options)
    assert typed == options
    assert {name: type(value) for name, value in typed.items()} == {
        "resolution": np.int64, "archi": str, "true_face_power": np.float64, "gan_power": np.float64,
        "batch_size": int, "clipgrad": bool,
    }  # fmt: skip
    assert type(as_the_reference_types("SAEHD", options | {"archi": "liae"})["true_face_power"]) is int
    assert type(as_the_reference_types("XSeg", {"batch_size": 4})["batch_size"]) is np.int64


def test_the_summary_is_as_wide_as_its_longest_line() -> None:
    text = summary_text("new_SAEHD", 12, {"archi": "df", "a rather long name of an option": 1}, "us")
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "new_SAEHD" in text
    assert "==  " in lines[3]
