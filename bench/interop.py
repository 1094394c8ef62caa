"""Import and export of a model of 1 GB, weights and AdaBelief's moments: seconds, and the process's memory at its peak.

The model is a df-ud with random weights, written as the reference writes it. Import and export are processes of
their own, so that a peak counts interpreter and torch too. Targets: 20 s, and 1.5 times the size of the files.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.facesets import pickles
from understudy.interop.layout import shape_in_file, their_name
from understudy.networks.families import family_for
from understudy.records import Archi, FaceType

TARGET_SECONDS, TARGET_MEMORY = 20.0, 1.5
OPTIONS = {"resolution": 224, "face_type": "wf", "archi": "df-ud", "ae_dims": 320, "e_dims": 64, "d_dims": 64}
QUICK = {"resolution": 128, "face_type": "wf", "archi": "df-ud", "ae_dims": 128, "e_dims": 32, "d_dims": 32}
MASK_DIMS = 22

PROGRAM = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from understudy.workspace import Workspace
{work}
seconds = time.perf_counter() - started
try:  # not ru_maxrss, which on Linux begins with the peak of the process that started this one
    peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
except OSError:
    import psutil
    memory = psutil.Process().memory_info()
    peak = getattr(memory, "peak_wset", memory.rss)
print(json.dumps({{"seconds": seconds, "peak": peak, "notes": result.notes}}))
"""

IMPORT = """
from understudy.stages.model_import import import_models
result = import_models(Workspace.create(Path(sys.argv[1])), Path(sys.argv[2]))
"""

EXPORT = """
from understudy.stages.export_dfl import export_dfl
result = export_dfl(Workspace.open(Path(sys.argv[1])), "large", output=Path(sys.argv[2]))
"""


def run(quick: bool = False) -> dict[str, Any]:
    """Two imports of the same files and exports of what came in (quick: one, of a smaller model), and how quickly these
    files are hashed alone."""
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as root:
        folder = Path(root) / "flat"
        folder.mkdir()
        write_model(folder, QUICK if quick else OPTIONS)
        size = sum(path.stat().st_size for path in folder.iterdir())
        hashed = _seconds_to_hash(folder)
        rounds = [Path(root) / f"workspace{index}" for index in range(1 if quick else 2)]
        runs = [_import(workspace, folder) for workspace in rounds]
        exports = [_export(workspace, workspace / "out", folder) for workspace in rounds]
    best = min(runs, key=lambda found: found["seconds"])
    peak = max(found["peak"] for found in runs)
    written = max(found["peak"] for found in exports)
    return {
        "files_mb": round(size / 1e6),
        "seconds": round(best["seconds"], 2),
        "mb_per_s": round(size / 1e6 / best["seconds"]),
        "seconds_to_read_and_hash_only": round(hashed, 2),
        "peak_memory_mb": round(peak / 1e6),
        "peak_memory_over_size": round(peak / size, 3),
        "export_seconds": round(min(found["seconds"] for found in exports), 2),
        "export_peak_memory_mb": round(written / 1e6),
        "export_peak_memory_over_size": round(written / size, 3),
        "target_seconds": TARGET_SECONDS,
        "target_memory_over_size": TARGET_MEMORY,
        "meets_target": best["seconds"] <= TARGET_SECONDS and (quick or max(peak, written) / size <= TARGET_MEMORY),
    }


def write_model(folder: Path, options: dict[str, Any], name: str = "large") -> None:
    """Flat files of a SAEHD model with random weights and AdaBelief's moments."""
    config = family_for("SAEHD").config(
        size=options["resolution"],
        face_type=FaceType(options["face_type"]),
        archi=Archi.parse(options["archi"]),
        **{key: options[key] for key in ("ae_dims", "e_dims", "d_dims")},
        d_mask_dims=MASK_DIMS,
    )
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in family_for("SAEHD").build(config).state_dict().items()}
    rng = np.random.default_rng(0)
    for network in dict.fromkeys(their_name(key)[0] for key in shapes):
        own = {key: shape for key, shape in shapes.items() if their_name(key)[0] == network}
        entries = ((their_name(key)[1], _random(rng, key, shape)) for key, shape in own.items())
        _write(folder / f"{name}_SAEHD_{network}.npy", entries, 4)
    moments = [("iters:0", np.int64(1000))]
    keys = [(kind, key) for kind in ("ms", "vs") for key in shapes]
    entries = ((_moment(kind, key), _random(rng, key, shapes[key])) for kind, key in keys)
    _write(folder / f"{name}_SAEHD_src_dst_opt.npy", _chain(moments, entries), 4)
    data = {
        "iter": 1000,
        "options": {**options, "d_mask_dims": MASK_DIMS},
        "loss_history": rng.random((1000, 2)).tolist(),
        "sample_for_preview": None,
        "choosed_gpu_indexes": None,
    }
    (folder / f"{name}_SAEHD_data.dat").write_bytes(pickles.dumps(data, 4))


def _chain(*parts: Any) -> Any:
    for part in parts:
        yield from part


def _moment(kind: str, key: str) -> str:
    network, tensor = their_name(key)
    return f"{kind}_{network}/{tensor.removesuffix(':0')}_0:0"


def _random(rng: np.random.Generator, key: str, shape: tuple[int, ...]) -> Any:
    return rng.random(shape_in_file(key, shape), dtype=np.float32)


def _write(path: Path, entries: Any, protocol: int) -> None:
    with path.open("wb") as file:
        for piece in pickles.dump_entries(entries, protocol):
            file.write(piece)


def _seconds_to_hash(folder: Path) -> float:
    started = time.perf_counter()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return time.perf_counter() - started


def _import(workspace: Path, folder: Path) -> dict[str, Any]:
    found = _alone(IMPORT, workspace, folder)
    assert found["notes"]["models"][0]["optimiser"] == "adabelief"
    return found


def _export(workspace: Path, output: Path, original: Path) -> dict[str, Any]:
    found = _alone(EXPORT, workspace, output)
    for path in original.glob("*.npy"):
        assert (output / path.name).stat().st_size == path.stat().st_size, path.name
    return found


def _alone(work: str, *paths: Path) -> dict[str, Any]:
    """What a process of its own says of that work."""
    command = [sys.executable, "-c", PROGRAM.format(work=work), *map(str, paths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
