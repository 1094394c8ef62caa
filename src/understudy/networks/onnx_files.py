"""ONNX networks from files that take one picture: opened, looked at and run. onnxruntime, an extra, is loaded here.

    network = OnnxNetwork(Path("detector.onnx"), device="cuda:0")
    network.input.side                        # 640, or None where any size will do
    network.run(picture)                      # (H, W, 3) → {"boxes": array, …}

What the numbers of a picture mean (order of colours, black and white) no file says; that is up to the caller.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import IncompatibleModel, MissingEngine, MissingExtra

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class PictureInput:
    """How pictures go in. channels_last: (1, H, W, 3), not (1, 3, H, W). side: a fixed side in px, None for any."""

    name: str
    channels_last: bool
    side: int | None
    dtype: Any

    def batch(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture (H, W, 3) as the one of a batch, in the layout and type that the network takes."""
        values = np.rint(np.clip(picture, 0, 255)) if self.dtype is np.uint8 else picture
        return np.ascontiguousarray((values if self.channels_last else values.transpose(2, 0, 1))[None], self.dtype)


class OnnxNetwork:
    """One network of a file. `run` may be called by one thread at a time.

    outputs: the shape of each output by name, as the file says it; names or None stand for sides that may vary.
    """

    def __init__(self, path: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        """Open the file.

        threads: of the processor; None for all. device: as `devices` names them; without such a one, or without
        onnxruntime's kernels for it, the processor. Raises MissingEngine when there is no file, MissingExtra without
        onnxruntime, IncompatibleModel for a file that is no network of one square picture.
        """
        self.path = path
        self._session = open_session(path, threads=threads, device=device)
        self.input = _picture_input(self._session, path)
        self.outputs: dict[str, list[int | str | None]] = {
            item.name: list(item.shape) for item in self._session.get_outputs()
        }

    def run(self, picture: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The outputs by name for a picture (H, W, 3) of the values that the network expects.

        Raises IncompatibleModel when it cannot compute a picture of that size.
        """
        try:
            found = self._session.run(None, {self.input.name: self.input.batch(picture)})
        except Exception as error:  # onnxruntime raises types of its own, made at run time
            raise IncompatibleModel(
                f"{self.path.name} cannot compute a picture of {picture.shape[1]} x {picture.shape[0]}.",
                hint=f"The runtime says: {first_line(error)}",
                path=self.path,
            ) from error
        return dict(zip(self.outputs, map(np.asarray, found), strict=True))


def open_session(path: Path, *, threads: int | None = None, device: str = "cpu") -> Any:
    """onnxruntime's session of a file; libraries of operators are never loaded. Arguments and errors as `OnnxNetwork`.

    A file from a stranger is looked through first: `onnx_inspection`.
    """
    require_file(path)
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtra(
            "Networks in ONNX files need onnxruntime, which is not installed.",
            hint='Install it with: pip install "understudy[onnx]"',
            extra="onnx",
        ) from None
    runtime.set_default_logger_severity(4)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:  # by its path, since large networks keep their weights in a file beside them
        return runtime.InferenceSession(str(path), options, providers=_providers(runtime, device))
    except Exception as error:  # onnxruntime raises types of its own, made at run time
        raise IncompatibleModel(
            f"{path.name} cannot be loaded as an ONNX network.",
            hint=f"Check that it was copied whole. The runtime says: {first_line(error)}",
            path=path,
        ) from error


def require_file(path: Path) -> None:
    """Raise MissingEngine when there is no file."""
    if not path.is_file():
        raise MissingEngine(f"There is no file {path.name}.", hint=f"Look whether this is its place: {path}", path=path)


def _providers(runtime: Any, device: str) -> list[Any]:
    """The kinds of kernels to use: CUDA where it is asked for and there, and always the processor."""
    if not device.startswith(("cuda", "auto")) or "CUDAExecutionProvider" not in runtime.get_available_providers():
        return ["CPUExecutionProvider"]
    _, _, number = device.partition(":")
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def _picture_input(session: Any, path: Path) -> PictureInput:
    """The one input, which must be one square picture of three channels."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    kind = inputs[0].type if inputs else ""
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    fixed = {side for side in (shape[1:3] if channels_last else shape[2:4]) if isinstance(side, int) and side > 0}
    is_one = len(shape) == 4 and 3 in (shape[1], shape[3]) and (shape[0] == 1 or not isinstance(shape[0], int))
    if not is_one or kind not in _DTYPES or len(fixed) > 1:
        given = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
        raise IncompatibleModel(
            f"{path.name} is no network that takes one square picture as its input.",
            hint=f"It takes: {given or 'nothing'}. Wanted is (1, 3, H, W) or (1, H, W, 3), float32, float16 or uint8.",
            path=path,
        )
    return PictureInput(inputs[0].name, channels_last, min(fixed, default=None), _DTYPES[kind])


def first_line(error: Exception) -> str:
    """What a runtime says of an error, short enough for a hint."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
