"""XSeg as an ONNX file, as the reference exports it: BGR faces in, masks out, neither cut off nor thresholded.

in_face:0 (N,S,S,3) float32 BGR 0..1  ─►  out_mask:0 (N,S,S,1) float32 0..1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from understudy import __version__
from understudy.interop.onnx_graph import FLOAT, Graph, Value
from understudy.networks.dfm import FACE_INPUT
from understudy.networks.xseg import Block, XSeg

MASK_OUTPUT = "out_mask:0"
OPSET = 13
"""What the reference writes for XSeg."""

LEVELS = ("12", "12", "12", "123", "123", "123")
"""The convolutions of each level by number; on the way up they come in the other order."""


def build(net: XSeg, *, properties: Mapping[str, str] | None = None) -> Any:
    """The file of a mask network as an `onnx.ModelProto`. properties: what the file says of itself.

    Raises MissingExtra without the extra `onnx`.
    """
    graph, size = Graph(opset=OPSET), net.config.size
    face = graph.node("Transpose", graph.input(FACE_INPUT, (None, size, size, 3)), side=size, perm=[0, 3, 1, 2])
    mask = graph.node("Sigmoid", _Parts(graph, net).mask(face))
    graph.output(MASK_OUTPUT, graph.node("Transpose", mask, perm=[0, 2, 3, 1]), (None, size, size, 1))
    return graph.model(properties or {}, producer_version=__version__)


class _Parts:
    """The parts of the network: each method adds its operators to the graph. Names are those of the children."""

    def __init__(self, graph: Graph, net: XSeg) -> None:
        self.graph, self.net = graph, net

    def mask(self, face: Value) -> Value:
        """face (N,3,S,S) → logits of a mask (N,1,S,S), by the levels of `XSeg.forward`."""
        x, skips = face, []
        for level, numbers in enumerate(LEVELS):
            x = self.blocks(x, *(f"conv{level}{number}" for number in numbers))
            skips.append(x)
            x = self.blur_pool(x, f"bp{level}", channels=getattr(self.net, f"conv{level}1").conv.out_channels)
        x = self.bottleneck(x)
        for level in reversed(range(len(LEVELS))):
            x = self.graph.node("Concat", self.blocks(x, f"up{level}"), skips[level], axis=1)
            x = self.blocks(x, *(f"uconv{level}{number}" for number in reversed(LEVELS[level])))
        return self.graph.conv(x, "out_conv", self.net.out_conv)

    def blocks(self, x: Value, *names: str) -> Value:
        """Convolution, FRN and TLU, once for each name."""
        for name in names:
            block: Block = getattr(self.net, name)
            conv = block.conv
            if isinstance(conv, nn.ConvTranspose2d):
                y = self.graph.grow(x, f"{name}.conv", conv)
            else:
                y = self.graph.conv(x, f"{name}.conv", conv)
            x = self.tlu(self.frn(y, f"{name}.frn", block.frn), f"{name}.tlu", block.tlu)
        return x

    def frn(self, x: Value, name: str, frn: Any) -> Value:
        node = self.graph.node
        power = node("ReduceMean", node("Mul", x, x), axes=[2, 3], keepdims=1)
        root = node("Sqrt", node("Add", power, self.column(f"{name}.eps", frn.eps.abs())))
        scale = node("Div", self.column(f"{name}.weight", frn.weight), root)
        return node("Add", node("Mul", x, scale), self.column(f"{name}.bias", frn.bias), side=x.side)

    def tlu(self, x: Value, name: str, tlu: Any) -> Value:
        return self.graph.node("Max", x, self.column(f"{name}.tau", tlu.tau))

    def blur_pool(self, x: Value, name: str, *, channels: int) -> Value:
        """The binomial window of `BlurPool`, at every second pixel of each channel."""
        taps = getattr(self.net, name).taps
        row = np.array([1.0])
        for _ in range(taps - 1):
            row = np.convolve(row, [1, 1])
        window = np.outer(row, row) / row.sum() ** 2
        shape = (channels, 1, taps, taps)
        kernel = self.graph.weight(f"{name}.window", shape, FLOAT, lambda: np.broadcast_to(window, shape))
        before, after = (taps - 1) // 2, taps // 2
        return self.graph.node(
            "Conv", x, kernel, side=x.side // 2, group=channels,
            kernel_shape=[taps, taps], strides=[2, 2], pads=[before, before, after, after],
        )  # fmt: skip

    def bottleneck(self, x: Value) -> Value:
        flat = self.graph.reshape(x, 0, -1)
        code = self.graph.dense(self.graph.dense(flat, "dense1", self.net.dense1), "dense2", self.net.dense2)
        grid = self.net.grid
        return self.graph.reshape(code, -1, self.net.dense2.out_features // grid**2, grid, grid, side=grid)

    def column(self, name: str, values: Tensor) -> Value:
        """Numbers for each channel of a picture: (C,1,1)."""
        return self.graph.weight(name, (len(values), 1, 1), FLOAT, lambda: values.detach().float().cpu().numpy())
