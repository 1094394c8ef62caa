"""A swapper written as a file draws what the network draws, in every architecture, and looks as live tools expect."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from understudy.errors import IncompatibleModel, MissingExtra
from understudy.interop import dfm_writing, onnx_graph, xseg_writing
from understudy.interop.dfm_quantising import write_int8
from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.dfm import DfmNetwork
from understudy.networks.onnx_files import OnnxNetwork
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.networks.saehd import SaehdConfig, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = 64
SMALL = {"ae_dims": 16, "e_dims": 8, "d_dims": 8, "d_mask_dims": 8}
LETTERS = ["".join(chosen) for count in range(5) for chosen in combinations("udtc", count)]
Floats = NDArray[np.float32]

KNOWN_OPERATORS = {
    *("Transpose", "Conv", "Add", "LeakyRelu", "Reshape", "MatMul", "Sigmoid", "Concat"),
    *("Mul", "ReduceMean", "Sqrt", "Reciprocal", "Cos"),
}
"""Those of the reference's files in float32."""


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def lively(net: nn.Module) -> nn.Module:
    """The network with biases that are not zero and weights that make something of a face."""
    chance = seeded()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1 and name.endswith("bias"):
                weight.normal_(0, 0.1, generator=chance)
            elif weight.ndim > 1:
                weight.mul_(1.5)
    return net.eval().requires_grad_(False)


def saehd(archi: str, **changes: Any) -> nn.Module:
    return lively(
        saehd_network(SaehdConfig(archi=Archi.parse(archi), **{"size": SIZE, **SMALL, **changes}), generator=seeded())
    )


def amp(channels: int = 19) -> nn.Module:
    return lively(Amp(AmpConfig(size=SIZE, inter_dims=channels, **SMALL), generator=seeded()))


