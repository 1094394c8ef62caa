"""What an ONNX file from a stranger would do, found out before a runtime opens it: nothing of it is run here.

A network is plain data, and yet opening one can hurt: it may name other files to read its weights from, ask for
functions of libraries, or be of a few bytes that unfold into more numbers than there is memory. Such files are refused.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import IncompatibleModel, MissingExtra

LARGEST_FILE = 2**31 - 1
"""Bytes that a protobuf may have; larger networks cannot be one file."""

LARGEST_VALUE, LARGEST_SUM = 2**29, 2**33
"""Numbers in one intermediate value, and in all of them, for one picture. The largest network that the reference can
make (640 px, d_dims 256) has 2**27.6 and 2**31."""

KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators that runtimes bring themselves. Any other would have to be loaded from a library of code."""

SMALL_TENSOR = 4096
"""Numbers; a tensor of no more may be a shape, so that its values count when sizes are inferred."""

GRAPH, GRAPHS = 5, 10  # kinds of attributes, as onnx.proto numbers them
TENSOR, SPARSE, SPARSES = 4, 11, 12
EXTERNAL = 1  # a tensor's numbers lie in another file
_KINDS = {1: "tensor(float)", 2: "tensor(uint8)", 7: "tensor(int64)", 10: "tensor(float16)", 11: "tensor(double)"}


@dataclass(frozen=True)
class Described:
    """An input as its file describes it. kind: as onnxruntime calls it. shape: None or a name for what is open."""

    name: str
    kind: str
    shape: list[int | str | None]


def read_network(path: Path) -> Any:
    """The network in a file, parsed and no more: an `onnx.ModelProto`.

    Raises IncompatibleModel for a file that is no ONNX network, MissingExtra without the library that reads them.
    """
    onnx = library()
    hint = "Check that it is an ONNX network and was copied whole."
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise IncompatibleModel(f"{path.name} is larger than an ONNX file can be.", hint=hint, path=path)
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
        _read_every_text(model)
    except IncompatibleModel:
        raise
    except Exception as error:  # the parser raises types of its own
        raise IncompatibleModel(f"{path.name} cannot be read as an ONNX network.", hint=hint, path=path) from error
    if not model.graph.node or not model.graph.input:
        raise IncompatibleModel(f"{path.name} is no ONNX network: it computes nothing.", hint=hint, path=path)
    return model


def inputs_of(model: Any) -> list[Described]:
    """What a network takes. Old files list their weights among the inputs; those are left out."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [_described(value) for value in model.graph.input if value.name not in weights]


def require_harmless(model: Any, path: Path) -> None:
    """Raise IncompatibleModel when a network of `read_network` does what the module says."""
    problem = _problem(model)
    if problem:
        raise IncompatibleModel(
            f"{path.name} is not opened: {problem}.",
            hint="A network is one file of plain operators and numbers. Get it again from whoever made it.",
            path=path,
        )


def library(name: str = "onnx") -> Any:
    """The module `name` of the extra. Raises MissingExtra."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(
            f"ONNX files need {name.partition('.')[0]}, which is not installed.",
            hint='Install it with: pip install "understudy[onnx]"',
            extra="onnx",
        ) from None


def _read_every_text(model: Any) -> None:
    """Look at every name, since the parser finds only then what is no text. Raises UnicodeDecodeError."""
    graph = model.graph
    texts = [graph.name, graph.doc_string, model.producer_name, model.producer_version, model.domain, model.doc_string]
    texts += [text for item in model.metadata_props for text in (item.key, item.value)]
    texts += [item.domain for item in model.opset_import]
    for value in (*graph.input, *graph.output, *graph.value_info):
        texts += [value.name, *(side.dim_param for side in value.type.tensor_type.shape.dim)]
    for node in graph.node:
        texts += [
            node.name,
            node.op_type,
            node.domain,
            *node.input,
            *node.output,
            *(item.name for item in node.attribute),
        ]
    texts += [tensor.name for tensor in graph.initializer]
    for text in texts:
        text.encode()  # a name of lone surrogates is no text either


def _described(value: Any) -> Described:
    kind = _KINDS.get(value.type.tensor_type.elem_type, "of another type")
    sides = value.type.tensor_type.shape.dim
    return Described(value.name, kind, [side.dim_value or side.dim_param or None for side in sides])


def _problem(model: Any) -> str:
    """What is wrong with a network; empty when nothing is."""
    graph = model.graph
    if model.functions:
        return "it defines functions of its own"
    if graph.sparse_initializer:
        return "it has sparse weights, which unfold into unknown sizes"
    foreign = {node.domain for node in graph.node} - KNOWN_DOMAINS
    if foreign:
        return f"it needs operators of {', '.join(sorted(foreign))}, which only a library of code could bring"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in (GRAPH, GRAPHS):
                return f"it has a loop or a branch ({node.op_type})"
            if attribute.type in (SPARSE, SPARSES):
                return "it has sparse constants, which unfold into unknown sizes"
    for tensor in _tensors(graph):
        if tensor.data_location == EXTERNAL or tensor.external_data:
            return "its weights lie in another file"
        if math.prod(tensor.dims) > LARGEST_FILE:
            return "it claims weights of more numbers than a file can hold"
    return _size_problem(model)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _size_problem(model: Any) -> str:
    """Whether an intermediate value is too large, or of a size that cannot be told before it is computed."""
    sizes = _inferred_sizes(model)
    if sizes is None:
        return "the sizes of what it computes contradict each other"
    total = 0
    for node in model.graph.node:
        for name in filter(None, node.output):
            size = sizes.get(name)
            if size is None:
                return f"nobody can tell how much {node.op_type} would compute"
            total += size
            if size > LARGEST_VALUE or total > LARGEST_SUM:
                return f"{node.op_type} would compute {size:,} numbers for one face"
    return ""


def _inferred_sizes(model: Any) -> dict[str, int] | None:
    """How many numbers every value has for one picture, as far as that can be told; None for contradictions.

    A part that is cut out by a computed position has at most the size of the whole.
    """
    skeleton = _skeleton(model)
    try:
        shapes = library("onnx.shape_inference").infer_shapes(skeleton, strict_mode=True, data_prop=True)
    except Exception:  # the library raises types of its own
        return None
    sizes: dict[str, int] = {}
    for value in (*shapes.graph.value_info, *shapes.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            sides = value.type.tensor_type.shape.dim
            if all(side.HasField("dim_value") and side.dim_value >= 0 for side in sides):
                sizes[value.name] = math.prod(side.dim_value for side in sides)
    return sizes


def _skeleton(model: Any) -> Any:
    """The network for one picture without what it weighs and without what it claims of its own sizes."""
    onnx = library()
    skeleton = onnx.ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    graph = skeleton.graph
    graph.name = "sizes"
    constants = set()
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= SMALL_TENSOR:
            graph.initializer.append(tensor)
            constants.add(tensor.name)
        else:
            graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=b"")
    for value in model.graph.input:
        graph.input.append(value)
        sides = graph.input[-1].type.tensor_type.shape.dim
        if sides and not sides[0].dim_value:
            sides[0].dim_value = 1
    for value in model.graph.output:
        graph.output.add(name=value.name).type.tensor_type.elem_type = value.type.tensor_type.elem_type
    for node in model.graph.node:
        if node.op_type == "Slice" and not {name for name in node.input[1:] if name} <= constants:
            graph.node.add(op_type="Identity", input=node.input[:1], output=node.output)
        else:
            graph.node.append(node)
    return skeleton
