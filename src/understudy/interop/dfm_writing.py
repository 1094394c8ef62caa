"""A trained swapper as a `.dfm`: the ONNX file that live tools load (names, shapes and order: `networks/dfm.py`).

    in_face:0 (N,S,S,3) BGR ─ (N,3,S,S) ─ code ─┬─ src's way ─ face, mask ─┬─ (N,S,S,…) ─ three outputs
                                                └─ dst's way ─ mask ───────┘

The graph is written from our networks' modules, block by block, with the operators that the reference uses and no
others. Half precision is as the reference has it: kernels float16, dense layers float32. One thing differs: a code is
scaled to unit power (letter u) in float32, since the mean of so many squares loses its digits in half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from understudy import __version__
from understudy.errors import IncompatibleModel
from understudy.interop.onnx_graph import FLOAT, INT64, OPSET, Graph, Value
from understudy.networks.amp import Amp
from understudy.networks.blocks import Down, Res, Up
from understudy.networks.dfm import FACE_INPUT, MORPH_INPUT, OUTPUTS
from understudy.networks.saehd import DF, LIAE

Logits = tuple[Value, Value, Value]
"""dst's mask, the face as src and its mask before the sigmoid, in the order of the outputs."""

TINY = 1e-6
"""Keeps a code of zeros from a division by zero."""


def build(
    net: nn.Module, *, half: bool = False, properties: Mapping[str, str] | None = None, opset: int = OPSET
) -> Any:
    """The file of a swapper as an `onnx.ModelProto`; `SerializeToString` gives its bytes.

    half: kernels in half precision. properties: what the file says of itself. Raises IncompatibleModel for networks
    that draw no faces and, before anything is converted, for one that no file can hold; MissingExtra without the extra
    `onnx`.
    """
    wiring = next((write for kind, write in WIRINGS.items() if isinstance(net, kind)), None)
    if wiring is None:
        raise IncompatibleModel(f"A network of the kind {type(net).__name__} draws no faces for live use.")
    size = int(net.config.size)  # type: ignore[arg-type]
    graph = Graph(half=half, opset=opset)
    face = graph.node("Transpose", graph.input(FACE_INPUT, (None, size, size, 3)), side=size, perm=[0, 3, 1, 2])
    for name, logits, channels in zip(OUTPUTS, wiring(Parts(graph, net), net, face), (1, 3, 1), strict=True):
        picture = graph.cast(graph.node("Sigmoid", logits), FLOAT)
        graph.output(name, graph.node("Transpose", picture, perm=[0, 2, 3, 1]), (None, size, size, channels))
    return graph.model(properties or {}, producer_version=__version__)