def faces(count: int = 2, size: int = SIZE) -> Floats:
    coarse = np.random.default_rng(5).random((count, size // 16, size // 16, 3), np.float32)
    return coarse.repeat(16, 1).repeat(16, 2)


def written(model: Any, folder: Path) -> DfmNetwork:
    onnx.checker.check_model(model, full_check=True)
    path = folder / "model.dfm"
    path.write_bytes(model.SerializeToString())
    return DfmNetwork(path, threads=1)


def drawn(net: Any, given: Floats, morph: float | None = None) -> list[Floats]:
    with torch.inference_mode():
        parts = net.swap(torch.from_numpy(given).permute(0, 3, 1, 2), morph)
    face, *masks = (part.permute(0, 2, 3, 1).numpy() for part in parts)
    return [face, *(mask[..., 0] for mask in masks)]


def apart(network: DfmNetwork, net: Any, given: Floats, morph: float | None = None) -> float:
    pairs = zip(network.predict(given, morph), drawn(net, given, morph), strict=True)
    return max(float(np.abs(one - other).max()) for one, other in pairs)


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("base", ["df", "liae"])
def test_every_architecture_draws_the_same(base: str, letters: str, tmp_path: Path) -> None:
    net = saehd(f"{base}-{letters}" if letters else base)
    model = dfm_writing.build(net)
    assert apart(written(model, tmp_path), net, faces()) < 1e-4
    assert {node.op_type for node in model.graph.node} <= KNOWN_OPERATORS


@pytest.mark.parametrize("archi", ["df-u", "liae-udtc"])
def test_half_precision_is_of_kernels_alone(archi: str, tmp_path: Path) -> None:
    """Dense layers and unit power stay float32, inputs and outputs too; the file has half the size, nearly."""
    net = saehd(archi)
    model = dfm_writing.build(net, half=True)
    network = written(model, tmp_path)
    assert 0 < apart(network, net, faces()) < 2e-2
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    for name, kind in kinds.items():
        wanted = onnx.TensorProto.FLOAT if ".dense" in name else onnx.TensorProto.FLOAT16
        assert kind == wanted, name
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    (mean,) = (node for node in model.graph.node if node.op_type == "ReduceMean")
    assert types[mean.output[0]] == onnx.TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {1}


def test_a_face_of_large_numbers_keeps_its_power_in_half_precision(tmp_path: Path) -> None:
    """Squares beyond 65504 are no numbers in half precision, which the reference's own files compute them in."""
    net: Any = saehd("df-u")
    with torch.no_grad():
        net.encoder.down1[-1].conv1.weight.mul_(400)
    assert apart(written(dfm_writing.build(net, half=True), tmp_path), net, faces()) < 2e-2


def test_morph_takes_as_many_channels_as_the_network(tmp_path: Path) -> None:
    """trunc(I·morph) in float32, at every place where it changes and beside it."""
    net = amp(channels=19)
    network = written(dfm_writing.build(net), tmp_path)
    assert network.has_morph
    edges = np.arange(20, dtype=np.float32) / np.float32(19)
    values = [0.0, 1.0, 0.75, *edges, *np.nextafter(edges[1:], np.float32(0))]
    different = set()
    for morph in map(float, values):
        assert apart(network, net, faces(1), morph) < 1e-4, morph
        different.add(network.predict(faces(1), morph)[0].tobytes())
    assert len(different) == 20


def test_quick96_is_written_as_the_df_that_it_is(tmp_path: Path) -> None:
    net = lively(Quick96(Quick96Config(size=SIZE, **SMALL), generator=seeded()))
    assert apart(written(dfm_writing.build(net), tmp_path), net, faces()) < 1e-4


def test_any_number_of_faces_goes_through_at_once(tmp_path: Path) -> None:
    network = written(dfm_writing.build(saehd("liae-ud")), tmp_path)
    many = faces(5)
    for one, whole in zip(network.predict(many[3:4]), network.predict(many), strict=True):
        np.testing.assert_allclose(one[0], whole[3], atol=1e-5)


def test_names_types_and_order_are_the_agreed_ones() -> None:
    """What a live tool asks a file before it takes it, and what it feeds and unpacks without asking."""
    for net, inputs in ((saehd("df-ud"), ["in_face:0"]), (amp(), ["in_face:0", "morph_value:0"])):
        model = dfm_writing.build(net, properties={"understudy.name": "hello"})
        assert [value.name for value in model.graph.input] == inputs
        sides = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
        assert sides == [0, SIZE, SIZE, 3]  # 0: open
        assert [value.name for value in model.graph.output] == [
            "out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0",
        ]  # fmt: skip
        assert [(item.domain, item.version) for item in model.opset_import] == [("", 12)]
        assert model.ir_version <= 8
        assert {item.key: item.value for item in model.metadata_props} == {"understudy.name": "hello"}


def test_the_face_branch_of_dst_is_left_out() -> None:
    """It draws dst as dst, which nobody asks for; in a DF model it is a quarter of the weights."""
    names = {tensor.name for tensor in dfm_writing.build(saehd("df")).graph.initializer}
    assert not any(
        name.startswith(("decoder_dst.upscale0", "decoder_dst.res", "decoder_dst.out_conv.")) for name in names
    )
    assert "decoder_dst.upscalem0.conv1.weight" in names


def test_a_model_too_large_for_one_file_is_refused_before_anything_is_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = saehd("df-ud")
    size = sum(4 * weight.numel() for weight in net.parameters())
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", size // 2)
    monkeypatch.setattr(onnx_graph, "as_onnx", lambda *_: pytest.fail("a weight was converted"))
    with pytest.raises(IncompatibleModel, match="GB") as caught:
        dfm_writing.build(net)
    assert "--quantize" in caught.value.hint
    assert size // 2 < caught.value.context["bytes"] < size
    monkeypatch.undo()
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", size // 2)
    dfm_writing.build(net, half=True)  # which is what the hint says


def test_eight_bits_keep_the_masks_edges(tmp_path: Path) -> None:
    net, path = saehd("liae-ud"), tmp_path / "small.dfm"
    write_int8(net, path, faces(6), properties={"understudy.name": "x"})
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert {item.domain for item in model.opset_import} == {""}
    assert [item.version for item in model.opset_import] == [13]
    assert (model.ir_version, model.producer_name) == (7, "understudy")
    kept = {tensor.name for tensor in model.graph.initializer if tensor.data_type == 1 and len(tensor.dims) == 4}
    assert kept == {
        "decoder.upscalem2.conv1.weight", "decoder.upscalem3.conv1.weight",
        "decoder.out_convm.weight", "decoder.out_convs.weight",
    }  # fmt: skip
    assert apart(DfmNetwork(path, threads=1), net, faces()) < 0.2


def test_the_morph_of_eight_bits_is_an_input_still(tmp_path: Path) -> None:
    net, path = amp(), tmp_path / "small.dfm"
    write_int8(net, path, faces(4), morphs=(0.0, 0.5, 1.0))
    network = DfmNetwork(path, threads=1)
    for morph in (0.0, 0.4, 1.0):
        assert apart(network, net, faces(), morph) < 0.2


def test_xseg_is_written_with_its_masks_as_they_are(tmp_path: Path) -> None:
    """Not cut off below 0.1, which is left to whoever reads them; colours turned round."""
    net = lively(XSeg(XSegConfig(size=64, base_dims=4), generator=seeded()))
    model = xseg_writing.build(net)  # type: ignore[arg-type]
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "XSeg_model.onnx"
    path.write_bytes(model.SerializeToString())
    given = faces()
    mask = np.concatenate([OnnxNetwork(path, threads=1).run(face[..., ::-1])["out_mask:0"] for face in given])
    with torch.inference_mode():
        expected = torch.sigmoid(net(torch.from_numpy(given).permute(0, 3, 1, 2))).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(mask, expected, atol=1e-3)
    with pytest.raises(IncompatibleModel, match="draws no faces"):
        dfm_writing.build(net)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx.helper", None)
    with pytest.raises(MissingExtra) as caught:
        dfm_writing.build(saehd("df"))
    assert "understudy[onnx]" in caught.value.hint
