"""What a `.dfm` file says of itself, read without its weights: inputs, outputs, opset, metadata.

A `.dfm` is an ONNX network, a protobuf of up to 2 GB. Its messages are nested fields with their lengths before them, so
that whoever wants only names can step over everything else; 700 MB of weights cost a handful of seeks. Field numbers
are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

LARGEST_TEXT = 1 << 16
"""Bytes that a name or a description of an input may have; longer ones are passed over."""

MOST_FIELDS = 200_000
"""Fields that are looked at in a whole file; a network of the reference has a few thousand."""

PRODUCER, GRAPH, OPSET, METADATA = 2, 7, 8, 14  # of a model
INPUT, OUTPUT, INITIALIZER = 11, 12, 5  # of a graph
FLOAT32, FLOAT16 = 1, 10
DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}

Field = tuple[int, int, int, int]
"""(number, wire type, value or start, length) of one field; start and length are of the bytes of nested ones."""


@dataclass(frozen=True)
class DfmHead:
    """What the file says. inputs, outputs: lines such as `in_face:0 float32 (N, 224, 224, 3)`. problem: or why not.

    resolution: side of the face in pixels. has_morph: whether it is a network of AMP's kind, with a morph value.
    parameters: numbers that it holds as weights.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    resolution: int | None = None
    has_morph: bool = False
    opset: int | None = None
    producer: str = ""
    parameters: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def read_dfm_head(path: Path) -> DfmHead:
    """What a `.dfm` says of itself. Raises nothing: what is wrong is in `problem`."""
    try:
        with path.open("rb") as file:
            return _head(_Reader(file, path.stat().st_size))
    except OSError as error:
        return DfmHead(problem=f"{path.name} cannot be read: {error.strerror or error}")
    except (ValueError, IndexError):
        return DfmHead(problem=f"{path.name} is no ONNX network, or was not copied whole.")


class _Reader:
    """A file of nested messages."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.left = MOST_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message in these bytes. Raises ValueError where they make no sense."""
        at = start
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise ValueError("too many fields")
            tag, at = self._varint(at)
            number, wire = tag >> 3, tag & 7
            if wire == 2:
                length, at = self._varint(at)
                yield number, wire, at, length
                at += length
            elif wire == 0:
                value, at = self._varint(at)
                yield number, wire, value, 0
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise ValueError("an unknown kind of field")
            if at > end or number == 0:
                raise ValueError("a field is longer than what holds it")

    def bytes(self, start: int, length: int) -> bytes:
        """Some bytes, none where they are too many to be of use."""
        if length > LARGEST_TEXT:
            return b""
        self.file.seek(start)
        return self.file.read(length)

    def text(self, start: int, length: int) -> str:
        return self.bytes(start, length).decode("utf-8", "replace")

    def _varint(self, at: int) -> tuple[int, int]:
        self.file.seek(at)
        value = 0
        for index, byte in enumerate(self.file.read(10)):
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                return value, at + index + 1
        raise ValueError("a number without an end")


def _head(reader: _Reader) -> DfmHead:
    producer, opset, metadata, graph = "", None, {}, None
    for number, wire, start, length in reader.fields(0, reader.size):
        if wire != 2:
            continue
        if number == PRODUCER:
            producer = reader.text(start, length)
        elif number == GRAPH:
            graph = (start, length)
        elif number == OPSET:
            opset = _opset(reader, start, length) or opset
        elif number == METADATA:
            key, value = _entry(reader, start, length)
            metadata[key] = value
    if graph is None:
        raise ValueError("no graph")
    inputs, outputs, parameters = _graph(reader, *graph)
    face = next((value for value in inputs if "in_face" in value.name), None)
    if face is None:
        return DfmHead(problem="It is an ONNX network without an input called in_face, so it is no dfm.")
    return DfmHead(
        tuple(map(str, inputs)),
        tuple(map(str, outputs)),
        resolution=next((side for side in face.shape[1:3] if isinstance(side, int)), None),
        has_morph=any("morph_value" in value.name for value in inputs),
        opset=opset,
        producer=producer,
        parameters=parameters,
        metadata=metadata,
    )


