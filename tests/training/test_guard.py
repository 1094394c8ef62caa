"""The guard: what it takes for trouble, and where it leads back to, on a real model brought to ruin by real means."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from small_faces import small_model
from understudy.errors import TrainingDiverged
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, PrecisionChoice
from understudy.report import Event, Metrics, Note
from understudy.training.faces.bank import FaceBank
from understudy.training.learning import guard
from understudy.training.learning.guard import HEALED, RUN, Guard
from understudy.training.learning.way_back import MOST
from understudy.training.loop import train_loop
from understudy.training.opening import open_session
from understudy.training.options import ModelClass, TrainOptions
from understudy.training.saved.best import keep_if_best
from understudy.training.saved.checkpoints import CheckpointStore, load_generation
from understudy.training.saved.models import read_record, write_record
from understudy.training.saved.new import create_model, new_network
from understudy.training.session import Session
from understudy.training.team.launching import launch
from understudy.workspace import Workspace

FAST = TrainOptions(
    model=ModelClass.QUICK96,
    batch_size=2,
    precision=PrecisionChoice.FP32,
    threads=1,
    preview_every=0,
    evaluate_every=0,
)


OUT_CONVS = ("out_conv", "out_conv1", "out_conv2", "out_conv3")
FACE = SaehdConfig(32, archi=Archi.parse("df"), ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A small model, trained for three iterations."""
    made = Workspace.create(tmp_path / "shot")
    small_model(made)
    train_loop(session_of(made, FAST.but(target_iter=3), lambda event: None))
    return made


@functools.cache
def bank(seed: int) -> FaceBank:
    """Four faces of soft blobs in a round mask."""
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, 256, (4, 8, 8, 4)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    y, x = np.mgrid[0:32, 0:32]
    crops[..., 3] = 255 * ((x - 16) ** 2 + (y - 16) ** 2 < 144)
    return FaceBank(crops, tuple(f"{seed}{index}.jpg" for index in range(4)))


def session_of(
    workspace: Workspace, options: TrainOptions, report: Callable[[Event], None], name: str = "small"
) -> Session:
    folder = workspace.model(name)
    fabric = launch("cpu")
    return open_session(folder, read_record(folder), options, bank(1), bank(2), fabric=fabric, report=report)


class Saboteur:
    """Does something to a session before iterations of some numbers, each time they come round."""

    def __init__(
        self,
        workspace: Workspace,
        options: TrainOptions,
        deed: Callable[[Session], None],
        *at: int,
        name: str = "small",
    ) -> None:
        self.events: list[Event] = []
        self.session = session_of(workspace, options, self.events.append, name)
        self.deed, self.at = deed, at
        self.iteration = self.session.state.iteration

    def run(self, times: int = 1) -> None:
        left = times

        def look() -> bool:
            nonlocal left
            if self.session.learner.iteration in self.at and left:
                left -= 1
                self.deed(self.session)
            return False

        train_loop(self.session, report=self.events.append, stop=look)

    @property
    def told(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note) and event.level == "warning"]


@torch.no_grad()
def corrupt(session: Session) -> None:
    """As a fault of the memory would."""
    session.learner.net.get_parameter("decoder_src.out_conv.bias").fill_(math.nan)


@torch.no_grad()
def corrupt_bottleneck(session: Session) -> None:
    session.learner.net.get_parameter("inter.dense1.weight").fill_(math.nan)


@torch.no_grad()
def overflow(session: Session) -> None:
    session.learner.net.get_parameter("inter.dense1.weight").fill_(3e38)


@torch.no_grad()
def go_grey(session: Session, person: str = "src") -> None:
    """Draws nothing any more, and learns hardly anything of it."""
    for name in OUT_CONVS:
        convolution = session.learner.net.get_submodule(f"decoder_{person}.{name}")
        for parameter in convolution.parameters():
            parameter.zero_()


@torch.no_grad()
def die(session: Session) -> None:
    """As steps that are far too long leave it: dst is white, and the sigmoid lets no gradient through."""
    for name in OUT_CONVS:
        session.learner.net.get_parameter(f"decoder_dst.{name}.bias").fill_(200.0)


@pytest.mark.parametrize("deed", [corrupt, overflow])
def test_after_a_fault_training_goes_on_from_the_last_saved_state_and_says_so(
    workspace: Workspace, deed: Callable[[Session], None]
) -> None:
    run = Saboteur(workspace, FAST.but(target_iter=8), deed, 5)
    run.run()
    (told,) = run.told
    assert "became" in told
    assert "Back to iteration 3 and on from there with other random draws." in told
    record, store = read_record(workspace.model("small")), CheckpointStore(workspace.model("small"))
    assert [event["event"] for event in record.events] == ["rolled-back"]
    found = store.newest()
    assert found is not None
    assert found.iteration == 8
    assert all(tensor.isfinite().all() for tensor in found.weights.values())
    assert found.state["batches"]["seed"] != 0
    assert list(run.session.history.iterations) == list(range(1, 9))


