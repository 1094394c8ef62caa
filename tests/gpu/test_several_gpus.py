"""Several graphics cards learn what one learns. Waits for a machine that has two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from small_faces import workspace_with_faces
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType, PrecisionChoice
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.new import create_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices"),
]

CONFIG = SaehdConfig(
    size=64, archi=Archi.parse("df-ud"), face_type=FaceType.WHOLE_FACE, ae_dims=16, e_dims=16, d_dims=16, d_mask_dims=16
)


def trained(root: Path, **options: Any) -> Checkpoint:
    workspace = workspace_with_faces(root)
    create_model(workspace.model("small"), "saehd", config=CONFIG)
    given = {"batch_size": 8, "target_iter": 3, "gan_power": 0.1, "gan_dims": 8, "clipgrad": True, **options}
    train(workspace, "small", TrainOptions.of(**{"precision": PrecisionChoice.FP32, "preview_every": 0, **given}))
    found = CheckpointStore(workspace.model("small")).newest()
    assert found is not None
    return found


@pytest.mark.parametrize("shard", [False, True])
def test_two_cards_learn_what_one_learns(tmp_path: Path, shard: bool) -> None:
    one = trained(tmp_path / "one", device="cuda:0")
    two = trained(tmp_path / "two", devices="0,1", shard=shard)
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=0, atol=5e-5, msg=name)
    assert one.state["batches"] == two.state["batches"]


def test_two_cards_learn_in_bfloat16(tmp_path: Path) -> None:
    two = trained(tmp_path, devices="all", precision=PrecisionChoice.BF16)
    assert all(bool(weight.isfinite().all()) for weight in two.weights.values())
