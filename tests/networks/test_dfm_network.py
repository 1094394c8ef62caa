"""Files for live use are read from anyone, and nothing that only looks like one gets further than its first look."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import IncompatibleModel, MissingEngine, MissingExtra, UsageError
from understudy.networks.dfm import DfmMetadata, DfmNetwork, face_type_of_name
from understudy.records import FaceType

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, DOUBLE, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.UINT8

SIZE = 16
FACE = ("in_face:0", FLOAT, ["N", SIZE, SIZE, 3])
MORPH = ("morph_value:0", FLOAT, [1])
MASK, DRAWN, DRAWN_MASK = (
    ("one", FLOAT, ["N", SIZE, SIZE, 1]),
    ("two", FLOAT, ["N", SIZE, SIZE, 3]),
    ("three", FLOAT, ["N", SIZE, SIZE, 1]),
)


def swapper(
    path: Path,
    *,
    inputs: Sequence[tuple[str, int, list[Any]]] = (FACE,),
    outputs: Sequence[tuple[str, int, list[Any]]] = (MASK, DRAWN, DRAWN_MASK),
    nodes: Sequence[Any] = (),
    weights: Sequence[Any] = (),
    properties: dict[str, str] | None = None,
    opset: int = 12,
) -> Path:
    """A file that gives the face back, with its blue (channel 0 of BGR) as dst's mask and its red as the other."""
    numbers = [numpy_helper.from_array(np.array([place], np.int64), f"at{place}") for place in (0, 1, 2, 3)]
    usual = [
        helper.make_node("Slice", [inputs[0][0], "at0", "at1", "at3"], ["one"]),
        helper.make_node("Slice", [inputs[0][0], "at2", "at3", "at3"], ["three"]),
        helper.make_node("Identity" if len(inputs) == 1 else "Mul", [item[0] for item in inputs[:2]], ["two"]),
    ]
    graph = helper.make_graph(
        [*nodes, *usual] if not nodes or len(nodes) < 4 else list(nodes),
        "test",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(*item) for item in outputs],
        [*numbers, *weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 7
    helper.set_model_props(model, properties or {})
    path.write_bytes(model.SerializeToString())
    return path


def faces(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(count).random((count, SIZE, SIZE, 3), np.float32)


def test_colours_and_order_are_turned_into_ours(tmp_path: Path) -> None:
    network = DfmNetwork(swapper(tmp_path / "same.dfm"), threads=1)
    given = faces(3)
    face, mask_swap, mask_dst = network.predict(given)
    np.testing.assert_array_equal(face, given)  # turned round on the way in and out
    np.testing.assert_array_equal(mask_dst, given[..., 2])  # the first output is dst's mask: here blue, our channel 2
    np.testing.assert_array_equal(mask_swap, given[..., 0])
    assert (network.size, network.has_morph) == (SIZE, False)
    assert all(part.shape == (0, SIZE, SIZE, 3)[: part.ndim] for part in network.predict(faces(3)[:0]))
    with pytest.raises(UsageError, match="16,16,3"):
        network.predict(np.zeros((1, 8, 8, 3), np.float32))


def test_names_need_only_contain_what_live_tools_look_for(tmp_path: Path) -> None:
    inputs = [("the_in_face_x", FLOAT, [1, SIZE, SIZE, 3]), ("some_morph_value", FLOAT, ["M"])]
    network = DfmNetwork(swapper(tmp_path / "odd.dfm", inputs=inputs), threads=1)
    given = faces(2)  # one after the other: this file takes one face at a time
    for morph, share in ((0.25, 0.25), (None, 1.0), (-3.0, 0.0), (7.0, 1.0)):
        np.testing.assert_allclose(network.predict(given, morph)[0], given * share, rtol=1e-6)
    assert network.has_morph


def test_what_is_drawn_stays_in_range(tmp_path: Path) -> None:
    """Values beyond 0..1 are cut off; what is no number at all is refused."""
    big = numpy_helper.from_array(np.array([4.0], np.float32), "big")
    grown = [helper.make_node("Mul", ["in_face:0", "big"], ["grown"])]
    path = swapper(tmp_path / "big.dfm", nodes=grown, weights=[big])
    model = onnx.load(str(path))
    model.graph.node[-1].input[0] = "grown"
    path.write_bytes(model.SerializeToString())
    given = faces(1)
    np.testing.assert_allclose(DfmNetwork(path, threads=1).predict(given)[0], np.clip(4 * given, 0, 1), rtol=1e-6)
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([np.nan], np.float32), "big"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(IncompatibleModel, match="no finite numbers"):
        DfmNetwork(path, threads=1).predict(given)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inputs": [("picture", FLOAT, FACE[2])]}, "picture"),
        ({"inputs": [FACE, ("strength", FLOAT, [1])]}, "strength"),
        ({"inputs": [FACE, MORPH, ("third", FLOAT, [1])]}, "third"),
        ({"inputs": [FACE, ("morph_value:0", FLOAT, [2])]}, "morph value"),
        ({"inputs": [("in_face:0", FLOAT, ["N", "H", "W", 3])]}, "fixed S"),
        ({"inputs": [("in_face:0", FLOAT, ["N", SIZE, 2 * SIZE, 3])]}, "fixed S"),
        ({"inputs": [("in_face:0", FLOAT, ["N", 3, SIZE, SIZE])]}, "fixed S"),
        ({"inputs": [("in_face:0", FLOAT, ["N", 4, 4, 3])]}, "fixed S"),
        ({"inputs": [("in_face:0", DOUBLE, FACE[2])]}, "double"),
        ({"outputs": [MASK, DRAWN]}, "2 outputs"),
        ({"outputs": [DRAWN, MASK, DRAWN_MASK]}, "output"),
    ],
)
def test_other_networks_are_named_for_what_they_are(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    if change.get("inputs", [FACE])[0][1] == DOUBLE:
        change = {**change, "outputs": [(name, DOUBLE, shape) for name, _, shape in (MASK, DRAWN, DRAWN_MASK)]}
    with pytest.raises(IncompatibleModel, match=says):
        DfmNetwork(swapper(tmp_path / "other.dfm", **change), threads=1).predict(faces(1))


def bomb(name: str) -> dict[str, Any]:
    """Nodes and weights of a small file that would compute far too much, or do something else than compute."""
    huge = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "huge")
    half = numpy_helper.from_array(np.ones((1 << 16, 1), np.float32), "half")
    one = numpy_helper.from_array(np.float32(1), "value")
    node = helper.make_node
    if name == "a constant of 2**40 numbers":
        return {"nodes": [node("ConstantOfShape", ["huge"], ["b"])], "weights": [huge]}
    if name == "a product of two long vectors":
        turned = [node("Transpose", ["half"], ["flat"]), node("MatMul", ["half", "flat"], ["b"])]
        return {"nodes": turned, "weights": [half]}
    if name == "a size that is computed":
        sums = [
            node("ReduceMax", ["in_face:0"], ["m"], keepdims=0),
            node("Cast", ["m"], ["s"], to=onnx.TensorProto.INT64),
            node("Range", ["at", "s", "step"], ["b"]),
        ]
        scalars = [numpy_helper.from_array(np.int64(value), key) for key, value in (("at", 0), ("step", 1))]
        return {"nodes": sums, "weights": scalars}
    if name == "a doubling, thirty times":
        chain = [node("Concat", [f"b{i}", f"b{i}"], [f"b{i + 1}"], axis=1) for i in range(30)]
        same = node("Identity", ["in_face:0"], ["b0"])
        tail = onnx.load_from_string(swapper(Path("unused.dfm")).read_bytes()).graph.node
        return {"nodes": [same, *chain, *tail]}
    if name == "an operator of a library":
        return {"nodes": [node("Run", ["in_face:0"], ["b"], domain="my.library")]}
    if name == "a branch":
        body = helper.make_graph(
            [node("Identity", ["value"], ["v"])], "b", [], [helper.make_tensor_value_info("v", FLOAT, [])]
        )
        yes = numpy_helper.from_array(np.array(True), "yes")
        return {"nodes": [node("If", ["yes"], ["b"], then_branch=body, else_branch=body)], "weights": [one, yes]}
    if name == "weights in another file":
        outside = numpy_helper.from_array(np.ones(3, np.float32), "outside")
        onnx.external_data_helper.set_external_data(outside, location="/etc/passwd")
        outside.ClearField("raw_data")
        return {"nodes": [node("Identity", ["outside"], ["b"])], "weights": [outside]}
    if name == "weights of more numbers than bytes":
        empty = onnx.TensorProto(name="empty", dims=[1 << 40], data_type=FLOAT, raw_data=b"1234")
        return {"nodes": [node("Identity", ["empty"], ["b"])], "weights": [empty]}
    raise KeyError(name)


