"""What options decide about a run, each as a function of them, and how a run is brought to other ones.

Opening a session and changing one that runs read the same functions, so a change while it runs is what stopping and
training on with the new options would have been.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from understudy.networks.families import Config
from understudy.report import Note, Report, silent
from understudy.training.learning.discriminators import (
    SALTS,
    Discriminator,
    discriminator_networks,
    discriminator_sizes,
)
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision, choose
from understudy.training.optimisers import Optimiser
from understudy.training.options import TrainOptions
from understudy.training.options.machine import Compiling
from understudy.training.recipes import Recipe
from understudy.training.saved.learner_state import restore_discriminators, saved_tensors

if TYPE_CHECKING:
    from understudy.training.session import Session


def precision_of(options: TrainOptions, device: torch.device) -> Precision:
    """How to compute on a device: as asked, else as this machine does best."""
    precision = choose(str(device), options.precision)
    return replace(precision, threads=options.threads) if options.threads else precision


def say_of_precision(before: Precision, now: Precision, report: Report) -> None:
    """Tell that a run computes in another way than it did."""
    if now != before:
        report(
            Note(
                f"Computing in {now.dtype} with {now.threads} threads from here on, before in {before.dtype} with "
                f"{before.threads}: the run no longer repeats bit for bit.",
                "warning",
            )
        )


def discriminators_of(
    recipe: Recipe, config: Config, options: TrainOptions, precision: Precision, device: torch.device, *, seed: int
) -> dict[str, Discriminator]:
    """The discriminators that these options want, as new, each with its optimiser."""
    discriminators = {}
    for name, net in discriminator_networks(config, options, options.seed).items():
        prepare(net, precision, device)
        discriminators[name] = Discriminator(net, recipe.optimiser(net, options, precision, seed=seed + SALTS[name]))
    return discriminators


def apply(session: Session, options: TrainOptions, report: Report = silent) -> None:
    """Bring a session to other options, from its next iteration on. What no option changed stays as it is."""
    before, session.options = session.options, options
    was_in_force, in_force = before.in_force, options.in_force
    minimised = session.learner.objective
    session.learner.objective = session.recipe.objective(session.config, in_force, session.faithful)
    session.recipe.configure(session.learner, in_force)
    recomputed = _compute_as(session, report) if _arithmetic(before) != _arithmetic(options) else False
    _optimise_as(session, report, anew=recomputed)
    if discriminator_sizes(session.config, was_in_force) != discriminator_sizes(session.config, in_force):
        _discriminators_as(session, report)
    task, banks = session.recipe.task, session.batches.banks
    other_faces = task.needs_other_faces(banks, minimised, session.learner.objective, options, session.faithful)
    _draw_samples_as(session, other_faces=other_faces)
    if options.autobackup_hour != before.autobackup_hour:
        session.begin_backups()
    if options.preview_faces != before.preview_faces:
        session.show_faces(options.preview_faces)
    if options.evaluate_every and session.evaluator is None and session.make_evaluator is not None:
        session.evaluator = session.make_evaluator()
    session.store = replace(session.store, keep=options.keep_checkpoints, backups_kept=options.keep_backups)
    if _compiled_for(options) != _compiled_for(before):
        say_of_compiling(options, report)


def say_of_compiling(options: TrainOptions, report: Report) -> None:
    """Tell, where passes are compiled, that the next iteration takes long and that what is asked meanwhile waits."""
    if options.compile is not Compiling.NO:
        report(
            Note(
                "Kernels for this network are being made, for a minute or more: the next iteration takes as long. "
                "Pause, stop and other commands are carried out after it."
            )
        )


def _compiled_for(options: TrainOptions) -> tuple[object, ...]:
    """What kernels are made for: where it is another, they are made anew."""
    course = options.batch_size, options.accumulate, options.precision, options.checkpointing, options.freeze
    losses = options.gan_power, options.true_face_power, options.face_style_power, options.bg_style_power
    return (options.compile, *course, options.random_warp, *map(bool, losses))


def _arithmetic(options: TrainOptions) -> tuple[object, ...]:
    return options.precision, options.threads


def _compute_as(session: Session, report: Report) -> bool:
    """The networks as the options want them computed; whether that is another way than before."""
    now = precision_of(session.options, session.fabric.device)
    say_of_precision(session.precision, now, report)
    before, session.precision = session.precision, now
    if now != before:
        others = (discriminator.net for discriminator in session.learner.discriminators.values())
        for net in (session.learner.net, *others):
            prepare(net, now, session.fabric.device)
    return now != before


def _optimise_as(session: Session, report: Report, *, anew: bool) -> None:
    """The optimisers of all networks: tuned where they are of the right kind, else, or `anew`, made of their state."""
    learner, seed = session.learner, session.options.seed
    learner.optimiser = _optimiser_as(session, learner.optimiser, learner.net, seed, report, anew=anew)
    for name, other in learner.discriminators.items():
        other.optimiser = _optimiser_as(session, other.optimiser, other.net, seed + SALTS[name], report, anew=anew)


def _optimiser_as(
    session: Session, optimiser: Optimiser, net: nn.Module, seed: int, report: Report, *, anew: bool
) -> Optimiser:
    """An optimiser as the options want it: the same one, or another of its kind or elsewhere, with its state."""
    recipe, options = session.recipe, session.options.in_force
    beside = options.models_opt_on_gpu or session.fabric.device.type == "cpu"
    if not anew and optimiser.kind == recipe.rates(options).kind and beside is not optimiser.moves_state:
        recipe.tune(optimiser, options)
        return optimiser
    made = recipe.optimiser(net, options, session.precision, seed=seed)
    for note in made.load_state_dict(optimiser.state_dict()):
        report(Note(note, "warning"))
    return made


def _discriminators_as(session: Session, report: Report) -> None:
    """The discriminators: one whose power was turned on goes on where it rested, or begins; one whose power is 0
    rests; one of another size begins anew."""
    learner, options, device = session.learner, session.options.in_force, session.fabric.device
    weights, moments = saved_tensors(learner, session.at_rest)
    learner.discriminators = discriminators_of(
        session.recipe, session.config, options, session.precision, device, seed=options.seed
    )
    session.at_rest = restore_discriminators(learner, weights, moments, report)


def _draw_samples_as(session: Session, *, other_faces: bool) -> None:
    """What is drawn from the facesets, and how it is varied. other_faces: the facesets are to be loaded once more,
    because what is in them now is not all that these options need."""
    banks = session.load_faces(session.options) if other_faces and session.load_faces is not None else None
    session.recipe.task.deal_as(
        session.batches, session.recipe, session.options.in_force, banks, faithful=session.faithful
    )
