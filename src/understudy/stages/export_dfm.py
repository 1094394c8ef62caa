"""Write a model as the file that live tools load, and deliver it only if it draws what the model draws.

newest saved state ─► graph ─► temporary file ─► tried in onnxruntime on faces of the dst ─► NAME_CLASS_model.dfm
"""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from understudy import __version__
from understudy.errors import Interrupted, UsageError
from understudy.files import make_folder, os_errors, require_writable, sweep, writing
from understudy.interop import dfm_quantising, dfm_writing, xseg_writing
from understudy.interop.dfm_options import DfmOptions
from understudy.networks.amp import Amp
from understudy.networks.dfm import DfmMetadata, DfmNetwork
from understudy.networks.onnx_files import OnnxNetwork
from understudy.networks.onnx_inspection import library
from understudy.networks.xseg import XSeg
from understudy.records import FaceType, WeightsChoice
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.dfm_check import MORPHS, Agreement, Draw, Floats, Tolerance, compare, drawing, faces_to_try
from understudy.stages.models import open_model
from understudy.stages.result import StageResult
from understudy.training.saved.weights import trained_network
from understudy.workspace import Workspace

TOLERANCES = {
    "fp32": Tolerance(1e-4, 80),  # rounding alone: 6.4e-6 at most over every network of the reference's golden data
    "int8": Tolerance(0.5, 35),  # 52 dB for trained networks; a shift by a pixel is a large step at a mask's edge
    "xseg": Tolerance(2e-3, 70),  # 1.3e-4; its FRN amplifies rounding, and the reference is off by 1.5e-3 itself
    "fp16": Tolerance(2e-2, 50),  # 2.8e-3 at most there, 71 dB at least; three grey levels of 255 are 1.2e-2
}
"""What a file may differ from its network, by its number type."""

SAMPLES = 32
"""Faces on which the ranges of 8-bit numbers are taken; the check uses others."""


