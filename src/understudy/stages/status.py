"""What is in a workspace, what runs in it, and which command comes next."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.detection.options import ExtractOptions
from understudy.errors import UnderstudyError
from understudy.facesets.packs import PACK_NAME, count_packed
from understudy.facesets.scanning import face_beside
from understudy.files import parse_json
from understudy.interop.flat_names import XSEG
from understudy.jobs import Job, JobState, jobs_in
from understudy.media import probe
from understudy.records import FootageFrom, Side
from understudy.stages.extract_journal import FOLDER, journal_path
from understudy.stages.models import list_models
from understudy.stages.person_groups import notebook_path
from understudy.stages.review_list import read_review
from understudy.training.saved.models import ModelSummary
from understudy.workspace import IMAGE_SUFFIXES, SidePaths, Workspace

RECENT_JOBS = 5
_DELIVERED = ("result", "result_mask")

CROWDED = 0.05
"""Share of faces beside others in their frame from which a faceset is taken for one of several people."""

TAIL_BYTES = 4096
_NTH_IN_FRAME = re.compile(r".+_(\d+)")


@dataclass(frozen=True)
class Searched:
    """How far an extraction came that was stopped. frames: that it has done. again: the command that does the rest."""

    frames: int
    again: str


@dataclass(frozen=True)
class SideStatus:
    """One side's footage and faces. footage: what the video is, as `video probe` says it; None without a video.

    searched: of an extraction that was stopped; None after one that came to its end. doubtful: how many places of the
    faceset the review lists, None without a review. crowded: whether faces of several people seem to be there that
    nobody has told apart.
    """

    side: Side
    video: Path | None
    footage: dict[str, Any] | None
    frames: int
    faces: int
    problem: str = ""
    searched: Searched | None = None
    doubtful: int | None = None
    crowded: bool = False

    @property
    def present(self) -> bool:
        """Whether there is what the side is needed for: of src its faces are enough."""
        return self.video is not None or self.frames > 0 or (self.side is Side.SRC and self.faces > 0)


@dataclass(frozen=True)
class JobStatus:
    """One job as others see it. done and total count what its last progress counted. losses: of a training, by name."""

    id: str
    title: str
    state: JobState
    step: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    rate: float | None = None
    message: str = ""
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkspaceStatus:
    """Everything that `understudy status` shows."""

    root: Path
    sides: dict[Side, SideStatus]
    models: list[ModelSummary]
    merged: int
    results: list[Path]
    running: list[JobStatus]
    recent: list[JobStatus] = field(default_factory=list)
    next: str = ""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": True,
            "workspace": str(self.root),
            **{str(side): _side_json(found) for side, found in self.sides.items()},
            "models": [model.as_json() for model in self.models],
            "merged": self.merged,
            "results": [str(path) for path in self.results],
            "running": [_job_json(job) for job in self.running],
            "recent": [_job_json(job) for job in self.recent],
            "next": self.next,
            "why": self.why,
        }


def status(workspace: Workspace) -> WorkspaceStatus:
    """Look at a workspace. Reads only; a video that cannot be read is named, not raised."""
    sides = {side: _look_at(workspace, workspace.side(side)) for side in Side}
    jobs = [_job(job) for job in jobs_in(workspace.private / "jobs")[: RECENT_JOBS * 4]]
    running = [job for job in jobs if job.state.active]
    recent = [job for job in jobs if not job.state.active][:RECENT_JOBS]
    models = [model for model in list_models(workspace) if model.format != "dfm"]
    found = (models, image_count(workspace.merged), results(workspace))
    command, why = _next(workspace, sides, *found, running)
    return WorkspaceStatus(workspace.root, sides, *found, running, recent, command, why)


def results(workspace: Workspace) -> list[Path]:
    """Delivered files, the newest first, pictures before masks."""
    found = ([(path.stat().st_mtime, path) for path in workspace.root.glob(f"{stem}.*")] for stem in _DELIVERED)
    return [path for files in found for _, path in sorted(files, reverse=True)]


def image_count(folder: Path) -> int:
    """How many pictures a folder holds."""
    if not folder.is_dir():
        return 0
    return len(_pictures(folder))


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]


def _count_without_drawn(folder: Path) -> int:
    """How many pictures a folder holds, without those that were drawn of a face beside them."""
    if not folder.is_dir():
        return 0
    names = [path.name for path in _pictures(folder)]
    stems = {name.rpartition(".")[0] for name in names}
    return sum(face_beside(name) not in stems for name in names)


def face_count(folder: Path) -> int:
    """How many faces a faceset holds: packed, else loose, else in one sub-folder per person. Raises UnreadableFace."""
    if (folder / PACK_NAME).is_file():
        return count_packed(folder / PACK_NAME)
    loose = _count_without_drawn(folder)
    if loose or not folder.is_dir():
        return loose
    return sum(_count_without_drawn(person) for person in folder.iterdir() if not person.name.startswith("."))


def _look_at(workspace: Workspace, paths: SidePaths) -> SideStatus:
    footage, faces, problems = None, 0, []
    frames = len(paths.frame_files())
    try:
        footage = probe(paths.video).as_json() if paths.video is not None else None
    except UnderstudyError as error:
        problems.append(error.message)
    try:
        faces = face_count(paths.aligned)
    except UnderstudyError as error:
        problems.append(error.message)
    review = read_review(workspace, paths.side) if faces else None
    return SideStatus(
        side=paths.side,
        video=paths.video,
        footage=footage,
        frames=frames,
        faces=faces,
        problem=" ".join(problems),
        searched=_searched(workspace, paths, has_frames=frames > 0),
        doubtful=None if review is None else len(review.items),
        crowded=_is_crowded(paths.aligned) and not notebook_path(workspace, paths.side).is_file(),
    )


def _searched(workspace: Workspace, paths: SidePaths, *, has_frames: bool) -> Searched | None:
    """How far an extraction of this footage came that did not come to its end; None where there is none such.

    Only counts lines: the journal of a long film takes seconds to read.
    """
    try:
        with journal_path(workspace, paths.side).open("rb") as file:
            head = parse_json(file.readline())
            frames = sum(line.startswith(b'{"frame"') for line in file)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            last = file.read().rstrip().rpartition(b"\n")[2]
        footage, settings = str(head["footage"]), dict(head["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not frames or last == b'{"end": true}':
        return None
    words = ["understudy", "faceset", "extract", str(paths.side)]
    usual = {"face_type": str(ExtractOptions().face_type), "image_size": 0}
    for name, flag in (("face_type", "--face-type"), ("image_size", "--image-size")):
        if name in settings and settings[name] not in (usual[name], _usual_size(settings)):
            words += [flag, str(settings[name])]
    if image_count(paths.aligned_debug):
        words.append("--debug-images")
    if has_frames and not footage.startswith(FOLDER):
        words += ["--from", str(FootageFrom.VIDEO)]
    return Searched(frames, shlex.join(words))


def _usual_size(settings: dict[str, Any]) -> int | None:
    """The side that pictures of a face type have when nobody asks for another."""
    try:
        return ExtractOptions.of(face_type=settings.get("face_type")).size
    except (UnderstudyError, ValueError):
        return None


def _is_crowded(folder: Path) -> bool:
    """Whether many faces are not the only ones of their frame, by their names, in a faceset without persons."""
    if not folder.is_dir():
        return False
    stems = [path.stem for path in _pictures(folder)]
    others = sum(int(match[1]) > 0 for stem in stems if (match := _NTH_IN_FRAME.fullmatch(stem)))
    return others > CROWDED * len(stems)


def _job(job: Job) -> JobStatus:
    state, progress, result = job.state, job.progress, job.result
    failed = result is not None and not result.ok and state is not JobState.INTERRUPTED
    message = result.body["error"]["message"] if result is not None and failed else ""
    if state is JobState.CRASHED:
        message = f"ended without a result; see {job.log}"
    if progress is None:
        return JobStatus(job.id, job.title, state, message=message)
    counts = (progress.step, progress.done, progress.total, progress.unit, progress.rate)
    losses = _losses(job) if state.active and progress.unit == "iterations" else {}
    return JobStatus(job.id, job.title, state, *counts, message, losses)


def _losses(job: Job) -> dict[str, float]:
    """The losses of both people that a training reported last."""
    metrics = job.metrics
    return {} if metrics is None else {side: metrics.values[side] for side in ("src", "dst") if side in metrics.values}


def _next(
    workspace: Workspace,
    sides: dict[Side, SideStatus],
    models: list[ModelSummary],
    merged: int,
    delivered: list[Path],
    running: list[JobStatus],
) -> tuple[str, str]:
    """The next useful command, and why. Files are compared by time: what is older than its source is made again."""
    if running:
        return "understudy status", f"{running[0].title} is running. Look again later, or stop it: understudy stop"
    models = [model for model in models if model.supported and model.model_class != XSEG]
    trained = max((model for model in models if model.iteration), default=None, key=lambda model: model.updated)
    # src has done its part once a model is trained, which may have come without it
    needed = [side for side in Side if side is Side.DST or trained is None]
    for side in needed:
        if not sides[side].present:
            return (
                f"copy a video to {workspace.root / f'data_{side}.mp4'}",
                f"There is no {side} footage: copy the video of {_who(side)} here (any extension).",
            )
    src = sides[Side.SRC]
    if trained is None and not src.faces and not src.frames:
        return "understudy video frames src --fps 10", "Ten frames a second of the src are enough to learn a face from."
    is_under_way = bool(merged or delivered)
    for found in (sides[side] for side in needed):
        if found.searched is not None and not is_under_way:
            why = f"The search for faces of {found.side} stopped after {found.searched.frames} frames; this goes on."
            return found.searched.again, why
        if not found.faces:
            return f"understudy faceset extract {found.side}", f"No faces of {found.side} have been found yet."
    if trained is None:
        return _next_with_faces(list(sides.values()), models)
    if not is_under_way:
        return shlex.join(
            ["understudy", "merge", trained.name]
        ), f"{trained.name} is trained to iteration {trained.iteration}."
    if merged and (not delivered or _newest(workspace.merged) > delivered[0].stat().st_mtime):
        return "understudy video encode mp4", f"{merged} merged frames wait to be delivered."
    onward = shlex.join(["understudy", "train", trained.name])
    return "understudy open result", f"{delivered[0].name} is there. To go on: {onward}"


def _next_with_faces(sides: list[SideStatus], models: list[ModelSummary]) -> tuple[str, str]:
    """With both facesets and no trained model: people apart, else training, with a word on what is worth a look."""
    for found in sides:
        if found.crowded:
            why = f"Several people seem to be in {found.side}; a model must learn one of them."
            return f"understudy faceset persons {found.side} find", why
    looks = " and ".join(f"understudy faceset review {found.side}" for found in sides if found.doubtful)
    why = "Both facesets are there; no model is trained." + (f" Worth a look before: {looks}" if looks else "")
    if models:
        return shlex.join(["understudy", "train", models[0].name]), why
    return "understudy train hello --model quick96 --target-iter 1000", why


def _newest(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)


def _who(side: Side) -> str:
    return "the person whose face will be seen" if side is Side.SRC else "the footage that receives it"


def _side_json(found: SideStatus) -> dict[str, Any]:
    video = None if found.video is None else str(found.video)
    body = {"video": video, "footage": found.footage, "frames": found.frames, "faces": found.faces}
    if found.searched is not None:
        body["searched"] = found.searched.frames
    if found.doubtful is not None:
        body["doubtful"] = found.doubtful
    return {**body, "problem": found.problem} if found.problem else body


def _job_json(job: JobStatus) -> dict[str, Any]:
    body = {name: getattr(job, name) for name in ("id", "title", "step", "done", "total", "unit", "rate", "message")}
    return {**body, "state": str(job.state), **({"losses": job.losses} if job.losses else {})}