def test_a_gradient_that_is_no_number_never_reaches_the_weights(workspace: Workspace) -> None:
    session = session_of(workspace, FAST.but(target_iter=8), lambda event: None)
    corrupt(session)
    before = {name: tensor.clone() for name, tensor in session.learner.net.state_dict().items()}
    values = session.step(next(session.batches))
    assert not values["gradient_length"].isfinite()
    for name, tensor in session.learner.net.state_dict().items():
        assert torch.equal(tensor, before[name]) or "out_conv.bias" in name, name


@pytest.mark.parametrize("person", ["src", "dst"])
def test_a_model_that_draws_nothing_any_more_is_caught(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, person: str
) -> None:
    monkeypatch.setattr(guard, "ARMED", 10)
    monkeypatch.setattr(guard, "RUN", 5)
    deed = functools.partial(go_grey, person=person)
    run = Saboteur(workspace, FAST.but(target_iter=25, learning_rate=1e-6), deed, 15)
    run.run()
    assert any("have been all alike" in told and "Back to iteration 3 " in told for told in run.told), run.told


@pytest.fixture
def quick_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks after eight iterations, by when little is drawn."""
    monkeypatch.setattr(guard, "BEGUN", 8)
    monkeypatch.setattr(guard, "NOTHING", 0.001)
    monkeypatch.setattr(guard, "RUN", 3)


@pytest.mark.usefixtures("quick_guard")
def test_a_person_who_never_began_to_be_drawn_begins_with_other_weights(workspace: Workspace) -> None:
    """What was saved meanwhile is as dead."""
    folder = workspace.model("small")
    run = Saboteur(workspace, FAST.but(target_iter=12), die, 4)
    run.run()
    (told,) = run.told
    assert "one of the two people is drawn in a single colour" in told
    assert "Back to the beginning, with other initial weights, and on" in told
    assert list(run.session.history.iterations) == list(range(1, 13))
    assert float(run.session.learner.contrast or 0) > 2 * guard.NOTHING
    store = CheckpointStore(folder)
    assert [path.name for path in store.generations()] == [f"{12:09d}", f"{0:09d}"]
    begun = load_generation(store.folder / f"{0:09d}").weights
    as_usual = new_network("quick96", seed=FAST.seed).state_dict()
    assert not any(torch.equal(begun[name], as_usual[name]) for name in begun if name.endswith("weight"))


def test_a_person_who_is_lost_later_does_not_cost_what_was_learned_before() -> None:
    """Right after other options, such as a rate that is too high, little is known of how it was before."""
    watching = Guard()
    for iteration in range(50_001, 50_030):
        watching.watch(iteration, 1.0, 0.9 if iteration <= 50_010 else 0.0)
    with pytest.raises(TrainingDiverged, match="drawn in a single colour for 20 iterations") as caught:
        watching.watch(50_030, 1.0, 0.0)
    assert caught.value.context["began"] == 50_010
    assert "never_began" not in caught.value.context


@pytest.mark.usefixtures("quick_guard")
def test_weights_that_were_brought_along_are_gone_back_to_and_not_thrown_away(workspace: Workspace) -> None:
    folder = workspace.model("small")
    write_record(folder, read_record(folder).with_event("started", "From another."))
    run = Saboteur(workspace, FAST.but(target_iter=12), die, 4)
    run.run()
    (told,) = run.told
    assert "Back to iteration 1 and on" in told  # the oldest there is


def test_from_the_second_time_on_it_goes_more_calmly_and_in_the_end_it_gives_up(workspace: Workspace) -> None:
    run = Saboteur(workspace, FAST.but(target_iter=8, optimiser="adam", learning_rate=1e-3), corrupt, 4, 5)
    with pytest.raises(TrainingDiverged, match=f"Going back has not helped {MOST} times"):
        run.run(times=MOST + 1)
    assert len([told for told in run.told if "Back to iteration" in told]) == MOST
    assert "1/2 and clipped gradients" in [told for told in run.told if "Back to" in told][1]
    optimiser = run.session.learner.optimiser
    assert optimiser.lr == pytest.approx(1e-3 / 2 ** (MOST - 1))
    assert optimiser.clip_norm == 1


def test_how_calm_it_is_survives_a_restart(workspace: Workspace) -> None:
    run = Saboteur(workspace, FAST.but(target_iter=8), corrupt, 4)
    run.run(times=2)
    again = session_of(workspace, FAST.but(target_iter=9), lambda event: None)
    assert (again.guard.times, again.learner.calm) == (2, 1)
    again.step(next(again.batches))
    assert again.learner.optimiser.clip_norm == 1


def test_without_the_guard_a_fault_ends_training_as_an_error(workspace: Workspace) -> None:
    run = Saboteur(workspace, FAST.but(target_iter=8, guard=False), corrupt, 4)
    with pytest.raises(TrainingDiverged, match="Nothing of it was saved"):
        run.run()
    assert CheckpointStore(workspace.model("small")).newest_iteration() == 3


def test_the_length_of_the_gradient_is_reported(workspace: Workspace) -> None:
    events: list[Event] = []
    train_loop(session_of(workspace, FAST.but(target_iter=5), events.append), report=events.append)
    lengths = [event.values["gradient_length"] for event in events if isinstance(event, Metrics)]
    assert len(lengths) == 2
    assert min(lengths) > 0


def test_a_loss_counts_as_collapsed_when_it_stays_far_above_its_median() -> None:
    watching = Guard()
    for iteration in range(200):
        watching.watch(iteration, 10.0 if iteration % 7 else 40.0, 0.5)  # single bad batches are none
    for iteration in range(200, 200 + RUN - 1):
        watching.watch(iteration, 31.0, 0.5)
    with pytest.raises(TrainingDiverged, match="above 3 times its usual 10") as caught:
        watching.watch(200 + RUN - 1, 31.0, 0.5)
    assert caught.value.context["began"] == caught.value.context["iteration"] - RUN
    watching.begin()
    for iteration in range(260, 400):  # what counts differently since an option changed
        watching.watch(iteration, 310.0, 0.5)


def test_what_went_wrong_is_forgotten_after_a_while() -> None:
    watching = Guard(times=2, trouble_at=50)
    watching.watch(50 + HEALED - 1, 1.0, None)
    assert watching.calm == 1
    watching.watch(50 + HEALED, 1.0, None)
    assert watching.calm == 0


def test_after_going_back_a_restart_goes_on_from_there_and_not_from_a_later_best_state(workspace: Workspace) -> None:
    """The second way back leads to a state before the best one, or a backup, which stay where they are."""
    folder = workspace.model("small")
    train_loop(session_of(workspace, FAST.but(target_iter=5), lambda event: None))
    store = CheckpointStore(folder)
    keep_if_best(folder, store.folder / f"{5:09d}", 0.5, "faces")
    store.back_up(store.folder / f"{5:09d}")
    run = Saboteur(workspace, FAST.but(target_iter=7), corrupt, 5)
    run.run(times=2)
    assert any("Back to iteration 3 " in told for told in run.told)
    shutil.rmtree(store.folder / f"{7:09d}")  # as if it had been killed at once
    assert store.newest_iteration() == 3
    assert session_of(workspace, FAST, lambda event: None).state.iteration == 3
    assert [path.parent.name for path in store.generations() if int(path.name) == 5] == ["backups", "best"]


def test_the_way_back_to_a_backup_makes_it_the_newest(workspace: Workspace) -> None:
    store = CheckpointStore(workspace.model("small"))
    first = store.back_up(store.folder / f"{3:09d}", beside=lambda folder: (folder / "preview.jpg").touch())
    train_loop(session_of(workspace, FAST.but(target_iter=5), lambda event: None))
    shutil.rmtree(store.folder / first.name)
    store.go_back_to(first)
    assert max(path.name for path in store.folder.iterdir()) == first.name
    found = store.newest()
    assert found is not None
    assert found.folder == store.folder / first.name
    assert not (found.folder / "preview.jpg").exists()


def test_pretraining_that_goes_back_makes_no_discriminator(workspace: Workspace) -> None:
    """What `gan_power` wants is for afterwards."""
    create_model(workspace.model("face"), "saehd", config=FACE)
    options = FAST.but(model=ModelClass.SAEHD, pretrain=True, gan_power=0.1, gan_dims=4, target_iter=2)
    train_loop(session_of(workspace, options, lambda event: None, "face"))
    run = Saboteur(workspace, options.but(target_iter=4), corrupt_bottleneck, 3, name="face")
    run.run()
    assert run.told
    assert not run.session.learner.discriminators


def test_trouble_in_the_last_iterations_is_gone_back_from_too(workspace: Workspace) -> None:
    """A graphics card's losses are read in blocks: here the stop comes before the block with the fault is read."""
    run = Saboteur(workspace, FAST, corrupt, 4)
    session = run.session
    session.__class__ = Seldom

    def stop() -> bool:
        if session.learner.iteration == 4:
            corrupt(session)
        return session.learner.iteration >= 6

    state, _ = train_loop(session, report=run.events.append, stop=stop)
    assert state.iteration == 3
    assert any("Back to iteration 3" in told for told in run.told)
    assert CheckpointStore(workspace.model("small")).newest_iteration() == 3


class Seldom(Session):
    """A session that reads its losses as on a graphics card."""

    @property
    def log_every(self) -> int:
        return 10
