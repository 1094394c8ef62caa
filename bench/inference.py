"""Faces per second of swappers, against the same network in onnxruntime on the same cores.

Every way of computing takes its turn in one process, and the least time of each counts, so that a machine that slows
down or is shared slows all of them. The predictor is timed as its callers have it, NumPy arrays in and out. Networks
have random weights; the time does not depend on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from understudy.devices import physical_cores
from understudy.errors import MissingExtra
from understudy.interop import dfm_writing
from understudy.networks.amp import AmpConfig
from understudy.networks.dfm import DfmNetwork
from understudy.networks.families import Config, config_to_plain, family_for
from understudy.networks.predictor import Predictor
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, PrecisionChoice
from understudy.stages.load_model import load_model
from understudy.training.learning.precision import choose
from understudy.training.saved.new import adopt_model, new_network
from understudy.training.saved.predictor import predictor_of

TARGET_DEFAULT, TARGET_FP32 = 1.3, 0.9
BATCHES = (1, 8)
PAUSE = 0.1
"""Seconds before each turn: onnxruntime's threads go on waiting busily after theirs, and would slow the next way."""
DFUD = Archi.parse("df-ud")
NETWORKS: dict[str, tuple[str, Config]] = {
    "df-ud 128, ae 128": ("saehd", SaehdConfig(size=128, archi=DFUD, ae_dims=128)),
    "df-ud 128": ("saehd", SaehdConfig(size=128, archi=DFUD)),
    "df-ud 256": ("saehd", SaehdConfig(size=256, archi=DFUD)),
    "df-ud 320": ("saehd", SaehdConfig(size=320, archi=DFUD)),
    "AMP 256": ("amp", AmpConfig(size=256)),
}
LARGE = SaehdConfig(size=256, archi=DFUD, ae_dims=768, d_dims=80)
"""A network of about 1 GB."""


def run(quick: bool = False) -> dict[str, Any]:
    """Faces/s by network, batch and way of computing, what compiling takes, and what loading a large model takes."""
    torch.set_num_threads(physical_cores())
    default = choose("cpu").dtype
    rows: list[dict[str, Any]] = []
    compile_seconds: dict[str, float] = {}
    for name in list(NETWORKS)[:2] if quick else NETWORKS:
        rows += _rows(name, default, compile_seconds, seconds=2.0 if quick else 6.0, compiled=not quick)
    return {
        "threads": torch.get_num_threads(),
        "default_precision": default,
        "target_default": TARGET_DEFAULT,
        "target_fp32": TARGET_FP32,
        "least_default": min(row["default/onnx"] for row in rows),
        "least_fp32": min(row["fp32/onnx"] for row in rows),
        "meets_target": all(row["default/onnx"] >= TARGET_DEFAULT and row["fp32/onnx"] >= TARGET_FP32 for row in rows),
        "seconds_to_compile": compile_seconds,
        "loading": {} if quick else _loading(),
        "rows": rows,
    }


def _rows(
    name: str, default: str, compile_seconds: dict[str, float], *, seconds: float, compiled: bool
) -> list[dict[str, Any]]:
    """One line for each batch: faces/s of every way of computing, and how many times onnxruntime's that is."""
    ways: dict[str, Callable[[Any], object]] = {"onnxruntime fp32": _onnx(name)}
    for precision in (PrecisionChoice.FP32, PrecisionChoice.BF16):
        ways[precision.value] = _predictor(name, precision).predict
    if compiled:  # it takes the better part of a minute for each network and number type
        torch.compiler.reset()  # of networks before this one; torch gives up after eight
        for precision in (PrecisionChoice.FP32, PrecisionChoice.BF16):
            ways[f"{precision.value} compiled"] = _predictor(name, precision, compiled=True).predict
    size = NETWORKS[name][1].size
    rows = []
    for batch in BATCHES:
        faces = np.random.default_rng(0).random((batch, size, size, 3), dtype=np.float32)
        for way, draw in ways.items():
            started = time.perf_counter()
            draw(faces)
            if "compiled" in way:
                compile_seconds[f"{name}, {way}, batch {batch}"] = round(time.perf_counter() - started, 1)
        least = _least(ways, faces, seconds=seconds)
        rate = {way: batch / taken for way, taken in least.items()}
        onnx = rate["onnxruntime fp32"]
        row: dict[str, Any] = {"network": name, "batch": batch}
        row |= {f"{way}, faces/s": round(value, 2) for way, value in rate.items()}
        row |= {f"{way}, faces/s": "" for way in ("fp32 compiled", "bf16 compiled") if way not in rate}
        row["fp32/onnx"] = round(rate["fp32"] / onnx, 2)
        row["default/onnx"] = round(rate["bf16" if default == "bfloat16" else "fp32"] / onnx, 2)
        rows.append(row)
    return rows


