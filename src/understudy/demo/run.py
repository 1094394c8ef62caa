"""The demo: two clips made here, the seven commands over them, and a judgement of the result.

    result = run_demo(Path("demo"))      # or: python run.py demo

Every step is the stage that its command runs, with the options that the command would set. Everything can be run again:
what is done stays, and a model is trained no further than the first run took it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.compositing.options import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.demo.footage import Truth, footage_paths, make_demo_footage
from understudy.demo.judge import judge
from understudy.demo.options import DemoOptions
from understudy.demo.sheet import Row, before_and_after, draw_sheet, save_picture
from understudy.detection.options import ExtractOptions
from understudy.errors import Interrupted
from understudy.files import write_json
from understudy.media.options import EncodeOptions, FramesOptions
from understudy.records import FaceType, Side
from understudy.report import Event, Metrics, Note, Report, Stop, never, silent
from understudy.stages.encode import encode
from understudy.stages.extract import extract
from understudy.stages.extract_frames import extract_frames
from understudy.stages.init import init
from understudy.stages.merge import merge
from understudy.stages.result import StageResult
from understudy.stages.train import train
from understudy.training.faces.hold_out import Stretches, held_out_split
from understudy.training.options import ModelClass, TrainOptions
from understudy.training.saved.models import read_record
from understudy.workspace import Workspace

MODEL = "demo"
SRC_FPS = 12.5
HOLD_OUT = 0.25
"""The last quarter of both facesets is never trained on; the result is judged there."""
LEAST_TRAINING_SECS = 60.0
"""Trained even when the time is up before training begins."""
AFTER_TRAINING_SECS = 75.0
"""Kept for merging, encoding, judging and the sheet on 2 cores."""
INSTALL_VARIABLE = "UNDERSTUDY_INSTALL_SECONDS"
"""Set by run.py: what installing took, which counts into the demo's time."""


Item = TypeVar("Item")


@dataclass
class Clock:
    """How long each step took, in order."""

    install: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - begun

    @property
    def total(self) -> float:
        """Seconds since the start, installing included."""
        return self.install + time.perf_counter() - self.started


def run_demo(
    folder: Path, options: DemoOptions | None = None, *, report: Report = silent, stop: Stop = never
) -> StageResult:
    """Make the demo workspace in `folder`: footage, faces, model, result.mp4 and contact_sheet.png.

    notes of the result: `verdict` (correlations with the truth on held-out frames), `steps` (seconds of each),
    `total_secs`, `iteration`. Raises Interrupted after `stop`; the same call continues.
    """
    options = options or DemoOptions()
    clock = Clock(install=float(os.environ.get(INSTALL_VARIABLE) or 0.0))
    folder = Path(folder).absolute()
    workspace = _prepare(folder, options, clock, report, stop)
    iteration = _train(workspace, options, clock, report, stop)
    rendered = _deliver(workspace, clock, report, stop)
    with clock.step("judging and contact sheet"):
        held_out = _held_out(workspace)
        truth = Truth.load(footage_paths(folder, Side.DST)[1])
        verdict = judge(workspace.dst.frames, workspace.merged, truth, held_out, report=report, stop=stop)
        if stop():
            raise _interrupted(folder)
        sheet = _contact_sheet(workspace, truth, held_out)
    notes = {
        "verdict": verdict.as_json(),
        "iteration": iteration,
        "steps": {name: round(seconds, 1) for name, seconds in clock.steps.items()},
        "install_secs": round(clock.install, 1),
        "total_secs": round(clock.total, 1),
    }
    write_json(workspace.private / "demo" / "summary.json", notes)
    return StageResult(
        frames=rendered.frames,
        faces=rendered.faces,
        skipped=rendered.skipped,
        seconds=sum(clock.steps.values()),
        outputs=[workspace.root / "result.mp4", *sheet],
        notes=notes,
    )


def _prepare(folder: Path, options: DemoOptions, clock: Clock, report: Report, stop: Stop) -> Workspace:
    """Footage, frames and faces of both sides."""
    init(folder)
    workspace = Workspace.open(folder)
    with clock.step("drawing the footage"):
        make_demo_footage(folder, seconds=options.seconds, seed=options.seed, report=report, stop=stop)
        if stop():
            raise _interrupted(folder)
    with clock.step("video frames"):
        extract_frames(workspace, Side.SRC, FramesOptions(fps=SRC_FPS), report=report, stop=stop)
        extract_frames(workspace, Side.DST, FramesOptions(), report=report, stop=stop)
    with clock.step("faceset extract"):
        for side in Side:
            found = ExtractOptions(face_type=FaceType.WHOLE_FACE, max_faces=1)
            extract(workspace, side, found, report=report, stop=stop)
    return workspace


def _train(workspace: Workspace, options: DemoOptions, clock: Clock, report: Report, stop: Stop) -> int:
    """Train for the time that is left; a second run trains no further. Gives the iteration that was reached."""
    plan = workspace.private / "demo" / "plan.json"
    with clock.step("train"):
        target = options.iterations or _planned(plan)
        if target:
            train(workspace, MODEL, _train_options(options, target), report=report, stop=stop)
        else:
            target = _train_for_the_time(workspace, options, clock, report, stop)
    write_json(plan, {"target_iter": target})
    return target


