"""Everything that one run of training holds: the networks, their optimisers, the batches and where they are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from understudy.errors import WorkspaceError
from understudy.networks.families import Config
from understudy.report import Note, Preview, Report, silent
from understudy.training import applying
from understudy.training.batches.protocol import Batches
from understudy.training.faces.bank import FaceBank
from understudy.training.history import CURVE_NAME, History, draw_curve
from understudy.training.learning.guard import Guard
from understudy.training.learning.learner import Learner
from understudy.training.learning.precision import Precision, computing_in, machine
from understudy.training.measuring.evaluating import Evaluator
from understudy.training.memory.shortage import going_on_without
from understudy.training.optimisers import Optimiser
from understudy.training.optimisers.sharing import Shared
from understudy.training.options import TrainOptions
from understudy.training.previews.preview import Sheets, rows_for, save_previews, training_going_on
from understudy.training.previews.preview_choice import preview_names
from understudy.training.previews.preview_history import below_losses, keep_previews, save_jpeg, usual_interval
from understudy.training.recipes import Recipe
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.learner_state import AtRest, saved_average, saved_tensors
from understudy.training.saved.models import read_record, write_record
from understudy.training.state import Ended, TrainState
from understudy.training.team.team import ALONE, Order, Team

GPU_LOG_EVERY = 10
"""Reading a loss makes a GPU wait; on a CPU it costs nothing and is done every iteration."""


@dataclass(eq=False)
class Session:
    """One model in training. `open_session` makes it; `train_loop` runs it. One process at a time may.

    options: as they are now; `apply` changes them. preview_faces: as the recipe's previews take them. imported:
    whether the model began in another program. Everything that options decide is derived from them by functions, in
    `applying.py`, so that it can change while training runs.
    load_faces: brings the banks of src and dst as options need them, where some are needed that are not here;
    look_again: those of the facesets as they are by now, None where nothing changed.
    evaluator: what measures the model on held-out faces; None where nothing does, and make_evaluator makes one then.
    guard: watches for trouble.
    """

    folder: Path
    options: TrainOptions
    fabric: Fabric
    recipe: Recipe
    config: Config
    imported: bool
    learner: Learner[Any]
    at_rest: AtRest
    batches: Batches
    precision: Precision
    store: CheckpointStore
    history: History
    preview_faces: Any
    preview_names: Mapping[str, list[str]]
    faces: Mapping[str, str]
    state: TrainState
    is_new: bool
    load_faces: Callable[[TrainOptions], tuple[FaceBank, FaceBank]] | None = None
    look_again: Callable[[], tuple[FaceBank, FaceBank] | None] | None = None
    evaluator: Evaluator | None = None
    make_evaluator: Callable[[], Evaluator] | None = None
    guard: Guard = field(default_factory=Guard)
    _saved_at: int = -1
    _drawn_at: int = -1
    _recorded_at: int = -1
    team: Team = ALONE
    _backup_clock: float = field(default_factory=time.monotonic)

    @property
    def log_every(self) -> int:
        return 1 if self.fabric.device.type == "cpu" else GPU_LOG_EVERY

    @property
    def batch_size(self) -> int:
        return self.batches.batch_size

    @property
    def faithful(self) -> bool:
        """Whether the reference's quirks are kept: as the options say, else on for imported models."""
        return self.imported if self.options.faithful is None else self.options.faithful

    def net_for_use(self) -> nn.Module:
        """The network that is drawn with, evaluated and merged."""
        return self.learner.net if self.learner.ema is None else self.learner.ema.net

    def net_to_measure(self) -> nn.Module:
        """The same in the number type that the run computes in, which is where it is quick."""
        return computing_in(self.net_for_use(), self.precision.torch_dtype)

    def apply(self, options: TrainOptions, report: Report = silent) -> None:
        """Go on with other options from the next iteration on."""
        if self.team.leads:
            options = options.but(batch_size=self.team.shared(options.batch_size))
            self.team.order(Order.OPTIONS, options.model_dump(mode="json"))
        if self.learner.spread is not None:
            self.shared.join(self.optimisers().values())
        applying.apply(self, options, report)
        self.share_out()
        self.guard.begin()

    def note_change(self, state: TrainState, told: str) -> None:
        """Keep the present options for the next run, and the sentence of what changed, in `model.json`."""
        record = read_record(self.folder)
        record = record.with_options({**record.options, **self.options.stored()})
        write_record(self.folder, record.with_event("options", f"Before iteration {state.iteration + 1}: {told}."))

    def reason_to_end(self, state: TrainState) -> Ended | None:
        """Why training is over at this point; None while it is not."""
        if state.reached(self.options.target_iter):
            return Ended.TARGET
        return Ended.PLATEAU if self.evaluator is not None and self.evaluator.at_plateau(self.options) else None

    def evaluation_due(self, state: TrainState) -> bool:
        """Whether the model is measured after this iteration."""
        return self.evaluator is not None and self.evaluator.due(state.iteration, self.options)

    def evaluate(self, state: TrainState, report: Report = silent) -> None:
        """Measure the model on faces that it never learns from."""
        if self.evaluator is not None:
            with going_on_without("this evaluation", report):
                self.evaluator.evaluate(self, state.iteration, report)

    def step(self, batch: Any, report: Report = silent) -> dict[str, Tensor]:
        """Learn from one batch; its losses as scalars on the device."""
        cuts = self.learner.cuts
        with self.team.stepping():
            values = self.team.mean(self.learner.learn(batch))
            self.learner.sample_losses = {n: self.team.whole(part) for n, part in self.learner.sample_losses.items()}
        self.batches.note(self.learner.sample_losses)
        if self.learner.cuts > cuts and self.team.leads:
            self._note_shortage(report)
        return values

    def _note_shortage(self, report: Report) -> None:
        """Say, and keep in the model's record, that memory ran out and that batches go in parts from now on."""
        text = (
            f"Memory ran out: each batch goes in {self.learner.cuts} parts from here on, which learn the same and take "
            "a little longer."
        )
        report(Note(text, "warning"))
        write_record(self.folder, read_record(self.folder).with_event("memory", text))

    def watch(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Look at the losses of an iteration. Raises TrainingDiverged when the model has collapsed."""
        if self.options.guard:
            contrast = self.learner.contrast
            whole = sum(losses[name] for name in self.learner.losses_kept)
            self.guard.watch(iteration, whole, None if contrast is None else float(contrast))

    def go_back(self, state: TrainState) -> None:
        """Go on at a state that is saved already."""
        self.state, self._saved_at, self._drawn_at, self._recorded_at = state, state.iteration, -1, -1

    def save(self, state: TrainState, report: Report = silent) -> None:
        """Publish a checkpoint of this moment, with the history that belongs to it, unless that was done already."""
        if state.iteration == self._saved_at:
            return
        self.history.sync()
        if self.evaluator is not None:
            self.evaluator.evaluations.sync()
        weights, optimiser = self.tensors()
        average = saved_average(self.learner)
        generation = self.store.save(
            state.iteration, weights=weights, optimiser=optimiser, ema=average, state=self.body(state)
        )
        report(Note(self._told_of_save(state)))
        self._saved_at = state.iteration
        if self.evaluator is not None:
            with going_on_without("a look at whether this is the best state", report):
                self.evaluator.keep_best(self, generation, report)
        self.back_up_if_due(state, report)

    def begin_backups(self) -> None:
        """Count the hours to the next backup from now."""
        self._backup_clock = time.monotonic()

    def back_up_if_due(self, state: TrainState, report: Report = silent) -> None:
        """Back up what was saved now, if so many hours have gone by. Keeps its beat, however late a save is."""
        interval_secs = 3600 * self.options.autobackup_hour
        waited = time.monotonic() - self._backup_clock
        if interval_secs and waited >= interval_secs:
            self.back_up(state, report)
            self._backup_clock += interval_secs * int(waited / interval_secs)

    def _told_of_save(self, state: TrainState) -> str:
        """That this state is saved, with the means of the losses since the last time."""
        count = state.iteration - self._saved_at if 0 <= self._saved_at < state.iteration else state.iteration
        means = " ".join(f"{name} {value:.4f}" for name, value in self.history.means(count).items()) if count else ""
        return f"Saved at iteration {state.iteration}" + (
            f", since the last time on average {means}." if means else "."
        )

    def refresh(self, state: TrainState, report: Report = silent) -> bool:
        """Train on what is in the facesets by now, right after a save, so that a resumed run does the same; whether it
        is something else than before."""
        banks = None if self.look_again is None else self.look_again()
        if banks is None:
            return False
        if not self.team.alone:
            self.team.order(Order.FACES)
        self.batches.replace_banks(*banks)
        src, dst = banks
        self.faces = {"src": src.digest, "dst": dst.digest}
        self._show(self.options.preview_faces, self.preview_names, report)
        return True

    def body(self, state: TrainState) -> dict[str, Any]:
        """What a saved state of this moment says beside its tensors."""
        return {
            "iteration": state.iteration,
            "images": state.images,
            "batches": self.batches.state_dict(),
            "precision": self.precision.as_json(),
            "machine": machine(),
            "device": self.fabric.device.type,
            "options": self.options.model_dump(mode="json"),
            "faces": dict(self.faces),
            "preview_faces": dict(self.preview_names),
            "history": len(self.history),
            "cuts": self.learner.cuts,
            "guard": self.guard.state_dict(),
        }

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and optimisers' tensors of a saved state of this moment."""
        weights, moments = saved_tensors(self.learner, self.at_rest)
        if self.learner.optimiser.owned is not None:
            if self.team.leads:
                self.team.order(Order.MOMENTS)
            for prefix, optimiser in self.optimisers().items():
                moments |= {f"{prefix}{name}": each for name, each in self.shared.whole(optimiser).items()}
        return weights, moments

    def optimisers(self) -> dict[str, Optimiser]:
        """Those of all networks, by how their tensors begin in a saved state."""
        others = {f"{name}/": each.optimiser for name, each in self.learner.discriminators.items()}
        return {"": self.learner.optimiser, **others}

    @property
    def shared(self) -> Shared:
        return Shared(self.team)

    def share_out(self) -> None:
        """Keep only this process's part of the moments from here on, if the options want that. All are whole before."""
        if self.options.shard and not self.team.alone:
            self.shared.divide(self.optimisers().values())
            self.learner.spread = self.shared.spread

    def back_up(self, state: TrainState, report: Report = silent) -> None:
        """Save, and keep what is saved beyond the turn of the newest; if that cannot be, training goes on without."""
        self.save(state, report)
        saved = self.store.folder / f"{state.iteration:09d}"
        try:
            kept = self.store.back_up(saved, beside=self._previews_beside(state))
        except WorkspaceError as error:  # the state itself is saved
            report(Note(f"No backup of iteration {state.iteration} could be made: {error.message}", "warning"))
            return
        report(Note(f"Backup of iteration {state.iteration}.", item=kept.name))

    def draw(self, state: TrainState, report: Report = silent, *, again: bool = False) -> None:
        """Draw the previews and the loss curve, unless that was done for this iteration and is not wanted again."""
        if state.iteration == self._drawn_at and not again:
            return
        self._drawn_at = state.iteration
        with training_going_on(report), going_on_without("these pictures", report):
            for path in save_previews(self.folder, self._sheets()):
                report(Preview(path.stem.replace("_", " "), path, state.iteration))
            report(Preview("Loss", draw_curve(self.history, self.folder / CURVE_NAME), state.iteration))

    def recording_due(self, state: TrainState) -> bool:
        """Whether a picture of this iteration belongs to the preview history; that of the first one always does."""
        every = self.options.preview_history_every or usual_interval(self.config.size)
        due = state.iteration == 1 or state.due(every)
        return self.options.write_preview_history and due and state.iteration != self._recorded_at

    def record(self, state: TrainState, report: Report = silent) -> None:
        """Add the previews of this iteration to their history."""
        self._recorded_at = state.iteration
        limit = self.options.preview_history_keep
        with training_going_on(report), going_on_without("this picture", report):
            keep_previews(self.folder, self._sheets(), self.history, state.iteration, limit=limit)

    def show_faces(self, wanted: Sequence[str]) -> None:
        """Show these faces in the previews from now on; none: a few spread over each faceset."""
        self._show(wanted, {})

    def _show(self, wanted: Sequence[str], before: Mapping[str, Sequence[str]], report: Report = silent) -> None:
        banks, task = self.batches.banks, self.recipe.task
        self.preview_names = preview_names(wanted, before, task.known_names(banks), rows_for(banks[0].size), report)
        self.preview_faces = task.faces_to_show(banks, self.preview_names, self.batches, self.fabric.device)

    def _sheets(self) -> Sheets:
        """The previews as they are now."""
        net = self.net_for_use()
        net.eval()
        try:
            return self.recipe.previews(net, self.preview_faces)
        finally:
            net.train()

    def _previews_beside(self, state: TrainState) -> Callable[[Path], None]:
        """Writes the previews of this moment into the folder of a backup."""

        def write(folder: Path) -> None:
            for title, sheet in self._sheets().items():
                picture = below_losses(sheet, self.history, state.iteration)
                save_jpeg(folder / f"preview_{title.replace(' ', '_')}.jpg", picture)

        return write
