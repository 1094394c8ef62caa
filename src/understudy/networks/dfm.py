"""A `.dfm` file as a network: what live tools load, from us or from anyone, run by onnxruntime.

    network = DfmNetwork(Path("hello_SAEHD_model.dfm"))
    face, mask_swap, mask_dst = network.predict(faces)      # faces (B,S,S,3) RGB in 0..1, S = network.size

Such a file is an ONNX network with agreed inputs and outputs. Its pictures are BGR, ours RGB: turned round here.

    in_face:0      (N,S,S,3) float32   dst's face          out 1  (N,S,S,1)  mask of dst's face
    morph_value:0  (1,) float32        AMP only            out 2  (N,S,S,3)  the face redrawn as src
                                                           out 3  (N,S,S,1)  mask of the redrawn face

Outputs count by their order, inputs by what their names contain, as in the programs that use these files. Nothing in a
file can run code: only operators that the runtime brings itself, and no library is ever loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import IncompatibleModel, UsageError
from understudy.networks.onnx_files import first_line, open_session, require_file
from understudy.networks.onnx_inspection import Described, inputs_of, read_network, require_harmless
from understudy.records import FaceType

FACE_INPUT, MORPH_INPUT = "in_face:0", "morph_value:0"
"""The exact names under which live tools feed the inputs."""
OUTPUTS = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")
"""Names of the outputs as the reference has them, in the order that counts: dst's mask, the new face, its mask."""

DFM_SUFFIX = ".dfm"

METADATA_PREFIX = "understudy."
DEFAULT_MORPH = 1.0
"""Wholly src, as our own networks take it when nothing is asked for."""

_SMALLEST, _LARGEST = 16, 2048
_LONG_NAMES = {"half": "h", "midfull": "mf", "full": "f", "whole": "wf"}
_CHANNELS = (1, 3, 1)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DfmMetadata:
    """What is known of the model in a file; each is None where the file does not say it.

    Files of other programs say nothing at all; face_type is then what the file's name says, if it does.
    """

    face_type: FaceType | None = None
    name: str | None = None
    iteration: int | None = None
    model_class: str | None = None
    archi: str | None = None
    version: str | None = None

    def as_properties(self) -> dict[str, str]:
        """The properties that say this inside a file."""
        found = vars(self)
        return {METADATA_PREFIX + key: str(value) for key, value in found.items() if value is not None}

    @classmethod
    def of(cls, properties: Mapping[str, str], path: Path) -> DfmMetadata:
        """What the properties of a file say; anything that makes no sense counts as not said."""
        told = {key: _plain(properties.get(METADATA_PREFIX + key, "")) for key in cls.__dataclass_fields__}
        iteration = told["iteration"] or ""
        return cls(
            face_type=_face_type(told["face_type"]) or face_type_of_name(path.stem),
            name=told["name"],
            iteration=int(iteration) if iteration.isascii() and iteration.isdigit() and len(iteration) < 12 else None,
            model_class=told["model_class"],
            archi=told["archi"],
            version=told["version"],
        )


