"""The way back from trouble: a session put to a saved state from before it, with other random draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.errors import CorruptCheckpoint, TrainingDiverged
from understudy.report import Note, Report, silent
from understudy.training.applying import discriminators_of
from understudy.training.learning.ema import Ema
from understudy.training.optimisers.sharing import make_whole
from understudy.training.saved.checkpoints import DIVERGED_HINT, Checkpoint, CheckpointStore, load_generation
from understudy.training.saved.learner_state import restore
from understudy.training.saved.models import read_record, write_record
from understudy.training.saved.weights import load_weights
from understudy.training.session import Session
from understudy.training.state import TrainState
from understudy.training.team.following import send_state

MOST = 5
"""Ways back in a row; who needs more has another problem than bad luck."""
SEEDS_APART = 1_000_003


def roll_back(session: Session, trouble: TrainingDiverged, report: Report = silent) -> TrainState:
    """Put a session back to a saved state from before the trouble, with a note and an event; where training is then.

    One with weights of its own that never began to learn goes back to iteration 0, with other initial weights.

    Raises `trouble` again where the options want no guard, nothing was saved, or it has happened too often.
    """
    guard = session.guard
    if not session.options.guard:
        raise trouble
    if guard.times >= MOST:
        raise TrainingDiverged(
            f"{trouble.message} Going back has not helped {guard.times} times.", hint=DIVERGED_HINT
        ) from trouble
    at = int(trouble.context.get("iteration", session.state.iteration))
    began = int(trouble.context.get("began", at))
    anew = bool(trouble.context.get("never_began")) and read_record(session.folder).began_empty
    if anew:
        found: Checkpoint | None = _begun_anew(session)
    else:
        found = _state_before(session.store, min(began, guard.back_to - 1) if guard.times else began, report)
    if found is None:
        raise TrainingDiverged(
            f"{trouble.message} There is no saved state yet to go back to.",
            hint="Train with --precision fp32, or with a smaller --learning-rate.",
        ) from trouble
    guard.times, guard.trouble_at, guard.back_to = guard.times + 1, at, found.iteration
    guard.begin()
    state = _put_back(session, found, report)
    where = "the beginning, with other initial weights," if anew else f"iteration {found.iteration}"
    _tell(session, trouble, where, report)
    return state


def _put_back(session: Session, found: Checkpoint, report: Report) -> TrainState:
    """Everything of a session as it was saved, but for the random draws, which are others."""
    state = TrainState(found.iteration, int(found.state.get("images", 0)))
    session.store.go_back_to(found.folder)
    _restore(session, found, report)
    _draw_otherwise(session, found)
    session.history.cut(found.iteration)
    if session.evaluator is not None:
        session.evaluator.go_back(found.iteration)
    session.go_back(state)
    send_state(session, state)
    session.share_out()
    return state


def _restore(session: Session, found: Checkpoint, report: Report) -> None:
    """Networks, their optimisers and the average as they were saved; what was not there then begins anew."""
    learner, options = session.learner, session.options
    for optimiser in session.optimisers().values():
        make_whole(optimiser)
    load_weights(learner.net, found)
    learner.discriminators = discriminators_of(
        session.recipe, session.config, options.in_force, session.precision, session.fabric.device, seed=options.seed
    )
    if not found.optimiser:
        learner.optimiser.load_state_dict({})
    if learner.ema is not None and found.ema is None:
        learner.ema = Ema(learner.net, learner.ema.decay)
    session.at_rest = restore(learner, found, report)
    learner.calm, learner.calm_until = session.guard.calm, session.guard.calm_until


def _draw_otherwise(session: Session, found: Checkpoint) -> None:
    """Samples, channels and dropout from here on as another seed gives them."""
    drawn = found.state.get("batches") or session.batches.state_dict()
    seed = (int(drawn["seed"]) + session.guard.times * SEEDS_APART) % 2**31
    session.batches.load_state_dict({**drawn, "seed": seed})
    session.learner.seed = seed
    session.learner.optimiser.dropout.generator.manual_seed(seed)


def _begun_anew(session: Session) -> Checkpoint:
    """A first saved state, in place of all there are, with initial weights of another seed."""
    seed = session.options.seed + (session.guard.times + 1) * SEEDS_APART
    net = session.recipe.begin(session.config, session.options.in_force, seed=seed % 2**31)
    session.store.set_aside_after(-1)
    return load_generation(session.store.save(0, weights=net.state_dict(), optimiser=None, state={"iteration": 0}))


def _state_before(store: CheckpointStore, limit: int, report: Report) -> Checkpoint | None:
    """The newest whole saved state of `limit` or before, else the oldest there is; None where there is none."""
    every = sorted(store.generations(), key=lambda path: int(path.name), reverse=True)
    before = [path for path in every if int(path.name) <= limit]
    return _first_whole([*before, *reversed([path for path in every if path not in before])], report)


def _first_whole(folders: Sequence[Path], report: Report) -> Checkpoint | None:
    for folder in folders:
        try:
            return load_generation(folder)
        except CorruptCheckpoint as error:
            report(Note(f"{error.message} Another one is used.", "warning", folder.name))
    return None


def _tell(session: Session, trouble: TrainingDiverged, where: str, report: Report) -> None:
    """Say what happened, to whoever watches and in the model's record."""
    guard = session.guard
    how = "with other random draws"
    if guard.calm:
        how += f", a learning rate of 1/{2**guard.calm} and clipped gradients, until it has been well for a while"
    text = f"{trouble.message.rstrip('.')}. Back to {where} and on from there {how}."
    report(Note(text, "warning"))
    write_record(session.folder, read_record(session.folder).with_event("rolled-back", text))
