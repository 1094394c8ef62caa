"""Merging into two folders of pictures: only what is not up to date is rendered, each file replaced in one step."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy import files
from understudy.compositing.render import RenderedFrame
from understudy.errors import Interrupted, NoFrames
from understudy.imaging.files import encode_png
from understudy.imaging.types import Mask
from understudy.media import Frame, FrameFolderWriter, FrameSource
from understudy.records import Skipped
from understudy.report import Note, Pace
from understudy.stages.merge_job import MergeJob, require_some_done, until
from understudy.stages.merge_journal import MergeJournal, Rendered
from understudy.stages.ordered import in_order


@dataclass(frozen=True)
class Outcome:
    """What a run did. with_faces: frames in which at least one face was redrawn."""

    frames: int
    faces: int
    with_faces: int
    skipped: list[Skipped]
    rate: float | None
    outputs: list[Path]


def merge_to_pictures(job: MergeJob, footage: FrameSource) -> Outcome:
    """Render what is not up to date into data_dst/merged and data_dst/merged_mask."""
    outputs = Pictures(job.workspace.merged, job.workspace.merged_mask)
    journal = MergeJournal.read(job.workspace.private / "merge" / "journal.jsonl")
    current = {} if job.options.replace else _up_to_date(journal, job, footage, outputs)
    if len(current) < len(journal.rendered):
        journal = MergeJournal(journal.path, dict(current), skipped=list(journal.skipped) if current else [])
    rate = None
    if not (journal.is_complete and current and _has_all(journal, job, footage)):
        if current:
            job.report(Note(f"Going on after {len(current)} frames that are up to date."))
        with journal:
            rate = _render_missing(job, footage, journal, outputs, frozenset(current))
    files.write_json(outputs.pictures / "options.json", job.settings(footage.info))
    rendered = list(journal.rendered.values())
    problems = [Skipped(frame.name, frame.problem) for frame in rendered if frame.problem]
    with_faces = sum(frame.faces > 0 for frame in rendered)
    require_some_done(problems, with_faces)
    return Outcome(
        frames=len(rendered),
        faces=sum(frame.faces for frame in rendered),
        with_faces=with_faces,
        skipped=[*(item for item in journal.skipped if item.item not in journal.rendered), *problems],
        rate=rate,
        outputs=[outputs.pictures, outputs.masks],
    )


@dataclass(frozen=True)
class Pictures:
    """The two folders of rendered frames: <stem>.png in each, 8 bit for 8-bit sources and 16 bit for deeper ones."""

    pictures: Path
    masks: Path

    def write(self, rendered: RenderedFrame, writer: FrameFolderWriter) -> tuple[int, int]:
        """Write both files, each in one step; gives their sizes in bytes."""
        picture = writer.write(rendered.frame)
        mask = encode_png(mask_levels(rendered.mask, deep=rendered.frame.bit_depth > 8))
        files.write_bytes(self.masks / picture.name, mask, durable=False)
        return picture.stat().st_size, len(mask)

    def prepare(self) -> FrameFolderWriter:
        """Make the folders; gives what writes the pictures."""
        with files.os_errors(self.masks):
            self.masks.mkdir(parents=True, exist_ok=True)
        files.sweep(self.pictures)
        files.sweep(self.masks)
        return FrameFolderWriter(self.pictures)

    def are_whole(self, frame: Rendered) -> bool:
        """Whether both files of a frame are there with the sizes that were written."""
        return tuple(map(_size_of, self.files_of(frame.name))) == frame.sizes

    def files_of(self, frame_name: str) -> tuple[Path, Path]:
        """The picture and the mask of a frame."""
        name = f"{Path(frame_name).stem}.png"
        return self.pictures / name, self.masks / name


def mask_levels(mask: Mask, *, deep: bool) -> NDArray[np.uint8 | np.uint16]:
    """A mask as grey levels: (H, W) uint8, or uint16 when deep."""
    kind = np.uint16 if deep else np.uint8
    levels: NDArray[np.uint8 | np.uint16]
    levels = np.rint(mask * np.float32(np.iinfo(kind).max)).astype(kind)
    return levels


def _render_missing(
    job: MergeJob, footage: FrameSource, journal: MergeJournal, outputs: Pictures, current: frozenset[str]
) -> float | None:
    """Render every frame that is not in `current`, in order. Gives frames per second."""
    writer = outputs.prepare()

    def work(frame: Frame) -> Rendered:
        rendered, faces, problem = job.render(frame)
        sizes = outputs.write(rendered, writer)
        return Rendered(frame.index, frame.name, job.key_of(footage, frame.name), faces, sizes, problem)

    total = footage.estimated_count
    pace = Pace("Merging", None if total is None else max(0, total - len(current)), job.report)
    missing = (frame for frame in footage.frames(journal.next_index) if frame.name not in current)
    results = in_order(until(missing, job.stop), work, workers=job.workers, ahead=job.ahead(footage.info))
    with contextlib.closing(results):
        for frame in results:
            journal.add(frame, outputs.files_of(frame.name))
            journal.skip(footage.skipped)
            pace.advance()
    if job.stop():
        raise Interrupted(
            f"Stopped after {len(journal.rendered)} frames.",
            hint="Everything rendered is kept; run the same command again and it goes on from there.",
        )
    journal.skip(footage.skipped)
    if not journal.rendered:
        raise NoFrames("The dst footage has no usable frame.", hint="Look at it with: understudy video probe FILE")
    journal.finish()
    pace.report_now()
    return pace.rate


def _up_to_date(journal: MergeJournal, job: MergeJob, footage: FrameSource, outputs: Pictures) -> dict[str, Rendered]:
    """The frames of the journal that need not be rendered again, by name."""
    return {
        frame.name: frame
        for frame in journal.rendered.values()
        if frame.key == job.key_of(footage, frame.name) and outputs.are_whole(frame)
    }


def _has_all(journal: MergeJournal, job: MergeJob, footage: FrameSource) -> bool:
    """Whether every frame of the footage is rendered, without decoding anything; broken files may have been mended."""
    if footage.info.path.is_file():
        return True  # the key of each frame holds the identity of the file
    return all(file.name in journal.rendered for file in job.workspace.dst.frame_files())


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
