"""What commands found, as lines of text for a person."""

from __future__ import annotations

from fractions import Fraction

from understudy.cli.progress import pace_text
from understudy.jobs import JobState
from understudy.report import PAUSED, Progress
from understudy.stages.status import JobStatus, SideStatus, WorkspaceStatus


def status_text(found: WorkspaceStatus) -> str:
    """A workspace on one screen."""
    lines = [f"Workspace {found.root}"]
    lines += [side_line(side) for side in found.sides.values()]
    for model in found.models:
        at = "not trained" if model.iteration is None else f"iteration {model.iteration}"
        flat = "" if model.ours else ", DeepFaceLab's files"
        trouble = f" ({model.problem})" if model.problem else ""
        lines.append(f"  model   {model.name}: {model.model_class}, {at}{flat}{trouble}")
    if found.merged:
        lines.append(f"  merged  {found.merged} frames")
    lines += [f"  result  {path.name}" for path in found.results]
    if found.running:
        lines += ["Running:", *(f"  {job_line(job)}" for job in found.running)]
    troubled = [
        job for job in found.recent[:1] if job.state in (JobState.FAILED, JobState.CRASHED, JobState.INTERRUPTED)
    ]
    if troubled:
        lines += ["Last:", *(f"  {job_line(job)}" for job in troubled)]
    return "\n".join([*lines, f"Next: {found.next}", f"  {found.why}"])


def side_line(side: SideStatus) -> str:
    """Such as `src     data_src.mp4 1920x1080 25 fps 318 frames · 106 frames on disk · 104 faces`."""
    parts = [] if side.video is not None or side.frames else ["no footage"]
    if side.video is not None:
        parts.append(side.video.name + footage_words(side))
    if side.frames:
        parts.append(f"{side.frames} frames on disk")
    if side.faces or side.present:
        searched = "" if side.searched is None else f" in the first {side.searched.frames} frames"
        parts.append(f"{side.faces} faces{searched}" if side.faces else "no faces yet")
    parts += [f"{side.doubtful} to review"] if side.doubtful else []
    parts += [f"({side.problem})"] if side.problem else []
    return f"  {side.side}     " + " · ".join(parts)


def footage_words(side: SideStatus) -> str:
    """Size, rate and length of the video, with a space before them."""
    info = side.footage or {}
    words = [f"{info['width']}x{info['height']}"] if info.get("width") else []
    words += [f"{float(Fraction(info['fps'])):g} fps"] if info.get("fps") else []
    words += ["variable rate"] if info.get("vfr") else []
    words += [f"{info['frames']} frames"] if info.get("frames") else []
    return "".join(f" {word}" for word in words)


def job_line(job: JobStatus) -> str:
    """Such as `Faces of src: running, 120 of 318 frames, 61.2/s, 3 s left (20261122-140102-ab12-extract)`."""
    paused = job.state.active and job.step.endswith(PAUSED)
    parts = [f"{job.title}: {'paused' if paused else job.state}"]
    parts += [job.step] if job.step[:1].isdigit() else []  # a recipe's step, which its title does not tell
    if job.done is not None:
        total = f" of {job.total}" if job.total is not None else ""
        parts.append(f"iteration {job.done}{total}" if job.unit == "iterations" else f"{job.done}{total} {job.unit}")
        pace = pace_text(Progress(job.step, job.done, job.total, job.unit, job.rate))
        parts += [pace] if pace and job.state.active else []
    parts += [" ".join(f"{name} {value:.4f}" for name, value in job.losses.items())] if job.losses else []
    parts += [job.message] if job.message else []
    return f"{', '.join(parts)} ({job.id})"
