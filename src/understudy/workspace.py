"""The folder that holds everything about one job, laid out as DeepFaceLab lays it out.

data_src.*  data_dst.*            the footage
data_src/  data_dst/              frames, with aligned/, aligned_debug/, aligned_trash/, aligned_xseg/ in each
model/NAME/                       one model
data_dst/merged  merged_mask      rendered frames
result.*  result_mask.*           delivered files
.understudy/                      ours alone: jobs, caches, undo
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from understudy.errors import Busy, MissingFootage, NotAWorkspace, UsageError
from understudy.files import os_errors
from understudy.records import FootageFrom, Side

if TYPE_CHECKING:
    from understudy.media import FrameSource

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dpx", ".webp", ".bmp")
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mxf", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts"),
    *(".vob", ".wmv", ".flv", ".3gp", ".ogv", ".gif", ".y4m"),
)
"""Names of video files; others are opened too, where no file of such a name stands beside them."""

MODEL_NAME_BYTES = 200
"""File systems allow 255 in a name; this leaves room for what names of locks and unfinished writes add."""

DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""What Windows keeps for devices, with any ending; a workspace may be carried there."""


@dataclass(frozen=True)
class SidePaths:
    """The paths of src or dst inside a workspace."""

    side: Side
    root: Path

    @property
    def frames(self) -> Path:
        return self.root / f"data_{self.side}"

    @property
    def aligned(self) -> Path:
        return self.frames / "aligned"

    @property
    def aligned_debug(self) -> Path:
        return self.frames / "aligned_debug"

    @property
    def aligned_trash(self) -> Path:
        """Where faces go that were sorted out; nothing is deleted from here."""
        return self.frames / "aligned_trash"

    @property
    def video(self) -> Path | None:
        """`data_src.*`, letter case aside; None when there is none.

        Of several files the first by name that is called like a video: cameras leave thumbnails and notes beside it.
        """
        if not self.root.is_dir():
            return None
        stem = f"data_{self.side}"
        files = sorted(path for path in self.root.iterdir() if path.is_file() and path.stem.lower() == stem)
        return min(files, default=None, key=lambda path: path.suffix.lower() not in VIDEO_SUFFIXES)

    def frame_files(self) -> list[Path]:
        """Image files in the frames folder, sorted by name. Hidden ones, such as unfinished writes, are not frames."""
        if not self.frames.is_dir():
            return []
        return sorted(
            path
            for path in self.frames.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )


class Workspace:
    """One workspace folder. `Workspace.open` refuses a folder that is none; `Workspace.create` makes one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.src = SidePaths(Side.SRC, root)
        self.dst = SidePaths(Side.DST, root)

    @classmethod
    def create(cls, root: Path) -> Workspace:
        """Make the folders of a workspace; what is already there stays."""
        workspace = cls(Path(root).absolute())
        with os_errors(workspace.root):
            for folder in (workspace.src.aligned, workspace.dst.aligned, workspace.models, workspace.private):
                folder.mkdir(parents=True, exist_ok=True)
        return workspace

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open a workspace, ours or DeepFaceLab's. Raises NotAWorkspace."""
        workspace = cls(Path(root).absolute())
        known = (workspace.private, workspace.src.frames, workspace.dst.frames, workspace.models)
        if not any(path.is_dir() for path in known) and not (workspace.src.video or workspace.dst.video):
            raise NotAWorkspace(
                "This folder is not a workspace: it has no data_src, data_dst or model folder.",
                hint="Make one with: understudy init DIR, or name one with: understudy -w DIR …",
                folder=root,
            )
        return workspace

    def side(self, side: Side) -> SidePaths:
        return self.src if side is Side.SRC else self.dst

    @property
    def models(self) -> Path:
        return self.root / "model"

    @property
    def private(self) -> Path:
        """What is ours alone. Safe to delete except for undo and trash."""
        return self.root / ".understudy"

    def new_trash(self, what: str) -> Path:
        """Where to move what something new replaces: a folder that is not there yet, called by the time and `what`."""
        return self.private / "trash" / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{what}"

    @property
    def catalogs(self) -> Path:
        """What is known of every faceset, for `Catalog.open(…, cache=…)`: quick to make again, slow to do without."""
        return self.private / "catalogs"

    @property
    def crops(self) -> Path:
        """Faces as networks are trained on them, kept between runs: quick to start with, made again where missing."""
        return self.private / "crops"

    def changes(self, side: Side) -> Path:
        """The records by which `facesets.changes` undoes what was renamed and moved in a faceset."""
        return self.private / "changes" / str(side)

    @property
    def merged(self) -> Path:
        return self.dst.frames / "merged"

    @property
    def merged_mask(self) -> Path:
        return self.dst.frames / "merged_mask"

    def model(self, name: str) -> Path:
        """The folder of the model `name`. Raises UsageError for a name that is no plain folder name on every system."""
        if not _can_name_a_folder(name):
            raise UsageError(
                f"{name!r} cannot be a model name.",
                hint="Use letters, digits, spaces, - and _; no folder separators, and no dot or space at the end.",
            )
        if len(name.encode()) > MODEL_NAME_BYTES:
            raise UsageError(f"The model name {name[:40]}… is too long.", hint="Choose a shorter name.")
        return self.models / name

    def footage(self, side: Side, prefer: FootageFrom | None = None) -> FrameSource:
        """Open the frames of a side: a folder of frames wins over the video unless `prefer` says otherwise.

        Raises MissingFootage when there is neither.
        """
        from understudy.media import open_footage

        paths = self.side(side)
        has_frames = bool(paths.frame_files())
        if has_frames and prefer is not FootageFrom.VIDEO:
            return open_footage(paths.frames)
        if paths.video is not None and prefer is not FootageFrom.FRAMES:
            return open_footage(paths.video)
        missing = "video" if prefer is FootageFrom.VIDEO else "frames" if prefer else "video and no frames"
        raise MissingFootage(
            f"There is no {side} {missing} in this workspace.",
            hint=f"Copy the {side} video here as data_{side}.mp4 (any extension), then: understudy video frames {side}",
            folder=self.root,
        )

    @contextlib.contextmanager
    def writing(self, resource: str) -> Iterator[None]:
        """Hold the one writer's place of a model, a faceset or a session, such as "model-hello" or "aligned-src".

        The system drops the lock with the process, so a crash cannot leave it behind. Raises Busy when it is taken.
        """
        folder = self.private / "locks"
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{resource}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise Busy(
                    f"Another process is already writing {resource.replace('-', ' ', 1)}.",
                    hint="See what runs with: understudy status. Stop it with: understudy stop, or wait for it to end.",
                    resource=resource,
                ) from None
        try:
            yield
        finally:
            lock.release()


def _can_name_a_folder(name: str) -> bool:
    """Whether every system takes this as the name of one folder, and people can type it."""
    is_plain = bool(name) and name == Path(name).name and not name.startswith(".") and name[-1] not in ". "
    is_text = not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)  # control characters, bytes of no text
    return is_plain and is_text and not any(c in name for c in '\\/:*?"<>|') and not DEVICE_NAMES.fullmatch(name)