def _least(ways: dict[str, Callable[[Any], object]], faces: Any, *, seconds: float) -> dict[str, float]:
    """The least seconds of each way; they take turns, at least three of them and until the time is spent."""
    least = dict.fromkeys(ways, float("inf"))
    ends, turns = time.perf_counter() + seconds, 0
    while turns < 3 or (time.perf_counter() < ends and turns < 40):
        for way, draw in ways.items():
            time.sleep(PAUSE)
            started = time.perf_counter()
            draw(faces)
            least[way] = min(least[way], time.perf_counter() - started)
        turns += 1
    return least


def _predictor(name: str, precision: PrecisionChoice, *, compiled: bool = False) -> Predictor:
    model_class, config = NETWORKS[name]
    family = family_for(model_class)
    net = new_network(model_class, config)
    return predictor_of(family, net, iteration=0, precision=precision, compiled=compiled)


def _onnx(name: str) -> Callable[[Any], object]:
    model_class, config = NETWORKS[name]
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.dfm"
            path.write_bytes(dfm_writing.build(new_network(model_class, config)).SerializeToString())
            network = DfmNetwork(path, threads=physical_cores())
    except MissingExtra as error:
        raise SystemExit(f"{error.message} {error.hint}") from error
    return network.predict


def _loading() -> dict[str, Any]:
    """Seconds, and memory beyond what the process had, of opening a model of about 1 GB in a process of its own."""

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "large"
        net = new_network("saehd", LARGE)
        weights = net.state_dict()
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        adopt_model(model, net, "saehd", weights=weights)
        del net, weights
        found: dict[str, Any] = {"model_gb": round(size / 1e9, 2), "config": config_to_plain(LARGE)}
        for precision in ("fp32", "bf16"):
            command = [sys.executable, "-c", _LOAD, str(model), precision]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[precision] = json.loads(done.stdout)
    return found


_LOAD = """
import sys
from bench.inference import loaded
loaded(sys.argv[1], sys.argv[2])
"""


def loaded(folder: str, precision: str) -> None:
    """Open a model and print seconds and memory as JSON: what `_loading` measures in a process of its own."""

    process = psutil.Process(os.getpid())
    before, started = _own_memory(process), time.perf_counter()
    with _Peak(process) as peak:
        predictor = load_model(folder, "cpu", precision)
        taken = time.perf_counter() - started
        after = _own_memory(process)
    face = np.zeros((predictor.size, predictor.size, 3), np.float32)
    predictor.predict(face)
    gigabytes = {"kept": after - before, "peak": peak.most - before}
    print(json.dumps({"seconds": round(taken, 2)} | {f"gb_{key}": round(v / 1e9, 2) for key, v in gigabytes.items()}))


def _own_memory(process: psutil.Process) -> int:
    """Bytes that only this process needs: what is mapped from files the system can drop."""
    info = process.memory_info()
    return int(info.rss - getattr(info, "shared", 0))


class _Peak:
    """The most memory of the process while the block runs."""

    def __init__(self, process: psutil.Process) -> None:

        self.most = 0
        self._process, self._over = process, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, _own_memory(self._process))
