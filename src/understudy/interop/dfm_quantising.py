"""A swapper's file in whole numbers of 8 bit: a quarter of the size, and several times as fast on a processor.

Kernels become 8-bit numbers with a scale for each output, and so does everything that flows between them, over the
range that it took on sample faces. Pairs of QuantizeLinear and DequantizeLinear say where (operator set 13, which knows
a scale for each output); a runtime without kernels for whole numbers computes the same with floats.

Two choices were measured (`bench/dfm.py`): the output convolutions and all but the first stages of the masks stay
float32, since a mask that is steep at its edge is hit by every rounding (27 → 58 dB for 5 % more bytes); and kernels
use 7 of their 8 bits, since processors without VNNI instructions overflow otherwise, at no loss that could be seen.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from understudy.interop import dfm_writing
from understudy.networks.dfm import FACE_INPUT, MORPH_INPUT
from understudy.networks.onnx_inspection import library

OPSET = 13

KEPT_FLOAT = re.compile(r"\.(out_conv|upscalem[2-9]\.)")
"""Paths of modules that stay float32."""


def write_int8(
    net: nn.Module,
    path: Path,
    samples: NDArray[np.float32],
    *,
    morphs: Sequence[float | None] = (None,),
    properties: Mapping[str, str] | None = None,
) -> None:
    """Write the file of a swapper to `path`, its ranges taken on `samples`, faces (B,S,S,3) RGB in 0..1.

    morphs: the values at which an AMP network sees them, in turn; (None,) for others. Raises as `dfm_writing.build`.
    """
    tool = library("onnxruntime.quantization")
    model = dfm_writing.build(net, opset=OPSET)
    quantised = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
    kept = [node.name for node in quantised if any(KEPT_FLOAT.search(name) for name in node.input)]
    with _quiet():
        tool.quantize_static(
            model,
            str(path),
            _Samples(samples, morphs),
            quant_format=tool.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
        )
    _sign(path, model, properties or {})


class _Samples:
    """The samples one by one, as the tool asks for them."""

    def __init__(self, faces: NDArray[np.float32], morphs: Sequence[float | None]) -> None:
        self._given = self._all(faces, morphs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._given, None)

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return self._given

    @staticmethod
    def _all(faces: NDArray[np.float32], morphs: Sequence[float | None]) -> Iterator[dict[str, NDArray[np.float32]]]:
        for number, face in enumerate(faces):
            given = {FACE_INPUT: np.ascontiguousarray(face[None, ..., ::-1], np.float32)}
            morph = morphs[number % len(morphs)]
            yield given if morph is None else {**given, MORPH_INPUT: np.array([morph], np.float32)}


def _sign(path: Path, like: Any, properties: Mapping[str, str]) -> None:
    """Say in the tool's file what files of ours say of themselves."""
    onnx = library()
    model = onnx.load_model(str(path))
    model.producer_name, model.producer_version = like.producer_name, like.producer_version
    model.ir_version = like.ir_version
    del model.metadata_props[:]
    library("onnx.helper").set_model_props(model, dict(properties))
    path.write_bytes(model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool's advice to people at a terminal, which goes through the root logger, to ourselves."""

    def heard(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root = logging.getLogger()
    root.addFilter(heard)
    try:
        yield
    finally:
        root.removeFilter(heard)
