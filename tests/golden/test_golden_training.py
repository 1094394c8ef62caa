"""Learning as the reference learns: per-sample losses, gradients, and the weights after three iterations.

Every case begins with the reference's own files: weights, optimiser and options come in by the same reader as a
model that a user imports, and go through the recipe and the learner that `understudy train` uses, in float32.

What is compared, and why to that tolerance:

- Losses and gradients before any update: to rounding. A feature within rounding of a leaky ReLU's corner may fall on
  the other side of it, which moves single elements of a gradient, hardly ever its norm. x·cos(x) magnifies rounding.
- Weights, moments and pictures after three updates with clipped gradients: to rounding as well, here a thousandth of
  the way that they have gone; pictures to 2e-4.
- Without clipping the reference begins to change a layer while the gradients of the layers before it are still being
  computed from it: an update needs its own gradient only, where clipping needs all of them first. How much of a step
  sees changed weights depends on its scheduler, so nobody can repeat it. Its way and the exact one then agree to a
  quarter of the way gone, and the losses to a tenth of what they have fallen.
- Where the optimiser's state is not stored: what comes before the first update.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference_networks import picture, stored_models
from torch import Tensor

from small_faces import workspace_with_faces
from understudy.interop import reference_options
from understudy.interop.flat import find_flat_models
from understudy.interop.flat_reading import read_flat_model
from understudy.interop.layout import our_name, to_ours, to_theirs
from understudy.networks.amp import AmpConfig
from understudy.records import CODE_DISCRIMINATOR, GAN, Archi, PrecisionChoice
from understudy.stages.train import train
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning.discriminators import Discriminator, discriminator_networks
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.losses import targets_of, weighted_sums
from understudy.training.options import TrainOptions
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.learner_state import AtRest, restore, saved_tensors

ITERATIONS = 3
LOSS_TOLERANCE = 1e-5
NORM_TOLERANCE, ELEMENT_TOLERANCE = 1e-3, 1e-2  # of the tensor's norm
COSINE_LOOSENESS = 20.0
EXACT_WAY, LOOSE_WAY = 1e-3, 0.25  # of the way that weights have gone
EXACT_FALL, LOOSE_FALL = 1e-4, 0.1  # of the way that losses have gone
PICTURE_TOLERANCE = 2e-4
MORPH = 0.5  # at which AMP's pictures were drawn

SCOPES = {"GAN": GAN, "D_src": GAN, "dis": CODE_DISCRIMINATOR}
KINDS = {"ms": "first", "vs": "second", "acc": "moment"}
DISCRIMINATORS = {"GAN": GAN, "Dcode": CODE_DISCRIMINATOR}


@dataclass(frozen=True)
class Case:
    """One training of one model. name: of the model; variant: of its options."""

    name: str
    variant: str
    archive: Path
    described: Mapping[str, Any]
    stored: Mapping[str, NDArray[Any]]
    batch: Batch


class FirstChannels(SwapLearner):
    """Takes the first channels where AMP draws random ones, as the reference did for these numbers."""

    def draw_channels(self, config: AmpConfig, count: int, draw: int) -> Tensor:
        first = torch.arange(config.inter_dims) < config.src_channels
        return first.float()[None, :, None, None].expand(count, -1, -1, -1)


def cases(golden: Path) -> list[Case]:
    """Every training of the folder that comes with a batch, the optimiser's files or not."""
    found = []
    for path in sorted((golden / "nets").glob("*_train_*.json")):
        name, _, variant = path.stem.rpartition("_train_")
        archive, batch = path.with_name(f"{name}.zip"), path.with_name(f"{name}_train_batch.npz")
        if archive.is_file() and batch.is_file():
            described = json.loads(path.read_text())
            found.append(
                Case(name, variant, archive, described, arrays(path.with_suffix(".npz")), batch_of(arrays(batch)))
            )
    return found


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def batch_of(stored: Mapping[str, NDArray[Any]]) -> Batch:
    """A batch of the reference, in RGB."""
    keys = {"warped": "warped", "target": "target", "mask": "mask", "eyes_mouth": "eyesmouth"}
    src, dst = (
        Sample(**{ours: picture(stored[f"{side}_{key}"]) for ours, key in keys.items() if f"{side}_{key}" in stored})
        for side in Batch._fields
    )
    return Batch(src, dst)


