"""A folder of frames, or one picture, as footage: numbered sequences keep their numbers, photos their names."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import MediaError, NoFrames
from understudy.imaging.files import SUFFIXES, Picture, read_image
from understudy.media.footage import NAMED_AT_MOST, FrameSource
from understudy.media.frames import Frame
from understudy.media.info import ColourTags, FootageInfo, FootageKind

_LOSSLESS_FIRST = (".exr", ".dpx", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jpg", ".jpeg")
_READ_AHEAD_BYTES = 256 << 20
_SRGB = ColourTags("pc", None, "iec61966-2-1", "bt709")
_LINEAR = ColourTags("pc", None, "linear", None)


@dataclass(frozen=True)
class Listing:
    """What a folder holds. files: (position, path) in order; missing: positions without one; copies: (used, unused)."""

    kind: FootageKind
    files: list[tuple[int, Path]]
    missing: list[tuple[int, str]]
    copies: list[tuple[Path, Path]]


class FolderSource(FrameSource):
    """Frames read from picture files, decoded ahead by a few threads."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._listing = list_pictures(path) if path.is_dir() else Listing(FootageKind.IMAGE, [(0, path)], [], [])
        if not self._listing.files:
            raise NoFrames(
                "The folder has no pictures.",
                hint=f"It is searched for {', '.join(SUFFIXES)}; not in subfolders.",
                path=path,
            )
        self._threads = threads or min(os.cpu_count() or 1, 4)
        self._unusable: dict[Path, str] = {}
        super().__init__(self._describe(path))
        self._name_what_is_missing()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        files = [(index, path) for index, path in self._listing.files if index >= start]
        used = 0
        for index, path, picture in self._read_ahead(files):
            if isinstance(picture, MediaError):
                self._skip(path.name, picture.message)
                continue
            used += 1
            yield self._frame(index, path, picture)
        if not used and start == 0:
            raise NoFrames(
                f"None of the {len(files)} pictures could be read.",
                hint="Look at the reasons in the list of skipped files.", path=self.info.path,
            )  # fmt: skip

    def _frame(self, index: int, path: Path, picture: Picture) -> Frame:
        if picture.problem:
            self._skip(path.name, picture.problem)
        tags = _LINEAR if picture.rgb.dtype.kind == "f" else _SRGB
        return Frame(
            index, path.name, picture.rgb, damaged=picture.problem is not None, tags=tags, alpha=picture.matte
        )  # fmt: skip

    def _read_ahead(self, files: list[tuple[int, Path]]) -> Iterator[tuple[int, Path, Picture | MediaError]]:
        """Pictures in order; at most twice as many in memory as there are threads, and fewer large ones."""
        bytes_each = self.info.width * self.info.height * (12 if self.info.bit_depth > 8 else 3)
        ahead = max(1, min(2 * self._threads, _READ_AHEAD_BYTES // max(bytes_each, 1)))
        waiting: deque[tuple[int, Path, Future[Picture | MediaError]]] = deque()
        with ThreadPoolExecutor(self._threads, "read-picture") as pool:
            try:
                for index, path in files:
                    waiting.append((index, path, pool.submit(_read, path)))
                    if len(waiting) > ahead:
                        first, name, future = waiting.popleft()
                        yield first, name, future.result()
                while waiting:
                    first, name, future = waiting.popleft()
                    yield first, name, future.result()
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _describe(self, path: Path) -> FootageInfo:
        """By the first picture that can be read."""
        reason = ""
        for _, file in self._listing.files:
            picture = _read(file)
            if isinstance(picture, Picture):
                break
            if self._listing.kind is FootageKind.IMAGE:
                raise picture
            reason = reason or f"{file.name}: {picture.message}"
        else:
            raise NoFrames(
                f"None of the {len(self._listing.files)} pictures could be read. {reason}",
                hint="Look at the files, or copy them again.", path=path,
            )  # fmt: skip
        frame = Frame(0, file.name, picture.rgb, tags=_LINEAR if picture.rgb.dtype.kind == "f" else _SRGB)
        positions = self._listing.files[-1][0] + 1 if self._listing.kind is FootageKind.SEQUENCE else None
        return FootageInfo(
            path, self._listing.kind, frame.width, frame.height, frame.pix_fmt, picture.bit_depth, codec=picture.kind,
            frames=len(self._listing.files), frames_exact=True, tags=frame.tags, rotation=picture.turn.degrees,
            mirrored=picture.turn.mirrored, problems=self._problems(positions, picture),
        )  # fmt: skip

    def _problems(self, positions: int | None, picture: Picture) -> list[str]:
        problems = []
        if missing := self._listing.missing:
            names = ", ".join(name for _, name in missing[:10]) + (", …" if len(missing) > 10 else "")
            problems.append(f"{len(missing)} of {positions} numbered frames are missing: {names}")
        for used, unused in self._listing.copies[:10]:
            problems.append(f"{unused.name} is not used: {used.name} has the same name")
        if picture.problem and self._listing.kind is FootageKind.IMAGE:
            problems.append(picture.problem)
        return problems

    def _name_what_is_missing(self) -> None:
        for _, name in self._listing.missing[:NAMED_AT_MOST]:
            self._skip(name, "this number is missing in the sequence")
        if len(self._listing.missing) > NAMED_AT_MOST:
            rest = self._listing.missing[NAMED_AT_MOST:]
            self._skip(f"{rest[0][1]} … {rest[-1][1]}", f"{len(rest)} more numbers are missing in the sequence")
        for used, unused in self._listing.copies:
            self._skip(unused.name, f"{used.name} has the same name and is used instead")


def _read(path: Path) -> Picture | MediaError:
    try:
        return read_image(path)
    except MediaError as error:
        return error


def list_pictures(folder: Path) -> Listing:
    """What is in a folder, without opening the files.

    Files that share one prefix and differ by number are a sequence, in order of number, when at least half of the
    numbers between first and last are there; else they are photos, in order of name. Of two files of one stem the
    lossless one is taken.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [path for path in found if not path.name.startswith(".")]
    chosen: dict[str, Path] = {}
    copies = []
    for path in sorted(found, key=lambda path: _LOSSLESS_FIRST.index(path.suffix.lower())):
        if path.stem in chosen:
            copies.append((chosen[path.stem], path))
        else:
            chosen[path.stem] = path
    numbered = _numbered(list(chosen.values()))
    if numbered is None:
        return Listing(FootageKind.PHOTOS, list(enumerate(sorted(chosen.values()))), [], copies)
    first, last = numbered[0][0], numbered[-1][0]
    there = {number for number, _ in numbered}
    like = numbered[0][1]
    missing = [(number - first, _numbered_name(like, number)) for number in range(first, last) if number not in there]
    return Listing(FootageKind.SEQUENCE, [(number - first, path) for number, path in numbered], missing, copies)


def _numbered(paths: list[Path]) -> list[tuple[int, Path]] | None:
    matches = [(re.fullmatch(r"(.*?)(\d{1,15})", path.stem), path) for path in paths]
    numbers: dict[int, Path] = {}
    prefixes = set()
    for match, path in matches:
        if match is None:
            return None
        prefixes.add(match[1])
        numbers[int(match[2])] = path
    if len(prefixes) > 1 or len(numbers) < len(paths) or not numbers:
        return None
    if max(numbers) - min(numbers) + 1 > 2 * len(numbers):
        return None
    return sorted(numbers.items())


def _numbered_name(like: Path, number: int) -> str:
    match = re.fullmatch(r"(.*?)(\d+)", like.stem)
    assert match is not None
    return f"{match[1]}{number:0{len(match[2])}d}{like.suffix}"