def _train_for_the_time(workspace: Workspace, options: DemoOptions, clock: Clock, report: Report, stop: Stop) -> int:
    """Train until the demo's time is up but for what comes after, one iteration at least. Gives what was reached."""
    end = max(clock.total + LEAST_TRAINING_SECS, options.minutes * 60 - AFTER_TRAINING_SECS)
    report(Note(f"Training for {(end - clock.total) / 60:.1f} minutes, the time that the demo has for it."))
    begun = False

    def watch(event: Event) -> None:
        nonlocal begun
        begun = begun or isinstance(event, Metrics)
        report(event)

    def is_over() -> bool:
        return stop() or (begun and clock.total >= end)

    try:
        train(workspace, MODEL, _train_options(options, 0), report=watch, stop=is_over)
    except Interrupted as ended:
        if stop():
            raise
        return int(ended.context["iteration"])
    raise AssertionError("training without a target ends only when it is stopped")


def _train_options(options: DemoOptions, target_iter: int) -> TrainOptions:
    return TrainOptions(
        model=ModelClass.QUICK96,
        target_iter=target_iter,
        random_warp=False,  # a single shot and a few minutes: what it shows is all that must be learned
        random_transform=0.2,
        hold_out=HOLD_OUT,
        seed=options.seed,
        batch_size=options.batch_size,
        save_minutes=3,
    )


def _planned(plan: Path) -> int:
    if not plan.is_file():
        return 0
    return int(json.loads(plan.read_text(encoding="utf-8"))["target_iter"])


def _deliver(workspace: Workspace, clock: Clock, report: Report, stop: Stop) -> StageResult:
    merging = MergeOptions(
        mode=MergeMode.OVERLAY,
        mask_mode=MaskMode.LEARNED_PRD_TIMES_DST,
        color_transfer_mode=ColorTransfer.RCT,
        erode_mask_modifier=10,
        blur_mask_modifier=60,
    )
    with clock.step("merge"):
        rendered = merge(workspace, MODEL, merging, report=report, stop=stop)
    with clock.step("video encode"):
        encode(workspace, EncodeOptions(), report=report, stop=stop)
    return rendered


def _held_out(workspace: Workspace) -> list[int]:
    """Indexes of the dst frames whose faces were not trained on."""
    from understudy.facesets import Catalog

    with Catalog.open(workspace.dst.aligned, cache=workspace.catalogs) as catalog:
        faces = catalog.require_faces()
    known = Stretches.from_json(read_record(workspace.model(MODEL)).held_out.get(str(Side.DST)))
    held_out = held_out_split(faces, HOLD_OUT, known=known).held_out
    return sorted(int(Path(face.frame or face.name).stem.split("_")[0]) - 1 for face in held_out)


def _contact_sheet(workspace: Workspace, truth: Truth, held_out: list[int]) -> list[Path]:
    """contact_sheet.png and before_after.jpg in the workspace."""
    spread = _spread(range(len(truth)), 6)
    judged = _spread(held_out, 6)
    src, dst = workspace.src, workspace.dst
    merged = [_read(workspace.merged / f"{index + 1:05d}.png") for index in judged]
    plates = [_read(dst.frames / f"{index + 1:05d}.png") for index in judged]
    previews = sorted((workspace.model(MODEL) / "previews").glob("*.png"))
    rows = [
        Row("src footage: whose face will be seen", [_read(path) for path in _spread(src.frame_files(), 6)]),
        Row("dst footage: who receives it", [_read(dst.frames / f"{index + 1:05d}.png") for index in spread]),
        Row(
            "aligned faces, src then dst",
            [_read(path) for side in (src, dst) for path in _spread(sorted(side.aligned.glob("*.jpg")), 6)],
        ),
        Row("training preview: src, redrawn, dst, redrawn, dst as src", [_read(path) for path in previews[:2]]),
        Row("dst frames that were never trained on", plates),
        Row("the same frames merged", merged),
    ]
    sheet, pair = workspace.root / "contact_sheet.png", workspace.root / "before_after.jpg"
    save_picture(sheet, draw_sheet(rows, title="understudy demo: every picture here is altered"))
    talking = sorted(_spread(sorted(held_out, key=lambda index: truth.mouth_opening[index]), 3))
    save_picture(
        pair,
        before_and_after(
            *(
                [_read(folder / f"{index + 1:05d}.png") for index in talking]
                for folder in (dst.frames, workspace.merged)
            )
        ),
    )
    return [sheet, pair]


def _spread(items, count: int) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Up to `count` of the items, evenly spread."""
    items = list(items)
    count = min(count, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _interrupted(folder: Path) -> Interrupted:
    return Interrupted(
        "The demo was stopped; what is done stays.", hint=f"Run it again in {folder}, and it goes on from there."
    )
