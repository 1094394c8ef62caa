"""An ONNX graph written by hand, one operator at a time: exact names, one operator set, weights converted once.

    graph = Graph(half=True)
    face = graph.node("Transpose", graph.input("in_face:0", (None, 96, 96, 3)), side=96, perm=[0, 3, 1, 2])
    x = graph.conv(face, "encoder.down1.downs_0.conv1", net.encoder.down1.downs_0.conv1)
    graph.output("out:0", graph.cast(x, FLOAT), (None, 64, 48, 48))
    model = graph.model(properties={})

Pictures in such files are BGR, so those weights of ours that meet a picture are turned round on their way in
(`interop/layout.py`). Nothing is converted before the whole graph stands and is known to fit into one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import IncompatibleModel
from understudy.interop.layout import to_theirs
from understudy.networks.onnx_inspection import library

OPSET, IR_VERSION = 12, 7
"""What the reference writes. Live tools bring runtimes of 2021 to 2023, which take up to 15 and 8."""

LARGEST_FILE = 2**31 - 2**20
"""Bytes of weights: a protobuf holds 2 GiB, and a little of that is left to everything else."""

FLOAT, HALF, INT64 = "float32", "float16", "int64"
_ELEMENTS = {FLOAT: 1, INT64: 7, HALF: 10}  # as onnx.proto numbers them


@dataclass(frozen=True)
class Value:
    """Something that the graph computes or holds. kind: its number type. side: of its square grid, where it has one."""

    name: str
    kind: str
    side: int = 0


@dataclass(frozen=True, eq=False)
class _Weight:
    """A tensor that the file will hold. make: gives its numbers when they are written."""

    shape: tuple[int, ...]
    kind: str
    make: Callable[[], NDArray[Any]]

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.kind).itemsize


class Graph:
    """Operators, weights, inputs and outputs, in the order in which they are added.

    half: convolutions compute in half precision. opset: the operator set that the operators are of.
    """

    def __init__(self, *, half: bool = False, opset: int = OPSET) -> None:
        self.conv_type = HALF if half else FLOAT
        self.opset = opset
        self._helper = library("onnx.helper")
        self._nodes: list[Any] = []
        self._weights: dict[str, _Weight] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, shape: Sequence[int | None]) -> Value:
        """A float32 input; None is the open number of faces."""
        self._inputs.append(self._described(name, shape))
        return Value(name, FLOAT)

    def output(self, name: str, value: Value, shape: Sequence[int | None]) -> None:
        """Give `value`, which must be float32 and what was added last, out under `name`."""
        assert value.kind == FLOAT
        assert list(self._nodes[-1].output) == [value.name]
        self._nodes[-1].output[:] = [name]
        self._outputs.append(self._described(name, shape))

    def node(
        self, operator: str, *inputs: Value, kind: str | None = None, side: int | None = None, **attributes: Any
    ) -> Value:
        """What `operator` makes of its inputs; kind and side are those of the first unless they are given."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        names = [value.name for value in inputs]
        self._nodes.append(self._helper.make_node(operator, names, [name], name=name, **attributes))
        return Value(name, kind or inputs[0].kind, inputs[0].side if side is None else side)

    def cast(self, value: Value, kind: str) -> Value:
        """`value` in another number type; itself where it is of that type."""
        return value if value.kind == kind else self.node("Cast", value, kind=kind, to=_ELEMENTS[kind])

    def constant(self, values: Sequence[float], kind: str = FLOAT, *, scalar: bool = False) -> Value:
        """Fixed numbers; equal ones are in the file once."""
        array = np.asarray(values[0] if scalar else values)
        name = "_".join(["const", kind, *map(str, values), *(["scalar"] if scalar else [])])
        return self.weight(name, array.shape, kind, lambda: array)

    def reshape(self, value: Value, *sides: int, side: int = 0) -> Value:
        """`value` in another shape; one of `sides` may be -1, for what is left."""
        return self.node("Reshape", value, self.constant(sides, INT64), side=side)

    def conv(self, value: Value, name: str, conv: nn.Conv2d) -> Value:
        """A convolution of ours, by the path of its module."""
        weight, bias = self._ours(f"{name}.weight", conv.weight), self._ours(f"{name}.bias", conv.bias)
        return self.convolve(value, weight, bias, conv.kernel_size[0], stride=conv.stride[0])

    def convolve(self, value: Value, weight: Value, bias: Value, kernel: int, *, stride: int = 1) -> Value:
        """A convolution of an odd kernel, its edges filled with zeros, in the number type of convolutions."""
        pad = kernel // 2
        return self.node(
            "Conv",
            self.cast(value, self.conv_type),
            weight,
            bias,
            kind=self.conv_type,
            side=(value.side + 2 * pad - kernel) // stride + 1,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def grow(self, value: Value, name: str, conv: nn.ConvTranspose2d) -> Value:
        """A 3×3 transposed convolution of ours to exactly the stride's multiple (`blocks.Grow`)."""
        stride = conv.stride[0]
        weight, bias = self._ours(f"{name}.weight", conv.weight), self._ours(f"{name}.bias", conv.bias)
        return self.node(
            "ConvTranspose",
            self.cast(value, self.conv_type),
            weight,
            bias,
            kind=self.conv_type,
            side=value.side * stride,
            kernel_shape=[3, 3],
            strides=[stride, stride],
            pads=[2 - stride, 2 - stride, 1, 1],
        )

    def dense(self, value: Value, name: str, dense: nn.Linear) -> Value:
        """A dense layer of ours, by the path of its module, always in float32."""
        product = self.node("MatMul", self.cast(value, FLOAT), self._ours(f"{name}.weight", dense.weight, FLOAT))
        return self.node("Add", product, self._ours(f"{name}.bias", dense.bias, FLOAT))

    def joined(self, name: str, parts: Mapping[str, Tensor], kernel: int = 0) -> Value:
        """Several kernels or biases of ours one after the other; smaller kernels lie in the middle of zeros."""
        first = next(iter(parts.values()))
        outputs = sum(len(part) for part in parts.values())
        shape = (outputs, first.shape[1], kernel, kernel) if kernel else (outputs,)

        def make() -> NDArray[Any]:
            return np.concatenate([_padded(as_onnx(path, part), kernel) for path, part in parts.items()])

        return self.weight(name, shape, self.conv_type, make)

    def weight(self, name: str, shape: Sequence[int], kind: str, make: Callable[[], NDArray[Any]]) -> Value:
        """A tensor in the file; `make` gives its numbers once the graph stands."""
        self._weights.setdefault(name, _Weight(tuple(shape), kind, make))
        return Value(name, kind)

    def model(self, properties: Mapping[str, str], *, producer_version: str = "") -> Any:
        """The finished network, an `onnx.ModelProto`. properties: what the file says of itself.

        Raises IncompatibleModel, before any weight is converted, when it cannot be one file.
        """
        self._require_room()
        helper, numpy_helper = self._helper, library("onnx.numpy_helper")
        graph = helper.make_graph(self._nodes, "understudy", self._inputs, self._outputs)
        for name, weight in self._weights.items():
            array = np.ascontiguousarray(weight.make(), weight.kind).reshape(weight.shape)
            graph.initializer.append(numpy_helper.from_array(array, name))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = IR_VERSION
        model.producer_name, model.producer_version = "understudy", producer_version
        helper.set_model_props(model, dict(properties))
        return model

    def _require_room(self) -> None:
        size = sum(weight.size_bytes for weight in self._weights.values())
        if size > LARGEST_FILE:
            smaller = "--quantize halves most of it. " if self.conv_type == FLOAT else ""
            raise IncompatibleModel(
                f"As a live model it would have {size / 1e9:.3g} GB; such a file ends at {LARGEST_FILE / 1e9:.3g} GB.",
                hint=f"{smaller}Otherwise only a model of smaller dimensions can be exported. Nothing was written.",
                bytes=size,
            )

    def _ours(self, name: str, tensor: Tensor | None, kind: str | None = None) -> Value:
        assert tensor is not None
        shape = tuple(tensor.T.shape if tensor.ndim == 2 else tensor.shape)
        return self.weight(name, shape, kind or self.conv_type, lambda: as_onnx(name, tensor))

    def _described(self, name: str, shape: Sequence[int | None]) -> Any:
        sides = ["N" if side is None else side for side in shape]
        return self._helper.make_tensor_value_info(name, _ELEMENTS[FLOAT], sides)


def as_onnx(name: str, tensor: Tensor) -> NDArray[np.float32]:
    """One of our weights as such a file has it, float32: kernels (out, in, kh, kw) for BGR, dense (in, out)."""
    array = to_theirs(name, tensor)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _padded(array: NDArray[Any], kernel: int) -> NDArray[Any]:
    """A kernel in the middle of one of `kernel` rows and columns; a bias as it is."""
    margin = (kernel - array.shape[-1]) // 2 if array.ndim == 4 else 0
    return np.pad(array, [(0, 0), (0, 0), (margin, margin), (margin, margin)]) if margin else array
