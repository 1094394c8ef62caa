"""What options decide about a run, each as a function of them, and how a run is brought to other ones.

Opening a session and changing one that runs read the same functions, so a change while it runs is what stopping and
training on with the new options would have been.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from understudy.networks.families import Config
from understudy.report import Note, Report, silent
from understudy.training.critics import SALTS, Critic, critic_networks
from understudy.training.learner_state import restore_critics, saved_tensors
from understudy.training.optimisers import Optimiser
from understudy.training.options import TrainOptions
from understudy.training.precision import Precision
from understudy.training.recipes import Recipe
from understudy.training.samples import Augmentation
from understudy.training.step import prepare
from understudy.training.warp import Ranges

if TYPE_CHECKING:
    from understudy.training.session import Session


def augmentation_of(recipe: Recipe, options: TrainOptions, faithful: bool) -> Augmentation:
    """How samples are varied."""
    return Augmentation(
        ranges=Ranges(scale=recipe.scale_range).times(options.random_transform),
        random_warp=options.random_warp,
        flip_src=options.random_src_flip,
        flip_dst=options.random_dst_flip,
        hsv_power=options.random_hsv_power,
        faithful=faithful,
    )


def repeat_every_of(recipe: Recipe, options: TrainOptions) -> int:
    """After how many iterations a batch comes again from its unwarped faces: pointless where none is warped."""
    return recipe.repeat_every if options.random_warp else 0


def critics_of(
    recipe: Recipe, config: Config, options: TrainOptions, precision: Precision, device: torch.device, *, seed: int
) -> dict[str, Critic]:
    """The networks that judge with these options, as new, each with its optimiser."""
    critics = {}
    for name, net in critic_networks(config, options, options.seed).items():
        prepare(net, precision, device)
        critics[name] = Critic(net, recipe.optimiser(net, options, precision, seed=seed + SALTS[name]))
    return critics


def apply(session: Session, options: TrainOptions, report: Report = silent) -> None:
    """Bring a session to other options, from its next iteration on. What no option changed stays as it is."""
    session.options = options
    session.learner.objective = session.recipe.objective(session.config, options, session.faithful)
    _optimise_as(session, report)
    _judge_as(session, report)
    _draw_samples_as(session)
    session.store = replace(session.store, keep=options.keep_checkpoints)


def _optimise_as(session: Session, report: Report) -> None:
    """The optimisers of all networks: tuned where they are of the right kind, else made anew from their state."""
    learner = session.learner
    learner.optimiser = _optimiser_as(session, learner.optimiser, learner.net, session.options.seed, report)
    for name, critic in learner.critics.items():
        seed = session.options.seed + SALTS[name]
        critic.optimiser = _optimiser_as(session, critic.optimiser, critic.net, seed, report)


def _optimiser_as(session: Session, optimiser: Optimiser, net: torch.nn.Module, seed: int, report: Report) -> Optimiser:
    """An optimiser as the options want it: the same one, or another of its kind or elsewhere, with its state."""
    recipe, options = session.recipe, session.options
    beside = options.models_opt_on_gpu or session.fabric.device.type == "cpu"
    if optimiser.kind == recipe.rates(options).kind and beside is not optimiser.moves_state:
        recipe.tune(optimiser, options)
        return optimiser
    made = recipe.optimiser(net, options, session.precision, seed=seed)
    for note in made.load_state_dict(optimiser.state_dict()):
        report(Note(note, "warning"))
    return made


def _judge_as(session: Session, report: Report) -> None:
    """The networks that judge: one whose power was turned on goes on where it rested, or begins; one whose power is 0
    rests; one of another size begins anew."""
    learner, options = session.learner, session.options
    wanted = critic_networks(session.config, options, options.seed)
    shapes = {name: [tensor.shape for tensor in net.state_dict().values()] for name, net in wanted.items()}
    have = {name: [t.shape for t in critic.net.state_dict().values()] for name, critic in learner.critics.items()}
    if shapes == have:
        return
    weights, moments = saved_tensors(learner, session.at_rest)
    device = session.fabric.device
    learner.critics = critics_of(session.recipe, session.config, options, session.precision, device, seed=options.seed)
    session.at_rest = restore_critics(learner, weights, moments, report)


def _draw_samples_as(session: Session) -> None:
    """What is drawn from the facesets, and how it is varied."""
    options = session.options
    session.batches.configure(
        augmentation=augmentation_of(session.recipe, options, session.faithful),
        batch_size=options.batch_size,
        repeat_every=repeat_every_of(session.recipe, options),
        uniform_yaw=options.uniform_yaw,
    )
