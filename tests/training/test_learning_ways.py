"""Ways of learning that change how a step goes: in pieces, with activations made twice, with frozen parts, averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.errors import InvalidOption
from understudy.networks.amp import AmpConfig
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning.discriminators import Discriminator, discriminator_networks
from understudy.training.learning.ema import Ema
from understudy.training.learning.frozen import frozen_parts
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.memory.peak import training_memory
from understudy.training.options import TrainOptions
from understudy.training.recipes import recipe_for

NUMBERS: dict[str, Any] = {"ae_dims": 8, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}
CONFIGS = {
    "df": ("saehd", SaehdConfig(size=64, archi=Archi.parse("df-ud"), **NUMBERS)),
    "liae": ("saehd", SaehdConfig(size=64, archi=Archi.parse("liae-udt"), **NUMBERS)),
    "amp": ("amp", AmpConfig(size=64, inter_dims=16, **NUMBERS)),
}
WITH_GAN = {"gan_power": 0.1, "gan_dims": 4, "gan_patch_size": 8}


def batch_of(count: int, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)

    def sample() -> Sample:
        picture = torch.rand(count, 3, 64, 64, generator=draw)
        mask = (
            (torch.rand(count, 1, 8, 8, generator=draw) > 0.3).float().repeat_interleave(8, 2).repeat_interleave(8, 3)
        )
        return Sample(picture, picture.flip(3), mask, mask * 0.5)

    return Batch(sample(), sample())


def learner_of(name: str, *, dtype: str = "float32", **options: Any) -> SwapLearner:
    model_class, config = CONFIGS[name]
    recipe = recipe_for(model_class)
    asked = TrainOptions.of(**{"clipgrad": True, **options})
    precision = Precision(dtype, True, 0)
    net = recipe.build(config, torch.Generator().manual_seed(0))
    prepare(net, precision, torch.device("cpu"))
    discriminators = {
        name: Discriminator(discriminator, recipe.optimiser(discriminator, asked, precision, seed=1))
        for name, discriminator in discriminator_networks(config, asked, 0).items()
    }
    learner = SwapLearner(
        net, recipe.optimiser(net, asked, precision, seed=0), recipe.objective(config, asked, False), discriminators
    )
    recipe.configure(learner, asked)
    return learner


def gradients(learner: SwapLearner, batch: Batch) -> dict[str, Tensor]:
    """The swapper's gradients of a batch, as the optimiser gets them."""
    kept: dict[str, Tensor] = {}

    def keep(_: object) -> None:
        if not kept:
            kept.update({name: value.clone() for name, value in learner.optimiser.gradients().items()})

    learner.reduce = keep
    learner.learn(batch)
    learner.reduce = None
    return kept


@pytest.mark.parametrize("name", ["df", "amp"])
def test_batches_added_up_are_one_batch_so_many_times_as_large(name: str) -> None:
    """Gradients, the GAN's weights and what is reported; AMP's random channels are those of the whole batch."""
    batch = batch_of(6)
    whole, parts = learner_of(name, **WITH_GAN), learner_of(name, accumulate=3, **WITH_GAN)
    for one, other in zip(gradients(whole, batch).items(), gradients(parts, batch).items(), strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1], other[1], rtol=1e-4, atol=1e-5 * float(one[1].abs().max()))
    gan, other_gan = whole.discriminators["gan"].net.state_dict(), parts.discriminators["gan"].net.state_dict()
    for key, tensor in gan.items():
        torch.testing.assert_close(tensor, other_gan[key], rtol=0, atol=2e-5, msg=key)
    again = batch_of(6, seed=1)
    values, of_parts = whole.learn(again), parts.learn(again)
    assert set(values) == set(of_parts)
    for key, value in values.items():
        torch.testing.assert_close(value, of_parts[key], rtol=2e-3, atol=1e-5, msg=key)
    torch.testing.assert_close(whole.sample_losses["dst"], parts.sample_losses["dst"], rtol=2e-3, atol=1e-4)


def test_a_batch_that_cannot_be_cut_evenly_is_learned_whole() -> None:
    whole, parts = learner_of("df"), learner_of("df", accumulate=4)
    batch = batch_of(5)
    values, of_parts = whole.learn(batch), parts.learn(batch)
    torch.testing.assert_close(values["src"], of_parts["src"])
    torch.testing.assert_close(whole.sample_losses["src"], parts.sample_losses["src"])


def test_the_losses_of_samples_are_what_their_mean_reports() -> None:
    learner = learner_of("df")
    values = learner.learn(batch_of(4))
    assert {name: tuple(losses.shape) for name, losses in learner.sample_losses.items()} == {"src": (4,), "dst": (4,)}
    torch.testing.assert_close(learner.sample_losses["src"].mean(), values["src"])
    assert not learner.sample_losses["src"].requires_grad


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_activations_made_twice_give_the_same_gradients(name: str, dtype: str) -> None:
    batch = batch_of(2)
    extra = {"face_style_power": 1.0, "bg_style_power": 1.0} if name != "amp" else {}
    plain = gradients(learner_of(name, dtype=dtype, **extra), batch)
    twice = gradients(learner_of(name, dtype=dtype, checkpointing=True, **extra), batch)
    assert plain.keys() == twice.keys()
    for key, gradient in plain.items():
        torch.testing.assert_close(gradient, twice[key], rtol=0, atol=1e-6 * float(gradient.abs().max()), msg=key)


