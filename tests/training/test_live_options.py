"""Every option that may change while a model trains: what it changes, and that a new run would have done the same."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic.fields import FieldInfo

from understudy.networks.saehd import SaehdConfig
from understudy.options import meta_of
from understudy.records import Archi
from understudy.report import Event, Note
from understudy.training.faces.bank import FaceBank
from understudy.training.loop_clocks import SaveClock
from understudy.training.opening import open_session
from understudy.training.options import TrainOptions
from understudy.training.saved.models import read_record
from understudy.training.saved.new import create_model
from understudy.training.session import Session
from understudy.training.state import TrainState
from understudy.training.team.launching import launch

CONFIG = SaehdConfig(size=64, archi=Archi.parse("df-ud"), ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4)
BASE = TrainOptions.of(batch_size=2, precision="fp32", threads=1, device="cpu", preview_every=0, target_iter=100)

STEPS = 3
LONGER = {"replay": 18}
"""Options that show only after more steps: losses are looked at every 16 iterations."""

LIVE = [name for name, field in TrainOptions.model_fields.items() if meta_of(field).get("live")]

TOGETHER: dict[str, dict[str, Any]] = {
    "gan_patch_size": {"gan_power": 0.1},
    "gan_dims": {"gan_power": 0.1},
    "weight_decay": {"optimiser": "adamw", "learning_rate": 0.01},
    "lr_from": {"lr_schedule": "cosine"},
    "faithful": {"gan_power": 0.1},
    "replay": {"batch_size": 7},  # every face is known after one iteration
}
"""Options that only matter beside others."""

VALUES: dict[str, Any] = {
    "gan_power": 0.1,
    "gan_patch_size": 16,
    "gan_dims": 8,
    "target_iter": 4,
    "batch_size": 3,
    "optimiser": "lion",
    "lr_schedule": "cosine",
    "lr_warmup": 50,
    "accumulate": 2,
    "freeze": "encoder",
    "ema_decay": 0.9,
    "precision": "bf16",
    "threads": 2,
    "preview_faces": ("b1.jpg",),
    "true_face_power": 0.01,
    "save_minutes": 30.0,
    "replay": 0.5,
    "autoclip": 1.0,
    "ct_mode": "rct",
}
"""A value that differs from BASE's where half way up its range would not do."""


def other_value(name: str, field: FieldInfo) -> Any:
    """A value that an option does not have in BASE."""
    now = getattr(BASE, name)
    if name in VALUES:
        return VALUES[name]
    if isinstance(now, bool) or (now is None and field.annotation == bool | None):
        return not now
    if isinstance(now, Enum):
        return next(member for member in type(now) if member is not now)
    top = next((item.le for item in field.metadata if hasattr(item, "le")), 2)
    return type(now)(top / 2) if isinstance(now, int | float) else now


@pytest.fixture(scope="module")
def banks() -> tuple[FaceBank, FaceBank]:
    """Seven faces of each side: blobs of colour with a mask of the face and one of the eyes."""
    found = []
    for side, letter in enumerate("ab"):
        chance = np.random.default_rng(side)
        pixels = chance.integers(0, 256, (7, 8, 8, 5)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
        pixels[:, 16:48, 16:48, 3] = 255
        names = tuple(f"{letter}{number}.jpg" for number in range(7))
        found.append(FaceBank(pixels, names, np.array([-1.0, -0.9, -0.9, -0.9, 0.0, 0.9, 1.0])))
    return found[0], found[1]


class Model:
    """A small model in a folder, trained for two iterations and saved."""

    def __init__(self, folder: Path, banks: tuple[FaceBank, FaceBank]) -> None:
        self.folder, self.banks = folder, banks
        self._learned: dict[str, dict[str, torch.Tensor]] = {}
        create_model(folder, "saehd", config=CONFIG)

    def opened(self, **options: Any) -> Session:
        fabric = launch("cpu")
        return open_session(self.folder, read_record(self.folder), BASE.but(**options), *self.banks, fabric=fabric)

    def learned(self, options: dict[str, Any], steps: int) -> dict[str, torch.Tensor]:
        """What a run with these options from the beginning has learned after a few steps."""
        key = repr((steps, sorted(options.items())))
        if key not in self._learned:
            session = self.opened(**options)
            trained(session, steps)
            self._learned[key] = tensors(session)
        return self._learned[key]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, banks: tuple[FaceBank, FaceBank]) -> Model:
    made = Model(tmp_path_factory.mktemp("models") / "small", banks)
    session = made.opened()
    session.save(trained(session, 2))
    return made


