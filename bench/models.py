"""The memory of a training step as `model show` predicts it, against the peak of a real one on the processor; the time
that a list of 200 models takes; what a copy costs on the disk.

Each step runs in a process of its own, whose largest resident size is read when it ends; what the process takes before
the network is built, libraries warmed up, is taken off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES: tuple[dict[str, Any], ...] = (
    {"model": "quick96", "batch": 4},
    {"model": "quick96", "batch": 16},
    {"model": "saehd", "config": {"archi": "df-ud", "ae_dims": 128}, "batch": 4},
    {"model": "saehd", "config": {"archi": "df-ud", "ae_dims": 128}, "batch": 4, "options": {"gan_power": 0.1}},
    {"model": "saehd", "config": {"archi": "df-ud", "ae_dims": 128}, "batch": 4, "options": {"checkpointing": True}},
    {"model": "saehd", "config": {"archi": "liae-ud"}, "batch": 4},
    {"model": "amp", "config": {"size": 128, "inter_dims": 256}, "batch": 4},
)
QUICK = 3
DTYPES = ("float32", "bfloat16")
STEPS = 3
MODELS = 200


def run(quick: bool = False) -> dict[str, Any]:
    """Predicted and measured peaks in MB, and seconds of the list."""
    rows = [_compared({**case, "dtype": dtype}) for case in CASES[: QUICK if quick else None] for dtype in DTYPES]
    return {
        "largest_deviation_percent": max(abs(row["deviation %"]) for row in rows),
        "list_of_200_models_s": round(_list_seconds(), 3),
        **_copy_of_a_model(),
        "rows": rows,
    }


def measured_peak(case: dict[str, Any]) -> dict[str, int]:
    """Peak bytes of some real training steps, and what was predicted, from a process of its own."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "bench.models", json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def _compared(case: dict[str, Any]) -> dict[str, Any]:
    found = measured_peak(case)
    measured, predicted = found["measured"], found["predicted"]
    name = " ".join([case["model"], *(str(value) for value in case.get("config", {}).values())])
    return {
        "model": name,
        "options": ", ".join(f"{key} {value}" for key, value in case.get("options", {}).items()) or "-",
        "batch": case["batch"],
        "type": case["dtype"],
        "predicted MB": round(predicted / 1e6),
        "measured MB": round(measured / 1e6),
        "deviation %": round(100 * (predicted / measured - 1), 1),
    }


def _train_and_measure(case: dict[str, Any]) -> dict[str, int]:
    """In the process that is measured: predict, warm up, build, train."""
    import psutil
    import torch

    from understudy.networks.families import config_to_plain
    from understudy.training.learning.precision import Precision
    from understudy.training.memory.peak import training_memory
    from understudy.training.options import TrainOptions
    from understudy.training.recipes import config_from_plain, recipe_for

    recipe = recipe_for(case["model"])
    plain = {**config_to_plain(recipe.config()), **case.get("config", {})}
    options = TrainOptions(**case.get("options", {}))
    precision = Precision(case["dtype"], True, 1)
    predicted = training_memory(case["model"], plain, options, precision, batch_size=case["batch"]).total
    tiny = {"saehd": {"ae_dims": 32}, "amp": {"ae_dims": 32, "inter_dims": 32}}.get(case["model"], {"ae_dims": 16})
    small = {**plain, **tiny, "size": 64, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}
    _steps(recipe, config_from_plain(recipe, small), TrainOptions(), precision, 1, 2)
    _give_back_freed_memory()
    before = psutil.Process().memory_info().rss
    _steps(recipe, config_from_plain(recipe, plain), options, precision, case["batch"], STEPS)
    peak = _largest_resident_size()
    assert torch.get_num_threads() == 1
    return {"predicted": predicted, "measured": peak - before, "before": before}