def test_activations_made_twice_take_less_memory() -> None:
    """As the operations of a step say it, of a network of the usual proportions."""
    config = {"size": 128, "face_type": "full_face", "archi": "df-ud", "ae_dims": 64, "e_dims": 64, "d_dims": 64}
    config["d_mask_dims"] = 22
    plain, twice = (
        training_memory(
            "saehd",
            config,
            TrainOptions.of(checkpointing=on),
            Precision("float32", True, 0),
            batch_size=16,
            device="cuda",
        )
        for on in (False, True)
    )
    assert twice.step < 0.5 * plain.step


@pytest.mark.parametrize("name", CONFIGS)
def test_frozen_parts_stay_as_they_are_and_thaw(name: str) -> None:
    learner = learner_of(name, freeze="encoder")
    before = {key: tensor.clone() for key, tensor in learner.net.state_dict().items()}
    learner.learn(batch_of(2))
    moved = {
        key.partition(".")[0] for key, now in learner.net.state_dict().items() if not torch.equal(now, before[key])
    }
    assert moved == {part for part, _ in learner.net.named_children()} - {"encoder", "inter_src", "inter_dst"}
    learner.freeze = ()
    learner.learn(batch_of(2, seed=1))
    assert any(
        not torch.equal(now, before[key]) for key, now in learner.net.state_dict().items() if key.startswith("encoder.")
    )


def test_what_can_be_frozen_depends_on_the_network() -> None:
    df, liae, amp = (config for _, config in CONFIGS.values())
    assert frozen_parts(df, TrainOptions.of(freeze=" inter, encoder")) == ("inter", "encoder")
    assert frozen_parts(liae, TrainOptions.of(freeze="inter_AB")) == ("inter_AB",)
    with pytest.raises(InvalidOption, match="no part inter_AB") as caught:
        frozen_parts(df, TrainOptions.of(freeze="inter_AB"))
    assert "decoder_src, decoder_dst" in caught.value.hint
    with pytest.raises(InvalidOption, match="no part inter_src"):
        frozen_parts(amp, TrainOptions.of(freeze="inter_src"))
    with pytest.raises(InvalidOption, match="encoder, decoder frozen, nothing is trained"):
        frozen_parts(amp, TrainOptions.of(freeze="encoder,decoder"))
    rest = TrainOptions.of(freeze="encoder,inter_B,decoder")
    assert frozen_parts(liae, rest) == ("encoder", "inter_B", "decoder")
    with pytest.raises(InvalidOption, match="without random warp inter_AB stays as it is too, nothing is trained"):
        frozen_parts(liae, rest.but(random_warp=False))


def test_the_average_of_a_young_training_forgets_its_first_half() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(net, 0.999)
    for iteration in range(1, 801):
        with torch.no_grad():
            net.weight.fill_(3.0 if iteration <= 400 else 1.0)
        ema.follow(net, iteration)
        if iteration == ema.every:
            assert float(ema.net.weight.item()) == 3.0  # its first update takes the weights as they are
    assert float(ema.net.weight.item()) == pytest.approx(1.0, abs=0.02)


def test_few_updates_average_over_as_many_iterations() -> None:
    """0.999 is followed every ten iterations: of a ramp, both lag behind by the same."""
    net = torch.nn.Linear(1, 1, bias=False)
    ema, slow = Ema(net, 0.999), 0.0
    assert ema.every == 10
    for iteration in range(1, 20_001):
        with torch.no_grad():
            net.weight.fill_(float(iteration))
        slow += (iteration - slow) * 0.001
        ema.follow(net, iteration)
    assert ema.updates == 2000
    assert float(ema.net.weight.item()) == pytest.approx(slow, rel=0.001)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_average_goes_on_bit_for_bit(checkpointing: bool) -> None:
    one = learner_of("df", ema_decay=0.9, checkpointing=checkpointing)
    for step in range(3):
        one.learn(batch_of(2, seed=step))
    assert one.ema is not None
    other = learner_of("df", ema_decay=0.9, checkpointing=checkpointing)
    other.net.load_state_dict(one.net.state_dict())
    other.optimiser.load_state_dict(one.optimiser.state_dict())
    other.iteration = one.iteration
    assert other.ema is not None
    other.ema.load_state_dict(one.ema.state_dict())
    for learner in (one, other):
        learner.learn(batch_of(2, seed=9))
    for name, tensor in one.ema.state_dict().items():
        assert torch.equal(tensor, other.ema.state_dict()[name]), name
        if name != "updates" and "weight" in name:
            assert not torch.equal(tensor, one.net.state_dict()[name]), name
