"""A learner as the tensors of a saved state, and back.

    weights      encoder.…              the swapper, by the names of its tensors
                 gan.… , code_discriminator.…     its discriminators
    optimiser    first.encoder.…, iterations, …   the swapper's
                 gan/first.in_conv.weight, …      those of the discriminators, behind their names
    ema          encoder.…, updates               the average of the swapper's weights, where one is kept

A discriminator that is not in use at the moment keeps its tensors in every saved state, so that it goes on where
it was when its power is turned up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.report import Note, Report, silent
from understudy.training.learning.learner import Learner
from understudy.training.saved.checkpoints import Checkpoint

DISCRIMINATORS = (GAN, CODE_DISCRIMINATOR)
_TITLES = {GAN: "GAN", CODE_DISCRIMINATOR: "code discriminator"}


@dataclass(frozen=True)
class AtRest:
    """Tensors of discriminators that are not in use, by their names in the saved state."""

    weights: Mapping[str, Tensor] = field(default_factory=dict)
    optimiser: Mapping[str, Tensor] = field(default_factory=dict)


def saved_tensors(learner: Learner[Any], at_rest: AtRest) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and optimiser's tensors for a saved state."""
    weights = {**learner.net.state_dict(), **at_rest.weights}
    optimiser = {**learner.optimiser.state_dict(), **at_rest.optimiser}
    for name, discriminator in learner.discriminators.items():
        weights |= {f"{name}.{key}": tensor for key, tensor in discriminator.net.state_dict().items()}
        optimiser |= {f"{name}/{key}": tensor for key, tensor in discriminator.optimiser.state_dict().items()}
    return weights, optimiser


def saved_average(learner: Learner[Any]) -> dict[str, Tensor] | None:
    """The average of the weights for a saved state; None where none is kept."""
    return None if learner.ema is None else learner.ema.state_dict()


def restore(learner: Learner[Any], found: Checkpoint, report: Report = silent) -> AtRest:
    """Put a saved state into a learner, all but the swapper's own weights; what of it is not in use now.

    Raises CorruptCheckpoint for a moment of a wrong shape.
    """
    stored = found.optimiser or {}
    learner.iteration = found.iteration
    if learner.ema is not None and found.ema is not None:
        learner.ema.load_state_dict(found.ema)
    if stored:
        anew = tuple(str(part) for part in found.state.get("anew", ()))
        own = {name: tensor for name, tensor in stored.items() if "/" not in name}
        _notes(learner.optimiser.load_state_dict(own, anew=anew), report)
        if anew:
            report(Note(f"The optimiser begins afresh in what began anew after pretraining: {', '.join(anew)}."))
    return restore_discriminators(learner, found.weights, stored, report)


def restore_discriminators(
    learner: Learner[Any], saved: Mapping[str, Tensor], stored: Mapping[str, Tensor], report: Report = silent
) -> AtRest:
    """Put the saved weights and moments of the discriminators into those of a learner; what of it is not in use.

    One of which the saved one has another size begins anew, with a note.
    """
    weights: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for name in DISCRIMINATORS:
        its_weights, its_moments = _of(name, ".", saved), _of(name, "/", stored)
        discriminator = learner.discriminators.get(name)
        if discriminator is None:
            weights |= {f"{name}.{key}": tensor for key, tensor in its_weights.items()}
            moments |= {f"{name}/{key}": tensor for key, tensor in its_moments.items()}
        elif _fit(discriminator.net, its_weights):
            discriminator.net.load_state_dict(its_weights)
            if its_moments:
                _notes(discriminator.optimiser.load_state_dict(its_moments), report, of=_TITLES[name])
        elif its_weights:
            report(Note(f"The {_TITLES[name]} is of another size than the saved one: it begins anew.", "warning"))
    return AtRest(weights, moments)


def _of(name: str, mark: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = name + mark
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _fit(net: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    return {key: tensor.shape for key, tensor in net.state_dict().items()} == {
        key: tensor.shape for key, tensor in tensors.items()
    }


def _notes(notes: list[str], report: Report, *, of: str = "") -> None:
    """Report what an optimiser had to say; of: which network's it is, if not the swapper's."""
    for note in notes:
        report(Note(f"Of the {of}: {note}" if of else note, "warning"))
