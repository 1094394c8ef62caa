"""Noise taken out of the frames of a side: written elsewhere, then exchanged as one change that can be undone.

    .understudy/denoise/SIDE/          the cleaned frames until they are complete; kept after an undo
    .understudy/denoise/SIDE.json      what was cleaned, how, and whether it is in place
    .understudy/trash/…                the frames as they were

Shots are cleaned each by itself, in chunks that begin a few frames early to settle. So the result is the same whether
a run was interrupted or not, and chunks go to several cores.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import Interrupted, MediaError, MissingFootage, NoFrames, UnderstudyError, UsageError
from understudy.files import os_errors, require_writable, sweep, sync_files, write_bytes
from understudy.media import DenoiseOptions
from understudy.media.folder import list_pictures
from understudy.records import FootageFrom, Side, Skipped
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.denoise_state import (
    denoised_with,
    digest,
    exchanges,
    mark,
    read_state,
    recover_exchange,
    state_path,
)
from understudy.stages.frame_record import read_record, record_path
from understudy.stages.result import StageResult
from understudy.stages.shots import Shots, find_shots, read_shots
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from understudy.imaging.files import Picture

CHUNK = 240
SETTLE = 12
"""Frames that are cleaned before a chunk only to get going; after them a chunk is where a long run would be."""

_CLEANED = (".png", ".jpg", ".jpeg", ".exr")


def denoise(
    workspace: Workspace, side: Side, options: DenoiseOptions | None = None, *, report: Report = silent,
    stop: Stop = never,
) -> StageResult:  # fmt: skip
    """Clean the frames of a side in place; the old ones go to the trash and `undo_denoise` brings them back.

    Can be stopped or killed and run again at any time: frames are exchanged only when all are cleaned. 16-bit frames
    stay 16 bit. Raises MissingFootage without frames on disk, NoFrames when none can be read, UsageError for frames
    that were cleaned already, that are not complete, that are aligned faces or of a kind that is not written here;
    DiskFull, ReadOnlyWorkspace, Busy, Interrupted.
    """
    started = time.perf_counter()
    options = options or DenoiseOptions()
    with workspace.writing(f"frames-{side}"):
        job = _Job(workspace, side, options, report, stop)
        recover_exchange(workspace, side)
        files = job.check()
        shots = _shots(workspace, side, report, stop)
        job.begin(files)
        skipped = job.clean(files, shots)
        sheet = job.draw_sheet(files, skipped)
        trash = job.exchange(files, skipped)
    cleaned = len(files) - len(skipped)
    notes = {"factor": options.factor, "shots": len(shots.starts), "trash": str(trash)}
    return StageResult(
        frames=cleaned, skipped=skipped, seconds=time.perf_counter() - started, rate=job.rate,
        outputs=[workspace.side(side).frames, sheet], notes=notes,
    )  # fmt: skip


def undo_denoise(
    workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never
) -> StageResult:  # fmt: skip
    """Bring back the frames as they were before `denoise`. Raises UsageError when there is nothing to bring back."""
    from understudy.facesets import changes

    started = time.perf_counter()
    with workspace.writing(f"frames-{side}"):
        job = _Job(workspace, side, DenoiseOptions(), report, stop)
        recover_exchange(workspace, side)
        state = job.state()
        if state is None or not state.get("in_place"):
            raise UsageError(f"The frames of {side} were not denoised.", hint="There is nothing to undo.")
        if state["names"] != digest(workspace.side(side).frame_files()):
            raise UsageError(
                f"The frames of {side} are not those that were denoised.",
                hint=f"The old ones are in {state['trash']}; nothing was moved.",
            )
        mark(workspace, side, state | {"in_place": None})
        change = changes.undo_last(job.journal, report=report, stop=stop)
        mark(workspace, side, state | {"in_place": False})
    back = [move for move in change.moves if move.new.parent == workspace.side(side).frames]
    return StageResult(frames=len(back), seconds=time.perf_counter() - started, outputs=[workspace.side(side).frames])


def _shots(workspace: Workspace, side: Side, report: Report, stop: Stop) -> Shots:
    """The shots of the frames on disk, found now where they are not known."""
    with workspace.footage(side, FootageFrom.FRAMES) as footage:
        known = read_shots(workspace, side, footage)
        if known is not None:
            return known
        find_shots(workspace, side, prefer=FootageFrom.FRAMES, report=report, stop=stop)
        found = read_shots(workspace, side, footage)
        assert found is not None
        return found


class _Job:
    """One run over the frames of a side."""

    def __init__(
        self, workspace: Workspace, side: Side, options: DenoiseOptions, report: Report, stop: Stop
    ) -> None:  # fmt: skip
        self.workspace, self.side, self.options, self.report, self.stop = workspace, side, options, report, stop
        self.frames = workspace.side(side).frames
        self.work = workspace.private / "denoise" / str(side)
        self.journal = exchanges(workspace, side)
        self.rate: float | None = None
        self._stopped = False

    def state(self) -> dict[str, Any] | None:
        return read_state(self.workspace, self.side)

    def check(self) -> list[Path]:
        """The frames to clean, in order."""
        files = self.workspace.side(self.side).frame_files()
        if not files:
            raise MissingFootage(
                f"There are no frames of {self.side} on disk, and a video is not cleaned in place.",
                hint=f"Make them first: understudy video frames {self.side}", folder=self.frames,
            )  # fmt: skip
        if factor := denoised_with(self.workspace, self.side):
            raise UsageError(
                f"The frames of {self.side} were denoised already, with factor {factor}.",
                hint=f"Bring the old ones back first: understudy video denoise {self.side} --undo",
            )
        record = read_record(record_path(self.workspace, self.side))
        if record is not None and not record.complete:
            raise UsageError(
                f"The frames of {self.side} are not complete.",
                hint=f"Make the rest of them first: understudy video frames {self.side}",
            )
        foreign = [file.name for file in files if file.suffix.lower() not in _CLEANED]
        if foreign:
            raise UsageError(
                f"Frames of this kind are not written here: {foreign[0]}"
                + (f" and {len(foreign) - 1} more." if foreign[1:] else "."),
                hint="Frames that are PNG, JPEG or OpenEXR can be denoised; convert them first.", folder=self.frames,
            )  # fmt: skip
        _refuse_faces(files)
        require_writable(self.frames)
        return files

    def begin(self, files: list[Path]) -> None:
        """Go on with what an interrupted run of these very frames has cleaned, else begin anew."""
        key = {"factor": self.options.factor, "quality": self.options.quality, "frames": _contents(files)}
        state = self.state()
        if state is None or state.get("key") != key:
            shutil.rmtree(self.work, ignore_errors=True)
            mark(
                self.workspace,
                self.side,
                {"key": key, "factor": self.options.factor, "names": digest(files), "in_place": False},
            )
        with os_errors(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
        sweep(self.work)

    def clean(self, files: list[Path], shots: Shots) -> list[Skipped]:
        """Write the cleaned frames to the work folder. What cannot be read stays as it is and is named."""
        from understudy.imaging.threads import one_thread_per_call

        chunks = [chunk for chunk in _chunks(files, shots) if not chunk.is_done(self.work)]
        missing = sum(len(chunk.files) for chunk in chunks)
        pace = Pace("Denoising", len(files), self.report)
        pace.done = len(files) - missing
        skipped: list[Skipped] = []
        workers = self.options.workers or os.cpu_count() or 1
        with one_thread_per_call(), ThreadPoolExecutor(workers, "denoise") as pool:
            running: set[Future[list[Skipped]]] = {pool.submit(self._clean_chunk, chunk, pace) for chunk in chunks}
            try:
                while running:
                    done, running = wait(running, timeout=0.2)
                    for future in done:
                        skipped += future.result()
                    if self.stop():
                        raise Interrupted(
                            f"Stopped after {pace.done} frames; the frames are as they were.",
                            hint="The same command continues where this one stopped.",
                        )
            finally:
                self._stopped = True
                for future in running:
                    future.cancel()
        pace.report_now()
        self.rate = pace.rate
        known = {item.item for item in skipped}
        used = {copy.name: original.name for original, copy in list_pictures(self.frames).copies}
        for file in files:
            if not (self.work / file.name).is_file() and file.name not in known:
                twin = used.get(file.name)
                why = f"{twin} has the same name and is used instead" if twin else "it could not be read"
                skipped.append(Skipped(file.name, f"{why}; it stays as it is"))
        if len(skipped) == len(files):
            raise NoFrames(
                f"None of the {len(files)} frames could be read.", hint=f"The first: {skipped[0].reason}.",
                folder=self.frames,
            )  # fmt: skip
        return sorted(skipped, key=lambda item: item.item)

    def _clean_chunk(self, chunk: _Chunk, pace: Pace) -> list[Skipped]:
        from understudy.media.denoise import Denoiser

        skipped: list[Skipped] = []
        made: list[Path] = []
        filter_ = Denoiser(self.options.factor)
        for file in chunk.settle:
            if self._stopped:
                return skipped
            picture, _ = _read(file)
            if picture is not None:
                filter_.clean(picture.rgb)
        for file in chunk.files:
            if self._stopped:
                return skipped
            picture, problem = _read(file)
            if picture is None:
                skipped.append(Skipped(file.name, f"{problem}; it stays as it is"))
                write_bytes(self.work / f"{file.name}.skipped", b"", durable=False)
                continue
            target = self.work / file.name
            _write(target, filter_.clean(picture.rgb), picture.matte, self.options.quality)
            made.append(target)
            pace.advance()
        sync_files(made)
        return skipped

    def draw_sheet(self, files: list[Path], skipped: list[Skipped]) -> Path:
        """Before, after and what was taken out, at 100 %, of three frames."""
        from understudy.imaging.files import read_image
        from understudy.imaging.sheet import before_and_after
        from understudy.media.denoise_sheet import AMPLIFIED, busiest_part

        left = {item.item for item in skipped}
        usable = [file for file in files if file.name not in left and (self.work / file.name).is_file()]
        chosen = [usable[len(usable) * part // 6] for part in (1, 3, 5)] if usable else []
        path = state_path(self.workspace, self.side).with_suffix(".png")
        rows = [
            busiest_part(file.name, read_image(file).rgb, read_image(self.work / file.name).rgb)
            for file in dict.fromkeys(chosen)
        ]
        write_bytes(path, before_and_after(rows, amplified=AMPLIFIED).png())
        return path

    def exchange(self, files: list[Path], skipped: list[Skipped]) -> Path:
        """Old frames to the trash, cleaned ones in their place, as one change; the record says so."""
        from understudy.facesets import changes

        cleaned = [file for file in files if (self.work / file.name).is_file()]
        state = self.state() or {}
        trash = self.workspace.new_trash(f"noisy-{self.side}")
        mark(self.workspace, self.side, state | {"in_place": None, "trash": str(trash)})
        moves = [changes.Move(file, trash / file.name) for file in cleaned]
        moves += [changes.Move(self.work / file.name, file) for file in cleaned]
        try:
            changes.apply(moves, title=f"Denoised with factor {self.options.factor}", journal_folder=self.journal)
        except UnderstudyError:
            with contextlib.suppress(OSError):
                trash.rmdir()
            raise
        mark(self.workspace, self.side, state | {"in_place": True, "trash": str(trash)})
        return trash


@dataclass(frozen=True)
class _Chunk:
    """files: to be written, in order; settle: those just before them in the same shot."""

    files: list[Path]
    settle: list[Path]

    def is_done(self, work: Path) -> bool:
        return all((work / file.name).is_file() or (work / f"{file.name}.skipped").is_file() for file in self.files)


def _chunks(files: list[Path], shots: Shots) -> Iterator[_Chunk]:
    """The frames shot by shot, and long shots in pieces. A gap in the numbers ends a shot."""
    order = list_pictures(files[0].parent).files
    shot: list[Path] = []
    last = -2
    for index, path in [*order, (-1, None)]:
        is_new = path is None or index != last + 1 or shots.shot_of(index) != shots.shot_of(last)
        if is_new and shot:
            for start in range(0, len(shot), CHUNK):
                yield _Chunk(shot[start : start + CHUNK], shot[max(0, start - SETTLE) : start])
            shot = []
        if path is not None:
            shot.append(path)
        last = index


def _read(file: Path) -> tuple[Picture | None, str]:
    """The picture, or why there is none. One that is cut off is none: written anew it would look whole."""
    from understudy.imaging.files import read_image

    try:
        picture = read_image(file)
    except MediaError as error:
        return None, error.message.rstrip(".")
    return (None, picture.problem) if picture.problem else (picture, "")


def _write(path: Path, rgb: Any, matte: Any, quality: int) -> None:
    from understudy.files import TEMP_PREFIX
    from understudy.imaging.files import encode_jpg, encode_png, write_exr

    suffix = path.suffix.lower()
    if suffix == ".exr":
        temp = path.with_name(f"{TEMP_PREFIX}{0:08x}-{path.name}")
        with os_errors(path):
            write_exr(temp, rgb, matte)
            temp.replace(path)
        return
    write_bytes(path, encode_png(rgb, matte) if suffix == ".png" else encode_jpg(rgb, quality=quality), durable=False)


def _refuse_faces(files: list[Path]) -> None:
    """Aligned faces would lose their data."""
    from understudy.facesets.faces import read_meta

    for file in files[:3]:
        if file.suffix.lower() in (".jpg", ".jpeg"):
            try:
                read_meta(file)
            except UnderstudyError:
                continue
            raise UsageError(
                f"{file.name} is an aligned face, no frame; cleaning it would take its face data away.",
                hint="Denoise the frames, and extract the faces from them.", path=file,
            )  # fmt: skip


def _contents(files: list[Path]) -> str:
    """What tells these files from others of the same names: sizes and times of writing."""
    told = hashlib.sha256()
    for file in files:
        facts = file.stat()
        told.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return told.hexdigest()[:16]