class DfmNetwork:
    """The network of one `.dfm` file. `predict` may be called by one thread at a time.

    size: S, side of the square faces in px. has_morph: whether it takes a morph value. metadata: see `DfmMetadata`.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> None:
        """Look through the file and open it.

        device: as `devices` names them; without onnxruntime's kernels for it, the processor. threads: of the processor;
        None for all. Raises IncompatibleModel for a file that is no such network or might do harm, MissingEngine when
        there is no file, MissingExtra without the extra `onnx`.
        """
        self.path = path
        require_file(path)
        model = read_network(path)
        inputs = inputs_of(model)
        self.size = _size_of(inputs, path)
        require_harmless(model, path)
        del model  # its weights take as much room as those of the session
        self._session = open_session(path, threads=threads, device=device)
        self._inputs = [item.name for item in inputs]
        self.has_morph = len(inputs) == 2
        self._one_by_one = inputs[0].shape[0] == 1
        self._outputs = _output_names(self._session, path, self.size)
        self.metadata = DfmMetadata.of(self._session.get_modelmeta().custom_metadata_map, path)

    def predict(self, faces: Floats, morph: float | None = None) -> tuple[Floats, Floats, Floats]:
        """dst faces (B,S,S,3) RGB 0..1 → face as src (B,S,S,3) RGB, its mask (B,S,S), the mask of dst's face (B,S,S).

        All float32 in 0..1. morph, 0..1: how much of src an AMP model takes; others have no such choice. Raises
        UsageError for another shape, IncompatibleModel when the network cannot compute or gives no numbers.
        """
        if faces.ndim != 4 or faces.shape[1:] != (self.size, self.size, 3):
            raise UsageError(f"Faces of the shape (B,{self.size},{self.size},3) are needed, not {faces.shape}.")
        step = 1 if self._one_by_one else max(1, len(faces))
        parts = [self._run(faces[start : start + step], morph) for start in range(0, len(faces), step)]
        if not parts:
            empty = np.zeros((0, self.size, self.size), np.float32)
            return np.zeros((0, self.size, self.size, 3), np.float32), empty, empty
        mask_dst, face, mask_swap = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.ascontiguousarray(face[..., ::-1]), mask_swap[..., 0], mask_dst[..., 0]

    def _run(self, faces: Floats, morph: float | None) -> list[Floats]:
        """The three outputs as the file gives them: BGR, in its order."""
        given = {self._inputs[0]: np.ascontiguousarray(faces[..., ::-1], np.float32)}
        if self.has_morph:
            share = DEFAULT_MORPH if morph is None else min(1.0, max(0.0, morph))
            given[self._inputs[1]] = np.array([share], np.float32)
        try:
            found = self._session.run(self._outputs, given)
        except Exception as error:  # onnxruntime raises types of its own, made at run time
            raise IncompatibleModel(
                f"{self.path.name} cannot compute a face of {self.size} px.",
                hint=f"The runtime says: {first_line(error)}",
                path=self.path,
            ) from error
        for output, channels in zip(found, _CHANNELS, strict=True):
            if output.shape != (len(faces), self.size, self.size, channels):
                raise _no_dfm(self.path, f"it gives {output.shape} for faces of the shape {faces.shape}")
            if not np.isfinite(output).all():
                raise _no_dfm(self.path, "what it draws are no finite numbers")
        return [np.clip(output, 0, 1) for output in found]


def face_type_of_name(stem: str) -> FaceType | None:
    """What a file name such as `Some_Name_wf_320` says of the face type; None when it says nothing.

    `h` and `f` alone are more often part of a person's name: they count only beside the number of the size.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    for place, word in enumerate(words):
        beside_number = any(near.isdigit() for near in words[max(0, place - 1) : place + 2])
        if word in ("wf", "mf", "head") or (word in ("h", "f") and beside_number):
            return FaceType(word)
        if word in _LONG_NAMES and "face" in words[place + 1 : place + 2]:
            return FaceType(_LONG_NAMES[word])
        if word.removesuffix("face") in _LONG_NAMES and word.endswith("face"):
            return FaceType(_LONG_NAMES[word.removesuffix("face")])
    return None


def _plain(text: str) -> str | None:
    """What a file says, as far as a terminal can show it; None where that is nothing."""
    return text[:200] if text.isprintable() and text else None


def _face_type(text: str | None) -> FaceType | None:
    try:
        return FaceType(text) if text else None
    except ValueError:
        return None


def _size_of(inputs: Sequence[Described], path: Path) -> int:
    """The side of the faces that a network takes. Raises IncompatibleModel for anything but (N,S,S,3), and a morph."""
    wanted = ("in_face", "morph_value")[: len(inputs)]
    if not 1 <= len(inputs) <= 2 or any(part not in item.name for part, item in zip(wanted, inputs, strict=True)):
        raise _no_dfm(path, f"it takes {', '.join(item.name[:60] for item in inputs[:6]) or 'nothing'}")
    for item in inputs:
        if item.kind != "tensor(float)":
            raise _no_dfm(path, f"its input {item.name[:60]} is {item.kind}")
    if len(inputs) == 2 and not _is_one_number(inputs[1].shape):
        raise _no_dfm(path, f"its morph value has the shape {inputs[1].shape}")
    shape = inputs[0].shape
    count, side = (shape[0], shape[1]) if len(shape) == 4 else (None, None)
    fits = isinstance(side, int) and shape[1:] == [side, side, 3] and (count == 1 or not isinstance(count, int))
    if not isinstance(side, int) or not fits or not _SMALLEST <= side <= _LARGEST:
        raise _no_dfm(path, f"its faces have the shape {shape}, not (N,S,S,3) with a fixed S")
    return side


def _is_one_number(shape: Sequence[int | str | None]) -> bool:
    return len(shape) == 1 and (shape[0] == 1 or not isinstance(shape[0], int))


def _output_names(session: Any, path: Path, size: int) -> list[str]:
    outputs = session.get_outputs()
    shapes = [list(item.shape) for item in outputs]
    if len(outputs) != len(OUTPUTS):
        raise _no_dfm(path, f"it has {len(outputs)} outputs")
    for item, shape, channels in zip(outputs, shapes, _CHANNELS, strict=True):
        told = [side for side in zip(shape[1:], (size, size, channels), strict=False) if isinstance(side[0], int)]
        if item.type != "tensor(float)" or len(shape) not in (0, 4) or any(side != wanted for side, wanted in told):
            raise _no_dfm(path, f"its output {item.name[:60]} is {item.type} of the shape {shape}")
    return [item.name for item in outputs]


def _no_dfm(path: Path, what: str) -> IncompatibleModel:
    return IncompatibleModel(
        f"{path.name} is no face swapper of the kind .dfm: {what}.",
        hint="Such a file takes in_face (and morph_value), and gives dst's mask, a face and its mask.",
        path=path,
    )