class Parts:
    """The parts of our networks: each method adds the operators of one module to the graph."""

    def __init__(self, graph: Graph, net: nn.Module) -> None:
        self.graph = graph
        self._paths = {id(module): path for path, module in net.named_modules()}

    def encoder(self, encoder: Any, face: Value) -> Value:
        """face (N,3,S,S) → code (N,C), float32, of unit power where the network has it so."""
        x = face
        for module in encoder.modules():
            if isinstance(module, Down):
                x = self.down(module, x)
            elif isinstance(module, Res):
                x = self.res(module, x)
        code = self.graph.reshape(self.graph.cast(x, FLOAT), 0, -1)
        return self.unit_power(code) if getattr(encoder, "pixel_norm", True) else code  # AMP's always is

    def inter(self, inter: Any, code: Value) -> Value:
        """code (N,C) → (N,out,g,g)."""
        x = self.dense_grid(inter.dense2, self.dense(inter.dense1, code), inter.grid)
        return x if inter.upscale1 is None else self.up(inter.upscale1, x)

    def face(self, decoder: Any, code: Value) -> Value:
        """(N,in,g,g) → logits of a face (N,3,S,S)."""
        for up, res in zip(_numbered(decoder, "upscale"), _numbered(decoder, "res"), strict=True):
            code = self.res(res, self.up(up, code))
        return self.corners(decoder, code) if hasattr(decoder, "out_conv1") else self.conv(decoder.out_conv, code)

    def mask(self, decoder: Any, code: Value) -> Value:
        """(N,in,g,g) → logits of a mask (N,1,S,S)."""
        for up in _numbered(decoder, "upscalem"):
            code = self.up(up, code)
        return self.conv(decoder.out_convm, code)

    def down(self, down: Down, x: Value) -> Value:
        return self.activation(self.conv(down.conv1, x), 0.1, cosine=down.cosine)

    def up(self, up: Up, x: Value) -> Value:
        x = self.activation(self.conv(up.conv1, x), 0.1, cosine=up.cosine)
        return self.depth_to_space(x, up.conv1.out_channels)

    def res(self, res: Res, x: Value) -> Value:
        y = self.conv(res.conv2, self.activation(self.conv(res.conv1, x), 0.2, cosine=res.cosine))
        return self.activation(self.graph.node("Add", y, x), 0.2, cosine=res.cosine)

    def corners(self, decoder: Any, x: Value) -> Value:
        """The face's four output convolutions as one, as `blocks.head` computes them."""
        convs = (decoder.out_conv, decoder.out_conv1, decoder.out_conv2, decoder.out_conv3)
        path = self._paths[id(decoder)]
        kernels = {f"{self._paths[id(conv)]}.weight": conv.weight for conv in convs}
        biases = {f"{self._paths[id(conv)]}.bias": conv.bias for conv in convs}
        weight = self.graph.joined(f"{path}.out_convs.weight", kernels, kernel=3)
        drawn = self.graph.convolve(x, weight, self.graph.joined(f"{path}.out_convs.bias", biases), 3)
        return self.depth_to_space(drawn, 12)

    def conv(self, conv: nn.Conv2d, x: Value) -> Value:
        return self.graph.conv(x, self._paths[id(conv)], conv)

    def dense(self, dense: nn.Linear, x: Value) -> Value:
        return self.graph.dense(x, self._paths[id(dense)], dense)

    def dense_grid(self, dense: nn.Linear, x: Value, grid: int) -> Value:
        """A dense layer whose outputs fill a grid: (N,i) → (N,o,grid,grid), in the number type of convolutions."""
        channels = dense.out_features // grid**2
        filled = self.graph.reshape(self.dense(dense, x), -1, channels, grid, grid, side=grid)
        return self.graph.cast(filled, self.graph.conv_type)

    def activation(self, x: Value, slope: float, *, cosine: bool) -> Value:
        if cosine:
            return self.graph.node("Mul", x, self.graph.node("Cos", x))
        return self.graph.node("LeakyRelu", x, alpha=slope)

    def depth_to_space(self, x: Value, channels: int) -> Value:
        """(N,4C,h,h) → (N,C,2h,2h): channel (2i+j)·C+c goes to row 2h+i, column 2w+j."""
        part, side = channels // 4, x.side
        corners = self.graph.reshape(x, -1, 2, 2, part, side, side, side=side)
        spread = self.graph.node("Transpose", corners, perm=[0, 3, 4, 1, 5, 2])
        return self.graph.reshape(spread, -1, part, 2 * side, 2 * side, side=2 * side)

    def unit_power(self, code: Value) -> Value:
        """(N,C) scaled to a mean square of one, written as the reference's converter does."""
        node, tiny = self.graph.node, self.graph.constant([TINY])
        power = node("ReduceMean", node("Mul", code, code), axes=[1], keepdims=1)
        return node("Mul", code, node("Reciprocal", node("Sqrt", node("Add", power, tiny))))


def _numbered(module: nn.Module, name: str) -> list[Any]:
    """The children name0, name1, … of a module, in this order."""
    found = {child: part for child, part in module.named_children() if child.removeprefix(name).isdigit()}
    return [found[f"{name}{i}"] for i in range(len(found))]


def _df(parts: Parts, net: Any, face: Value) -> Logits:
    code = parts.inter(net.inter, parts.encoder(net.encoder, face))
    swap = net.decoder_src
    return parts.mask(net.decoder_dst, code), parts.face(swap, code), parts.mask(swap, code)


def _liae(parts: Parts, net: Any, face: Value) -> Logits:
    code = parts.encoder(net.encoder, face)
    a, b = parts.inter(net.inter_AB, code), parts.inter(net.inter_B, code)
    dst, swap = (parts.graph.node("Concat", first, a, axis=1) for first in (b, a))
    return parts.mask(net.decoder, dst), parts.face(net.decoder, swap), parts.mask(net.decoder, swap)


def _amp(parts: Parts, net: Any, face: Value) -> Logits:
    """The first trunc(I·morph) channels are src's, the others dst's; morph is an input of the graph."""
    graph, grid, channels = parts.graph, net.config.size // 32, net.config.inter_dims
    count = graph.cast(graph.node("Mul", graph.input(MORPH_INPUT, (1,)), graph.constant([channels])), INT64)
    code = parts.dense(net.encoder.dense1, parts.encoder(net.encoder, face))
    src, dst = (parts.dense_grid(inter.dense2, code, grid) for inter in (net.inter_src, net.inter_dst))
    start, end, axis = (graph.constant([number], INT64) for number in (0, channels, 1))
    of_src, of_dst = graph.node("Slice", src, start, count, axis), graph.node("Slice", dst, count, end, axis)
    swap = graph.node("Concat", of_src, of_dst, axis=1)
    return parts.mask(net.decoder, dst), parts.face(net.decoder, swap), parts.mask(net.decoder, swap)


WIRINGS: dict[type[nn.Module], Callable[[Parts, Any, Value], Logits]] = {DF: _df, LIAE: _liae, Amp: _amp}