def learner_of(case: Case, folder: Path) -> tuple[SwapLearner, bool]:
    """The learner that a user would have who imports the model and sets the case's options, and whether the optimiser's
    state came with it."""
    with zipfile.ZipFile(case.archive) as opened:
        opened.extractall(folder)
    (flat,) = find_flat_models(folder)
    recipe = recipe_for(flat.model_class)
    given = reference_options.to_ours(flat.model_class, case.described["options"]).training
    options = TrainOptions.of(**{name: value for name, value in given.items() if name in TrainOptions.model_fields})
    with read_flat_model(flat) as model:
        config = config_from_plain(recipe, model.config)
        weights = {name: model.weights.read(name) for name in model.weights.kinds}
        state = model.optimiser
        stored = None if state is None else {name: state.read(name) for name in state.kinds}
    net = recipe.build(config, torch.Generator().manual_seed(0))
    net.load_state_dict({name: weights[name] for name in net.state_dict()})
    objective = recipe.objective(config, options, True)
    if flat.model_class == "SAEHD":  # it ran on a processor, channel-last, where this slip does not come about
        objective = replace(objective, roughness_along_channels=False)
    discriminators = {
        name: Discriminator(its, recipe.optimiser(its, options, Precision(), seed=0))
        for name, its in discriminator_networks(config, options, 0).items()
    }
    learner = FirstChannels(net, recipe.optimiser(net, options, Precision(), seed=0), objective, discriminators)
    restore(learner, Checkpoint(0, weights, stored, {}, folder))
    return learner, stored is not None


@dataclass
class Outcome:
    """How far we are from the reference in one case; each figure with the name of what it is about."""

    case: str
    clipped: bool
    resumed: bool
    looseness: float = 1.0
    losses: dict[str, float] = field(default_factory=dict)
    gradient_norms: dict[str, float] = field(default_factory=dict)
    gradient_elements: dict[str, float] = field(default_factory=dict)
    ways: dict[str, float] = field(default_factory=dict)
    falls: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        parts = {name: value for name, value in vars(self).items() if isinstance(value, dict) and value}
        return f"{self.case}: " + ", ".join(f"{name} {max(value.values()):.1e}" for name, value in parts.items())


def train_as_stored(case: Case, folder: Path) -> Outcome:
    """Three iterations, measured against what the reference had."""
    learner, resumed = learner_of(case, folder)
    options = case.described["options"]
    outcome = Outcome(f"{case.name} {case.variant}", bool(options["clipgrad"]), resumed)
    if "archi" in options and Archi.parse(options["archi"]).cosine:
        outcome.looseness = COSINE_LOOSENESS
    targets = targets_of(case.batch, learner.objective)
    people = weighted_sums(learner.losses(case.batch, targets), learner.objective.weights)
    judge(outcome, case, "G", sum(people.values(), start=torch.zeros(())), learner.net)
    for kind, name in DISCRIMINATORS.items():
        if name in learner.discriminators:
            losses = learner.patch_losses(case.batch, targets) if name == GAN else learner.code_losses(case.batch)
            judge(outcome, case, kind, losses, learner.discriminators[name].net)
    if not resumed:
        return outcome
    before = everything(learner)
    for iteration in range(ITERATIONS):
        with torch.no_grad():
            people = weighted_sums(learner.losses(case.batch, targets), learner.objective.weights)
        for side in Batch._fields:
            theirs = case.stored[f"{side}_loss"]
            difference = np.abs(people[side].numpy() - theirs[iteration]).max()
            if iteration == 0:
                outcome.losses[side] = float(difference / theirs[0].min())
            else:
                fallen = np.abs(theirs[iteration] - theirs[0]).max()
                outcome.falls[f"{side} {iteration}"] = float(difference / fallen)
        learner.learn(case.batch)
    outcome.ways = ways(case, before, everything(learner))
    with torch.no_grad():
        drawn = learner.net.swap(case.batch.dst.target, MORPH)  # type: ignore[operator]
    wanted = {"face": (drawn.face, "after_src_dst"), "mask": (drawn.mask_swap, "after_src_dst_mask")}
    outcome.pictures = {
        what: float((ours - picture(case.stored[f"{key}_u16"] / np.float32(65535))).abs().max())
        for what, (ours, key) in wanted.items()
    }
    return outcome