@dataclass(frozen=True)
class _Value:
    """An input or output of a network."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


def _graph(reader: _Reader, start: int, length: int) -> tuple[list[_Value], list[_Value], int]:
    """Inputs, outputs, and how many numbers the weights are."""
    inputs, outputs, weights = [], [], {}
    for number, wire, at, size in reader.fields(start, start + length):
        if wire == 2 and number == INPUT:
            inputs.append(_value(reader, at, size))
        elif wire == 2 and number == OUTPUT:
            outputs.append(_value(reader, at, size))
        elif wire == 2 and number == INITIALIZER:
            name, count = _tensor(reader, at, size)
            weights[name] = count
    fed = [value for value in inputs if value.name not in weights]  # old writers list weights as inputs too
    return fed, outputs, sum(weights.values())


def _tensor(reader: _Reader, start: int, length: int) -> tuple[str, int]:
    """The name of some weights, and how many numbers they are if they are floating-point; else none."""
    name, sides, dtype = "", [], 0
    for number, wire, at, size in reader.fields(start, start + length):
        if number == 1 and wire == 0:
            sides.append(at)
        elif number == 1 and wire == 2:  # several sides packed into one field
            sides += _packed(reader.bytes(at, size))
        elif number == 2 and wire == 0:
            dtype = at
        elif number == 8 and wire == 2:
            name = reader.text(at, size)
    count = 1
    for side in sides:
        count *= side
    return name, count if dtype in (FLOAT32, FLOAT16) else 0


def _packed(data: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            values.append(value)
            value, shift = 0, 0
    return values


def _value(reader: _Reader, start: int, length: int) -> _Value:
    name, dtype = "", 0
    shape: tuple[int | str, ...] = ()
    for number, wire, at, size in reader.fields(start, start + length):
        if number == 1 and wire == 2:
            name = reader.text(at, size)
        elif number == 2 and wire == 2:
            dtype, shape = _type(reader, at, size)
    return _Value(name, DTYPES.get(dtype, "?"), shape)


def _type(reader: _Reader, start: int, length: int) -> tuple[int, tuple[int | str, ...]]:
    """Element type and sides of a tensor's type."""
    dtype, sides = 0, []
    for number, wire, at, size in reader.fields(start, start + length):
        if number == 1 and wire == 2:  # tensor_type
            for inner, inner_wire, inner_at, inner_size in reader.fields(at, at + size):
                if inner == 1 and inner_wire == 0:
                    dtype = inner_at
                elif inner == 2 and inner_wire == 2:
                    sides = [
                        _side(reader, side_at, side_size)
                        for side, side_wire, side_at, side_size in reader.fields(inner_at, inner_at + inner_size)
                        if side == 1 and side_wire == 2
                    ]
    return dtype, tuple(sides)


def _side(reader: _Reader, start: int, length: int) -> int | str:
    """One side of a shape: a number, or N where it may vary."""
    for number, wire, value, _ in reader.fields(start, start + length):
        if number == 1 and wire == 0:
            return value
    return "N"


def _opset(reader: _Reader, start: int, length: int) -> int | None:
    """The version of the standard operators; None for those of another domain."""
    domain, version = "", None
    for number, wire, value, size in reader.fields(start, start + length):
        if number == 1 and wire == 2:
            domain = reader.text(value, size)
        elif number == 2 and wire == 0:
            version = value
    return None if domain not in ("", "ai.onnx") else version


def _entry(reader: _Reader, start: int, length: int) -> tuple[str, str]:
    key, value = "", ""
    for number, wire, at, size in reader.fields(start, start + length):
        if wire == 2 and number == 1:
            key = reader.text(at, size)
        elif wire == 2 and number == 2:
            value = reader.text(at, size)
    return key, value