BOMBS = [
    "a constant of 2**40 numbers",
    "a product of two long vectors",
    "a size that is computed",
    "a doubling, thirty times",
    "an operator of a library",
    "a branch",
    "weights in another file",
    "weights of more numbers than bytes",
]


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_do_more_than_compute_a_face_are_not_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = swapper(tmp_path / "hostile.dfm", **bomb(name))
    opened = []
    monkeypatch.setattr("understudy.networks.dfm.open_session", lambda *_, **__: opened.append(1))
    with pytest.raises(IncompatibleModel, match="is not opened") as caught:
        DfmNetwork(path)
    assert not opened
    assert caught.value.hint


def test_other_files_and_broken_ones_are_said_to_be(tmp_path: Path) -> None:
    whole = swapper(tmp_path / "whole.dfm").read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"this is no network\n" * 20,
        "half": whole[: len(whole) // 2],
        "zeros": bytes(4096),
        "zip": b"PK\x03\x04" + bytes(100),
        "noise": np.random.default_rng(0).bytes(5000),
    }.items():
        path = tmp_path / f"{name}.dfm"
        path.write_bytes(content)
        with pytest.raises(IncompatibleModel, match=name):
            DfmNetwork(path)
    with pytest.raises(MissingEngine):
        DfmNetwork(tmp_path / "none.dfm")