def judge(outcome: Outcome, case: Case, kind: str, losses: Tensor, net: torch.nn.Module) -> None:
    """Compare per-sample losses and their gradients with the stored ones; leaves no gradient behind."""
    theirs = case.stored[f"loss_{kind}"]
    outcome.losses[kind] = float(np.abs(losses.detach().numpy() / theirs - 1).max())
    losses.sum().backward()  # type: ignore[no-untyped-call]
    for key, norm in case.described["grad_norm"][kind].items():
        name = our_name("", key if kind == "G" else key.partition("/")[2])
        gradient = net.get_parameter(name).grad
        assert gradient is not None, key
        outcome.gradient_norms[key] = abs(float(gradient.norm()) - norm) / norm
        elements = case.stored.get(f"grad_{kind}|{key}")
        if elements is not None:
            outcome.gradient_elements[key] = float((gradient - to_ours(name, elements)).abs().max()) / norm
    net.zero_grad(set_to_none=True)


def everything(learner: SwapLearner) -> dict[str, Tensor]:
    """Weights and moments of all networks, copied, by their names in a saved state."""
    weights, optimiser = saved_tensors(learner, AtRest())
    return {name: tensor.clone() for name, tensor in (weights | optimiser).items()}


def ways(case: Case, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """By network and kind of number: how far we ended from the reference, as a share of the way that it went.

    Counted over the up to eight elements that are stored of every tensor.
    """
    gone: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for key, described in case.described["weights_after_3"].items():
        if "iters" in key:
            continue
        kind, group, ours, local = names_of(key)
        start, end = (probes(to_theirs(local, tensors[ours])) for tensors in (before, after))
        theirs = np.array(described["probe"])[: len(end)]
        gone.setdefault(f"{group} {kind}", []).append((end - theirs, theirs - start))
    return {name: root_mean_square(pairs, 0) / root_mean_square(pairs, 1) for name, pairs in gone.items()}


def names_of(key: str) -> tuple[str, str, str, str]:
    """`GAN_opt.npy|GAN_opt/ms_D_src/in_conv/weight_0:0` → first, gan, gan/first.in_conv.weight, in_conv.weight."""
    file, _, path = key.partition("|")
    moment = re.fullmatch(r"[^/]+/(ms|vs|acc)_(.+)_0:0", path)
    kind, path = ("", path) if moment is None else (KINDS[moment[1]], moment[2])
    scope, _, rest = path.removesuffix(":0").partition("/")
    discriminator = SCOPES.get(scope, "") if file.startswith(("GAN", "D_code", "code_discriminator")) else ""
    local = (rest if discriminator else path.removesuffix(":0")).replace("/", ".")
    if not kind:
        return "weights", discriminator or "swapper", f"{discriminator}.{local}" if discriminator else local, local
    return (
        kind,
        discriminator or "swapper",
        f"{discriminator}/{kind}.{local}" if discriminator else f"{kind}.{local}",
        local,
    )


def probes(array: NDArray[np.float32]) -> NDArray[np.float64]:
    """The elements that are stored: every eighth part's first, of small tensors all."""
    flat, step = array.ravel().astype(np.float64), array.size // 8
    return flat[: 8 * step : step] if step else flat


def root_mean_square(pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]], which: int) -> float:
    return float(np.sqrt(np.mean(np.concatenate([pair[which] for pair in pairs]) ** 2)))


@pytest.fixture(scope="module")
def outcomes(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    found = cases(golden)
    if not found:
        pytest.skip("the golden data has no training of a network")
    done = [train_as_stored(case, tmp_path_factory.mktemp(case.name)) for case in found]
    for outcome in done:
        print(outcome.line())  # shown by pytest -rP
    return done


def beyond(figures: Mapping[str, float], tolerance: float) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not value <= tolerance}


