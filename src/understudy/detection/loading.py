"""Engines by name or by the path of their files."""

from __future__ import annotations

from pathlib import Path

from understudy.detection.found import Engine
from understudy.detection.options import Accuracy
from understudy.errors import InvalidOption

ENGINES = ("mediapipe", "face-alignment", "s3fd-fan", "s3fd-3dfan")
"""Names that `load_engine` knows; the first is bundled, the others run on the user's own weight files."""


def load_engine(
    name: str | Path = "mediapipe",
    *,
    threads: int = 1,
    device: str = "cpu",
    accuracy: Accuracy | str | None = None,
) -> Engine:
    """Load a face engine for use in one thread.

    name: one of ENGINES, or the path of an ONNX landmark network or of a folder with ONNX networks. threads: how many
    cores one call may use; several engines with one thread each are faster in total. device: where the networks run;
    mediapipe has only the processor and runs there whatever is asked. accuracy: None is what suits the engine, fast for
    mediapipe and high for the others (docs/guide/engines.md has the figures). Raises InvalidOption for an unknown name,
    MissingEngine when its files are not there, MissingExtra without onnxruntime, IncompatibleModel for foreign files.
    """
    if accuracy is None:
        accuracy = Accuracy.FAST if name == "mediapipe" else Accuracy.HIGH
    elif accuracy not in list(Accuracy):
        raise InvalidOption(f"There is no accuracy {accuracy!r}.", hint="It is high or fast.")
    if name == "mediapipe":
        from understudy.detection.finder import MediapipeEngine

        return MediapipeEngine(threads=threads, accuracy=Accuracy(accuracy))
    if name in ENGINES:
        from understudy.detection.fan_engine import load_fan_engine

        return load_fan_engine(str(name), device=device, accuracy=Accuracy(accuracy))
    path = Path(name).expanduser()
    if path.suffix.lower() == ".onnx" or path.is_dir():
        from understudy.detection.onnx_engine import load_onnx_engine

        return load_onnx_engine(path, threads=threads, device=device, accuracy=Accuracy(accuracy))
    raise InvalidOption(
        f"There is no face engine called {str(name)!r}.",
        hint=f"Engines: {', '.join(ENGINES)}, or a folder with ONNX files.",
    )