def test_damage_anywhere_is_refused_or_draws_faces(tmp_path: Path) -> None:
    """Single bytes changed all over a file: an error of ours, or a network as before; nothing else gets out."""
    whole, chance = swapper(tmp_path / "whole.dfm", properties={"a": "b"}).read_bytes(), np.random.default_rng(1)
    path, refused = tmp_path / "damaged.dfm", 0
    for place in chance.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= int(chance.integers(1, 256))
        path.write_bytes(damaged)
        try:
            drawn = DfmNetwork(path, threads=1).predict(faces(1))
        except IncompatibleModel:
            refused += 1
        else:
            assert [part.shape for part in drawn] == [(1, SIZE, SIZE, 3), (1, SIZE, SIZE), (1, SIZE, SIZE)]
    assert refused > 50


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    said = DfmMetadata(FaceType.HEAD, "hello", 1200, "SAEHD", "liae-ud", "2.0")
    path = swapper(tmp_path / "hello_wf_256.dfm", properties=said.as_properties())
    assert DfmNetwork(path, threads=1).metadata == said
    silent = swapper(tmp_path / "someone_wf_256.dfm", properties={"other": "x"})
    assert DfmNetwork(silent, threads=1).metadata == DfmMetadata(FaceType.WHOLE_FACE)
    nonsense = {"understudy.face_type": "elbow", "understudy.iteration": "-1e9", "understudy.name": "n" * 10_000}
    read = DfmNetwork(swapper(tmp_path / "odd.dfm", properties=nonsense), threads=1).metadata
    assert (read.face_type, read.iteration, len(read.name or "")) == (None, None, 200)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("Some_Person_wf_320", FaceType.WHOLE_FACE),
        ("some person MF 224", FaceType.MID_FULL),
        ("john_f_kennedy", None),
        ("john_f_256", FaceType.FULL),
        ("128-h-name", FaceType.HALF),
        ("a_full_face_b", FaceType.FULL),
        ("wholeface-x", FaceType.WHOLE_FACE),
        ("name_head", FaceType.HEAD),
        ("whole_lot_of_love", None),
        ("", None),
    ],
)
def test_names_of_files_tell_the_face_type_by_convention(stem: str, expected: FaceType | None) -> None:
    assert face_type_of_name(stem) == expected


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_it_is_named(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = swapper(tmp_path / "same.dfm")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra) as caught:
        DfmNetwork(path)
    assert "understudy[onnx]" in caught.value.hint