def test_losses_before_any_update(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert not beyond(outcome.losses, LOSS_TOLERANCE * outcome.looseness), outcome.case


def test_gradients_before_any_update(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert not beyond(outcome.gradient_norms, NORM_TOLERANCE * outcome.looseness), outcome.case
        assert not beyond(outcome.gradient_elements, ELEMENT_TOLERANCE * outcome.looseness), outcome.case


def test_three_clipped_updates_end_where_the_reference_ends(outcomes: list[Outcome]) -> None:
    clipped = [outcome for outcome in outcomes if outcome.clipped and outcome.resumed]
    if not clipped:
        pytest.skip("the golden data has no training with clipped gradients")
    for outcome in clipped:
        assert not beyond(outcome.falls, EXACT_FALL), outcome.case
        assert not beyond(outcome.ways, EXACT_WAY), outcome.case
        assert not beyond(outcome.pictures, PICTURE_TOLERANCE), outcome.case


def test_three_updates_go_the_way_of_the_reference(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.resumed and not outcome.clipped:
            assert not beyond(outcome.falls, LOOSE_FALL), outcome.case
            assert not beyond(outcome.ways, LOOSE_WAY), outcome.case


def test_quick96_losses_and_gradients(golden: Path) -> None:
    """Quick96's training comes as one file with its batch, without options or an optimiser."""
    found = [path for path in sorted((golden / "nets").glob("*_train.npz")) if path.with_name(zip_of(path)).is_file()]
    if not found:
        pytest.skip("the golden data has no training of a Quick96 network")
    for path in found:
        stored = arrays(path)
        model = next(model for model in stored_models(golden, "Quick96") if model.archive.name == zip_of(path))
        recipe, options = recipe_for("quick96"), TrainOptions()
        net = recipe.build(recipe.config(), torch.Generator().manual_seed(0))
        net.load_state_dict(model.weights_for(net))
        objective = recipe.objective(recipe.config(), options, True)
        learner = SwapLearner(net, recipe.optimiser(net, options, Precision(), seed=0), objective)
        batch = batch_of(stored)
        people = weighted_sums(learner.losses(batch, targets_of(batch, objective)), objective.weights)
        losses = people["src"] + people["dst"]
        np.testing.assert_allclose(losses.detach().numpy(), stored["loss_G"], rtol=LOSS_TOLERANCE)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        for key, expected in stored.items():
            if key.startswith("grad_G|"):
                name = our_name("", key.removeprefix("grad_G|"))
                gradient, norm = net.get_parameter(name).grad, float(np.linalg.norm(expected))
                assert gradient is not None
                assert float((gradient - to_ours(name, expected)).abs().max()) <= ELEMENT_TOLERANCE * norm, key
                assert abs(float(gradient.norm()) - norm) <= NORM_TOLERANCE * norm, key


def test_a_flat_model_trains_on_with_its_optimiser_and_discriminators(golden: Path, tmp_path: Path) -> None:
    """`understudy train NAME` over the reference's flat files: one iteration more, from where they were."""
    archives = {case.archive: case for case in cases(golden) if case.variant == "base"}
    if not archives:
        pytest.skip("the golden data has no training of a network")
    for archive in archives:
        workspace = workspace_with_faces(tmp_path / archive.stem)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(workspace.models)
        (flat,) = find_flat_models(workspace.models)
        assert flat.iteration is not None
        with read_flat_model(flat) as model:
            steps = 0 if model.optimiser is None else int(model.optimiser.read("iterations"))
            discriminators = {
                name for name in (GAN, CODE_DISCRIMINATOR) if f"{name}.out_conv.bias" in model.weights.kinds
            }
        options = TrainOptions(
            target_iter=flat.iteration + 1, batch_size=1, precision=PrecisionChoice.FP32, threads=1, preview_every=0
        )
        result = train(workspace, flat.name, options)
        assert result.notes["iteration"] == flat.iteration + 1
        saved = CheckpointStore(workspace.model(flat.name)).newest()
        assert saved is not None
        assert saved.optimiser is not None
        assert int(saved.optimiser["iterations"]) == steps + 1
        for name in discriminators:
            assert f"{name}.out_conv.bias" in saved.weights


def zip_of(path: Path) -> str:
    return f"{path.stem.removesuffix('_train')}.zip"
