"""Training of every class, with everything that has a state of its own, killed at moments that nobody chose."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from labelled_faces import labelled_workspace, small_xseg
from mortal import servant
from small_faces import workspace_with_faces
from understudy.networks.amp import AmpConfig
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType, PrecisionChoice
from understudy.stages.train import train
from understudy.stages.train_xseg import train_xseg
from understudy.training.options import TrainOptions
from understudy.training.options.xseg import XSegTrainOptions
from understudy.training.saved.manifests import MANIFEST
from understudy.training.saved.new import create_model
from understudy.workspace import Workspace

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")

NUMBERS: dict[str, Any] = {
    "size": 32, "face_type": FaceType.WHOLE_FACE, "ae_dims": 8, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4,
}  # fmt: skip
STATES = {"ema_decay": 0.9, "evaluate_every": 2, "hold_out": 0.25, "save_minutes": 0.002, "preview_every": 3}
"""What keeps a state beside weights and moments, saved several times a second."""

CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "quick96": ("quick96", Quick96Config(size=32, ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4), {"replay": 0.25}),
    "liae": (
        "saehd",
        SaehdConfig(archi=Archi.parse("liae-udt"), **NUMBERS),
        {"gan_power": 0.1, "gan_dims": 8, "lr_dropout": "y", "autoclip": 25.0, "accumulate": 2, "ct_mode": "rct"},
    ),
    "df": (
        "saehd",
        SaehdConfig(archi=Archi.parse("df"), **NUMBERS),
        {"true_face_power": 0.01, "gan_power": 0.1, "gan_dims": 8, "clipgrad": True, "lr_warmup": 6, "replay": 0.25},
    ),
    "amp": ("amp", AmpConfig(inter_dims=12, **NUMBERS), {"gan_power": 0.1, "gan_dims": 8, "uniform_yaw": True}),
}
SWAPPERS, XSEG = tuple(CASES), "xseg"

SERVER = """
import json, os, sys
from pathlib import Path
import understudy.stages.train_faces
from understudy.stages.train import train
from understudy.stages.train_xseg import train_xseg
from understudy.training.measuring import evaluating
from understudy.training.learning import guard
from understudy.training import opening
from understudy.training.options import TrainOptions
from understudy.training.options.xseg import XSegTrainOptions
from understudy.workspace import Workspace

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            stage, options = (train_xseg, XSegTrainOptions) if order["xseg"] else (train, TrainOptions)
            stage(Workspace.open(Path(order["root"])), "small", options.of(**order["options"]))
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


AnyOptions = TrainOptions | XSegTrainOptions


class Nursery:
    """Starts trainings in forks of a process that has imported everything, so that a start takes no time."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def killed(self, workspace: Workspace, options: AnyOptions, after_secs: float) -> int:
        """Train, and kill it after so many seconds; its exit code."""
        assert self._server.stdin is not None
        asked = options.model_dump(mode="json", exclude_unset=True)
        order = {"root": str(workspace.root), "options": asked, "xseg": isinstance(options, XSegTrainOptions)}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid = self._number()
        time.sleep(after_secs)
        os.kill(pid, signal.SIGKILL)  # a zombie, if it ended by itself, until the server has read its code
        return self._number()

    def _number(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def made(root: Path, case: str) -> tuple[Workspace, AnyOptions]:
    fixed = {"batch_size": 2, "precision": PrecisionChoice.FP32, "threads": 1, "keep_checkpoints": 2, **STATES}
    if case == XSEG:
        workspace = labelled_workspace(root)
        small_xseg(workspace, "small")
        return workspace, XSegTrainOptions.of(**fixed)
    workspace = workspace_with_faces(root, count=12)
    model_class, config, more = CASES[case]
    create_model(workspace.model("small"), model_class, config=config)
    return workspace, TrainOptions.of(**{**fixed, **more})


def train_to(workspace: Workspace, options: AnyOptions, target: int) -> None:
    aimed = options.but(target_iter=target)
    if isinstance(aimed, XSegTrainOptions):
        train_xseg(workspace, "small", aimed)
    else:
        train(workspace, "small", aimed)


def trained(workspace: Workspace) -> int:
    """How many iterations the history holds."""
    history = workspace.model("small") / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.is_file() else 0


def assert_same_training(one: Path, other: Path, iteration: int) -> None:
    """Every file of the last saved state, the losses and the evaluations are equal to the last bit."""
    manifests = [
        json.loads((folder / f"checkpoints/{iteration:09d}" / MANIFEST).read_text()) for folder in (one, other)
    ]
    assert "ema.safetensors" in manifests[0]["files"]
    assert manifests[0] == manifests[1]
    for name in ("history.jsonl", "evaluation.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def kill_again_and_again(folder: Path, case: str, *, times: int, seed: int) -> None:
    chance = random.Random(seed)
    workspace, options = made(folder / "killed", case)
    with servant(SERVER) as server:
        nursery = Nursery(server)
        for _ in range(times):
            code = nursery.killed(workspace, options, chance.uniform(0.3, 3.0))
            assert code == -signal.SIGKILL
    target = trained(workspace) + 3
    train_to(workspace, type(options)(), target)

    whole, same = made(folder / "whole", case)
    train_to(whole, same, target)
    assert_same_training(whole.model("small"), workspace.model("small"), target)


@pytest.mark.parametrize(("case", "times"), [("liae", 2), ("amp", 2), (XSEG, 1)])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(tmp_path: Path, case: str, times: int) -> None:
    kill_again_and_again(tmp_path, case, times=times, seed=5)


@pytest.mark.faults
@pytest.mark.parametrize("case", [*SWAPPERS, XSEG])
def test_fifty_kills_lose_nothing(tmp_path: Path, case: str) -> None:
    """Ten for each kind of model: 50 in all."""
    seed = int(os.environ.get("UNDERSTUDY_FAULT_SEED", "1"))
    kill_again_and_again(tmp_path, case, times=10, seed=seed)