def _largest_resident_size() -> int:
    """Bytes. On Linux not ru_maxrss, which begins with the peak of the process that started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _give_back_freed_memory() -> None:
    """Hand what the warm-up has freed back to the system, where the C library can: else it would be used again."""
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _steps(recipe: Any, config: Any, options: Any, precision: Any, batch_size: int, count: int) -> None:
    import torch

    from understudy.training.batches.samples import Batch, Sample
    from understudy.training.learning.discriminators import Discriminator, discriminator_networks
    from understudy.training.learning.learner import prepare
    from understudy.training.learning.step import SwapLearner

    net = recipe.build(config, torch.Generator().manual_seed(0))
    prepare(net, precision, torch.device("cpu"))
    discriminators = discriminator_networks(config, options, 0)
    for its in discriminators.values():
        prepare(its, precision, torch.device("cpu"))
    discriminators = {
        name: Discriminator(its, recipe.optimiser(its, options, precision, seed=0))
        for name, its in discriminators.items()
    }
    objective = recipe.objective(config, options, False)
    learner = SwapLearner(
        net, recipe.optimiser(net, options, precision, seed=0), objective, discriminators=discriminators
    )
    recipe.configure(learner, options)
    for _ in range(count):
        faces = [torch.rand(batch_size, 3, config.size, config.size) for _ in range(4)]
        masks = [torch.ones(batch_size, 1, config.size, config.size) for _ in range(4)]
        src = Sample(faces[0], faces[1], masks[0], masks[1])
        dst = Sample(faces[2], faces[3], masks[2], masks[3])
        learner.learn(Batch(src, dst))


def _list_seconds() -> float:
    """Seconds to list a folder with 200 models, half of them ours, half flat files."""
    import pickle

    from understudy.stages.models import list_models
    from understudy.training.saved.models import new_record, publishing_model
    from understudy.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder))
        config = {"size": 128, "archi": "liae-ud", "face_type": "full_face"}
        data = pickle.dumps({"iter": 5, "options": {"archi": "df", "resolution": 128, "face_type": "wf"}})
        for index in range(MODELS // 2):
            with publishing_model(workspace.model(f"ours {index}"), new_record("SAEHD", config)) as temp:
                for iteration in (1000, 2000, 3000):
                    (temp / "checkpoints" / f"{iteration:09d}").mkdir(parents=True)
                    (temp / "checkpoints" / f"{iteration:09d}" / "weights.safetensors").write_bytes(b"0" * 1000)
            for name in ("encoder", "inter", "decoder_src", "decoder_dst"):
                (workspace.models / f"flat{index}_SAEHD_{name}.npy").write_bytes(b"0" * 1000)
            (workspace.models / f"flat{index}_SAEHD_data.dat").write_bytes(data)
        start = time.perf_counter()
        found = list_models(workspace)
        seconds = time.perf_counter() - start
        assert len(found) == MODELS
        return seconds


def _copy_of_a_model() -> dict[str, Any]:
    """Seconds and new MB on the disk for a copy of a Quick96 model with three saved states, with links and without."""
    import shutil

    import torch

    from understudy.stages.model_copy import copy_model
    from understudy.training.saved.checkpoints import CheckpointStore
    from understudy.training.saved.new import create_model, new_network
    from understudy.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder))
        create_model(workspace.model("old"), "Quick96")
        weights = new_network("Quick96").state_dict()
        for iteration in (1, 2, 3):
            moments = {f"moment.{name}": torch.zeros_like(tensor) for name, tensor in weights.items()}
            CheckpointStore(workspace.model("old")).save(iteration, weights=weights, optimiser=moments, state={})
        seconds, room = [], []
        for work in (
            lambda: copy_model(workspace, "old", "new"),
            lambda: shutil.copytree(workspace.model("old"), workspace.model("other")),
        ):
            free = shutil.disk_usage(folder).free
            start = time.perf_counter()
            work()
            os.sync()
            seconds.append(time.perf_counter() - start)
            room.append(free - shutil.disk_usage(folder).free)
    return {
        "copy_with_links": {"s": round(seconds[0], 3), "mb": round(room[0] / 1e6)},
        "copy_without": {"s": round(seconds[1], 3), "mb": round(room[1] / 1e6)},
    }


if __name__ == "__main__":
    print(json.dumps(_train_and_measure(json.loads(sys.argv[1]))))