def trained(session: Session, iterations: int) -> TrainState:
    """Train as the loop does, without its clocks."""
    state = session.state
    for _ in range(iterations):
        losses = session.step(next(session.batches))
        state = state.after(session.batch_size)
        session.history.append([(state.iteration, {name: float(losses[name]) for name in ("src", "dst")})])
    session.state = state
    return state


def tensors(session: Session) -> dict[str, torch.Tensor]:
    """Everything that a saved state would hold, by name, as copies."""
    weights, optimiser = session.tensors()
    average = {} if session.learner.ema is None else session.learner.ema.net.state_dict()
    named = {
        **weights,
        **{f"optimiser/{k}": v for k, v in optimiser.items()},
        **{f"ema/{k}": v for k, v in average.items()},
    }
    return {name: tensor.clone() for name, tensor in named.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def keeps(session: Session) -> Any:
    return session.store.keep, session.store.backups_kept


def history_due(session: Session) -> Any:
    return [session.recording_due(TrainState(iteration)) for iteration in range(1, 40)]


def previews(session: Session) -> Any:
    return {side: list(names) for side, names in session.preview_names.items()}


def save_due(session: Session) -> Any:
    clock = SaveClock(first=False)
    clock._last = time.monotonic() - 60 * (BASE.save_minutes + 0.01)
    return clock.due(session.options.save_minutes)


def backup_due(session: Session) -> Any:
    """Whether a save that comes after a day of training is backed up."""
    session._backup_clock -= 24 * 3600
    session._saved_at = -1
    session.save(session.state)
    return sorted(path.name for path in session.store.backups.glob("0*"))


SEEN_ELSEWHERE: dict[str, Callable[[Session], Any]] = {
    "target_iter": lambda session: session.reason_to_end(TrainState(4)),
    "save_minutes": save_due,
    "autobackup_hour": backup_due,
    "keep_backups": keeps,
    "keep_checkpoints": keeps,
    "preview_faces": previews,
    "write_preview_history": history_due,
    "preview_history_every": history_due,
    "threads": lambda session: session.precision.threads,
}
"""Options that change something else than what is learned, and where it shows."""

READ_BY_OTHERS = {
    "preview_every": "the loop reads it at every iteration",
    "preview_history_keep": "the next picture of the history reads it",
    "evaluate_every": "the loop reads it at every iteration",
    "plateau": "the next evaluation reads it",
    "guard": "the loop reads it at every iteration",
    "models_opt_on_gpu": "only on a graphics card; where state lies changes no number",
    "compile": "the same arithmetic by other kernels, which take minutes to make",
    "checkpointing": "the same numbers in less memory",
    "persons_equally": "only where a faceset has several persons",
}
"""Options of which nothing shows here, and why."""

MORE: dict[str, dict[str, Any]] = {
    "write_preview_history": {"preview_history_every": 7},
    "preview_history_every": {"write_preview_history": True},
}


def change(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that stand before a change of one option, and that change."""
    value = 7 if name == "preview_history_every" else other_value(name, TrainOptions.model_fields[name])
    return {**TOGETHER.get(name, {}), **MORE.get(name, {})}, {name: value}


@pytest.mark.parametrize("name", [name for name in LIVE if name not in READ_BY_OTHERS and name not in SEEN_ELSEWHERE])
def test_an_option_changed_live_changes_what_is_learned_as_a_new_run_would(name: str, model: Model) -> None:
    """Otherwise a slider would do nothing until the next start, or something else than the same value at a start."""
    (beside, given), steps = change(name), LONGER.get(name, STEPS)
    live = model.opened(**beside)
    live.apply(live.options.but(**given))
    trained(live, steps)
    assert not equal(tensors(live), model.learned(beside, steps))
    assert equal(tensors(live), model.learned({**beside, **given}, steps))


@pytest.mark.parametrize("name", SEEN_ELSEWHERE)
def test_an_option_changed_live_is_seen_where_it_counts(
    name: str, tmp_path: Path, banks: tuple[FaceBank, FaceBank]
) -> None:
    """Saving, previews and the end follow their options at once."""
    beside, given = change(name)
    looked, own = SEEN_ELSEWHERE[name], Model(tmp_path / "small", banks)
    session = own.opened(**beside)
    trained(session, 1)
    before = looked(session)
    session.apply(session.options.but(**given))
    trained(session, 1)
    assert looked(session) != before


def test_no_live_option_is_left_out() -> None:
    """The table of options without an effect here is no place for options that are not live."""
    assert set(SEEN_ELSEWHERE) | set(READ_BY_OTHERS) <= set(LIVE)


def test_a_discriminator_rests_while_its_power_is_0_and_goes_on_from_there(model: Model) -> None:
    """A GAN that is turned off for a while must not have forgotten what it has learned."""
    session = model.opened(gan_power=0.1)
    trained(session, 2)
    learned = {name: tensor.clone() for name, tensor in session.learner.discriminators["gan"].net.state_dict().items()}
    session.apply(session.options.but(gan_power=0.0))
    assert not session.learner.discriminators
    trained(session, 1)
    session.apply(session.options.but(gan_power=0.2))
    again = session.learner.discriminators["gan"]
    assert equal(learned, dict(again.net.state_dict()))
    assert again.optimiser.iterations == 2


def test_a_discriminator_of_another_size_begins_anew(model: Model) -> None:
    notes: list[Any] = []
    session = model.opened(gan_power=0.1)
    trained(session, 1)
    session.apply(session.options.but(gan_dims=8), notes.append)
    assert session.learner.discriminators["gan"].optimiser.iterations == 0
    assert any("begins anew" in note.message for note in notes)
    assert math.isfinite(float(session.step(next(session.batches))["gan"]))


def test_eyes_turned_on_bring_the_faces_with_those_masks(model: Model, banks: tuple[FaceBank, FaceBank]) -> None:
    """A run that began without the priority has no masks of eyes and mouth: they are made then."""
    src, dst = (FaceBank(bank.pixels[..., :4], bank.names, bank.yaws) for bank in banks)
    lean = Model.__new__(Model)
    lean.folder, lean.banks = model.folder, (src, dst)
    session = lean.opened()
    asked: list[TrainOptions] = []

    def load(options: TrainOptions) -> tuple[FaceBank, FaceBank]:
        asked.append(options)
        return banks

    session.load_faces = load
    trained(session, 1)
    session.apply(session.options.but(eyes_mouth_prio=True))
    trained(session, 1)
    assert asked[0].eyes_mouth_prio


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="this machine has no compiler")
def test_that_kernels_are_being_made_is_said_before_it_takes_a_minute(model: Model) -> None:
    session = model.opened()
    told: list[Event] = []
    for options in (
        {"compile": "yes"},
        {"compile": "yes", "learning_rate": 1e-4},
        {"compile": "yes", "learning_rate": 1e-4, "batch_size": 3},
        {"batch_size": 2},
    ):
        session.apply(TrainOptions.of(**{**BASE.model_dump(), **options}), told.append)
    assert len([event for event in told if isinstance(event, Note) and "Kernels" in event.message]) == 2