def export_dfm(
    workspace: Workspace,
    name: str,
    options: DfmOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write the newest saved state of the model `name` as `.dfm`, or XSeg as `.onnx`; all of the file or nothing.

    The file is run in onnxruntime against the network on dst faces of the workspace before it appears. A model that is
    being trained is exported as it was saved last, and goes on. The notes hold model, class, iteration, precision,
    bytes and agreement (largest difference of any number in 0..1, PSNR in dB, faces tried).
    Raises MissingModel, UsageError when the file is there, CorruptCheckpoint, IncompatibleModel when the file would be
    too large or differs, MissingExtra, Interrupted, DiskFull, ReadOnlyWorkspace and Busy; no file has changed then.
    """
    started, options = time.perf_counter(), options or DfmOptions()
    for module in ("onnx", "onnxruntime"):
        library(module)
    folder = open_model(workspace, name, report=report)
    with workspace.writing(f"export-{name}"):
        model = load(folder, report, weights=options.weights)
        if not model.can_swap and (options.quantize or options.int8):
            raise UsageError(f"{name} draws masks; such a network is written in single precision only.")
        path = _place(workspace, options, model)
        face_type = model.metadata.face_type or FaceType.FULL
        count = options.check_faces + (SAMPLES if options.int8 else 0)
        faces = faces_to_try(workspace, model.size, face_type, count, report=report, stop=stop)
        with writing(path) as temp:
            agreement = _written(temp, model, options, faces, report, stop)
            kept = _kept(path, workspace.new_trash("export-dfm")) if path.exists() else None
    if kept is not None:
        report(Note(f"The file that was there before is {kept}."))
    return StageResult(
        seconds=time.perf_counter() - started,
        outputs=[path],
        notes={
            "model": name,
            "class": model.metadata.model_class,
            "iteration": model.metadata.iteration,
            "precision": _precision(options),
            "bytes": path.stat().st_size,
            "agreement": agreement.as_json(),
            **({"trash": str(kept)} if kept is not None else {}),
        },
    )


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model's newest saved state, float32 on the processor."""

    net: nn.Module
    size: int
    metadata: DfmMetadata
    can_swap: bool


def load(folder: Path, report: Report = silent, *, weights: WeightsChoice = WeightsChoice.AUTO) -> Loaded:
    """The newest whole saved state of a model. Raises MissingModel, CorruptCheckpoint, IncompatibleModel."""
    family, net, iteration, _ = trained_network(folder, report, weights=weights)
    config: Any = net.config
    archi = getattr(config, "archi", None)
    metadata = DfmMetadata(
        face_type=config.face_type,
        name=folder.name,
        iteration=iteration,
        model_class=family.model_class,
        archi=str(archi) if archi else None,
        version=__version__,
    )
    return Loaded(net.eval().requires_grad_(False), config.size, metadata, family.can_swap)


def _place(workspace: Workspace, options: DfmOptions, model: Loaded) -> Path:
    """Where the file goes, with what killed exports left there swept away.

    Raises UsageError when something is there already, ReadOnlyWorkspace, DiskFull.
    """
    known = model.metadata
    usual = f"{known.name}_{known.model_class}_model.dfm" if model.can_swap else f"{known.model_class}_model.onnx"
    path = Path(options.output).absolute() if options.output is not None else workspace.models / usual
    with os_errors(path):
        path = path if path.suffix.lower() in (".dfm", ".onnx") and not path.is_dir() else path / usual
        is_there = path.exists()
    if is_there and not options.replace:
        raise UsageError(
            f"{path.name} is there already.",
            hint="Name another file with --output, or say --replace: the old one moves to the trash.",
            path=path,
        )
    make_folder(path.parent)
    sweep(path.parent, glob.escape(path.name))
    require_writable(path.parent)
    return path


def _written(path: Path, model: Loaded, options: DfmOptions, faces: Floats, report: Report, stop: Stop) -> Agreement:
    """Write the file and try it. Raises IncompatibleModel when it does not draw what the network draws."""
    precision = _precision(options)
    report(Note(f"Writing {model.metadata.model_class} {model.size} px as {precision}.", "debug"))
    if options.int8:
        faces, samples = _split(faces, options.check_faces)
        dfm_quantising.write_int8(
            model.net,
            path,
            samples,
            morphs=MORPHS if isinstance(model.net, Amp) else (None,),
            properties=model.metadata.as_properties(),
        )
    else:
        graph = _graph(model, options)
        _require_going(stop)
        path.write_bytes(graph.SerializeToString())
        del graph
    _require_going(stop)
    drawn, morphs = _opened(path, model)
    agreement = compare(drawing(model.net), drawn, faces, morphs, report=report, stop=stop)
    _require_going(stop)
    TOLERANCES[precision if model.can_swap else "xseg"].require(agreement, path)
    return agreement


def _graph(model: Loaded, options: DfmOptions) -> Any:
    properties = model.metadata.as_properties()
    if isinstance(model.net, XSeg):
        return xseg_writing.build(model.net, properties=properties)
    return dfm_writing.build(model.net, half=options.quantize, properties=properties)


def _opened(path: Path, model: Loaded) -> tuple[Draw, Sequence[float | None]]:
    """The written file as a way to draw, and the morph values to try it at."""
    if model.can_swap:
        file = DfmNetwork(path)
        return file.predict, MORPHS if file.has_morph else (None,)
    network = OnnxNetwork(path)
    return lambda faces, morph: (network.run(faces[0, ..., ::-1])[xseg_writing.MASK_OUTPUT][..., 0],), (None,)


def _split(faces: Floats, check: int) -> tuple[Floats, Floats]:
    """Faces to check with and faces to take ranges on: different ones, as far as there are enough."""
    if len(faces) < 2:
        return faces, faces
    chosen = np.zeros(len(faces), bool)
    chosen[np.linspace(0, len(faces) - 1, min(check, len(faces) // 2)).astype(int)] = True
    return faces[chosen], faces[~chosen]


def _kept(path: Path, trash: Path) -> Path:
    """The file that is about to be replaced, kept in the trash as well."""
    with os_errors(trash):
        trash.mkdir(parents=True)
        try:
            os.link(path, trash / path.name)
        except OSError:  # another disk, or one without hard links
            shutil.copy2(path, trash / path.name)
    return trash / path.name


def _require_going(stop: Stop) -> None:
    if stop():
        raise Interrupted("The export was stopped; no file was written.", hint="The same command starts again.")


def _precision(options: DfmOptions) -> str:
    return "int8" if options.int8 else "fp16" if options.quantize else "fp32"
