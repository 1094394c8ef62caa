"""Memory that runs out in the middle of a step: really, in a process that may not have more; and what is left then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from understudy.errors import OutOfMemory
from understudy.training.memory.shortage import in_memory, is_shortage
from understudy.training.optimisers import RMSprop

ROOT = Path(__file__).resolve().parents[2]


def optimiser() -> RMSprop:
    return RMSprop([("weight", nn.Parameter(torch.ones(4)))])


def test_work_is_done_again_in_twice_as_many_pieces_until_it_fits() -> None:
    tried: list[int] = []

    def work(cuts: int) -> str:
        tried.append(cuts)
        if cuts < 4:
            raise MemoryError
        return "done"

    assert in_memory(optimiser(), work, 1, 6) == ("done", 4)
    assert tried == [1, 2, 4]


def test_gradients_of_the_pieces_before_are_dropped() -> None:
    updated = optimiser()

    def work(cuts: int) -> bool:
        working = updated.working()["weight"]
        assert working.grad is None
        working.sum().backward()
        if cuts == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return True

    assert in_memory(updated, work, 1, 2) == (True, 2)


def test_where_single_faces_do_not_fit_it_ends_with_what_to_do() -> None:
    def work(cuts: int) -> None:
        raise MemoryError

    with pytest.raises(OutOfMemory, match="single face") as caught:
        in_memory(optimiser(), work, 1, 4)
    assert "--checkpointing" in caught.value.hint


def test_a_half_done_update_is_never_gone_on_from() -> None:
    updated = optimiser()

    def work(cuts: int) -> None:
        updated.working()["weight"].sum().backward()
        updated.step()
        raise MemoryError

    with pytest.raises(OutOfMemory, match="while weights were updated"):
        in_memory(updated, work, 1, 4)


@pytest.mark.parametrize(
    ("error", "shortage"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_is_full(error: BaseException, shortage: bool) -> None:
    assert is_shortage(error) is shortage


LIMITED = """
import json, resource, sys
import torch
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi
from understudy.training.applying import discriminators_of
from understudy.training.options import TrainOptions
from understudy.training.learning.precision import Precision
from understudy.training.recipes import recipe_for
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning.learner import prepare
from understudy.training.learning.step import SwapLearner

def batch(count, size):
    draw = torch.Generator().manual_seed(1)
    sides = []
    for _ in range(2):
        picture = torch.rand(count, 3, size, size, generator=draw)
        sides.append(Sample(picture, picture, torch.ones(count, 1, size, size), torch.ones(count, 1, size, size)))
    return Batch(*sides)

recipe, precision, options = recipe_for("saehd"), Precision("float32", True, 1), TrainOptions(gan_power=0.1)
config = SaehdConfig(size=64, archi=Archi.parse("df"), ae_dims=16, e_dims=16, d_dims=16, d_mask_dims=16)
net = recipe.build(config, torch.Generator().manual_seed(0))
prepare(net, precision, torch.device("cpu"))
discriminators = discriminators_of(recipe, config, options, precision, torch.device("cpu"), seed=0)
optimiser, objective = recipe.optimiser(net, options, precision, seed=0), recipe.objective(config, options, False)
learner = SwapLearner(net, optimiser, objective, discriminators)
learner.learn(batch(1, 64))  # what is there for good is there now
spare = int(sys.argv[1])
if spare:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (spare << 20), resource.RLIM_INFINITY))
cuts = learner.cuts
values = learner.learn(batch(16, 64))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps({
    "cuts": learner.cuts,
    "values": {name: float(value) for name, value in values.items()},
    "weights": [float(weight.detach().double().abs().sum()) for weight in net.parameters()],
    "updates": learner.optimiser.iterations,
}))
"""


def learned(spare_mib: int) -> dict[str, Any]:
    """What a step of 16 samples gives in a process that may have so many MiB more; 0: as many as it wants."""
    command = [sys.executable, "-c", LIMITED, str(spare_mib)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so that it can answer")
def test_a_process_whose_memory_is_full_learns_the_same_in_pieces() -> None:
    """Real allocations fail here, wherever they happen to: forward, backward, before the GAN. The same to 1e-3: over
    a larger batch a processor's sums in float32 are less exact."""
    free, limited = learned(0), learned(48)
    assert free["cuts"] == 1
    assert limited["cuts"] in (2, 4, 8, 16)
    assert limited["updates"] == free["updates"] == 2
    assert limited["values"] == pytest.approx(free["values"], rel=1e-3)
    assert limited["weights"] == pytest.approx(free["weights"], rel=1e-3)  # biases are two updates and nothing else
