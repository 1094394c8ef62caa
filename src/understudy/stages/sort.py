"""Sort a faceset: look at every face, put them in an order, and name the files 00000.jpg, 00001.jpg, … in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.curation.sort_options import SortBy, SortOptions
from understudy.curation.sorting import METHODS, Context, Method, Order, Subject
from understudy.errors import Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.changes import Change, Move, apply
from understudy.facesets.reading import each_item
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, writing_faces
from understudy.stages.result import StageResult
from understudy.stages.review_list import forget
from understudy.stages.undo import tell
from understudy.workspace import Workspace


def sort(
    workspace: Workspace,
    side: Side,
    options: SortOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Put the faces of one side in an order; what the order has no place for moves to aligned_trash.

    One change that `undo` takes back. Persons in sub-folders are sorted each by themselves. With dry_run or as_list
    nothing is renamed, and as_list puts the order into the notes. The notes hold by, kept, trashed and undo.
    Raises EmptyFaceset, UsageError for a packed faceset and where the order cannot be made of these faces, Busy,
    ReadOnlyWorkspace, DiskFull, and Interrupted with every face under its old name.
    """
    started, side, options = time.perf_counter(), Side(side), options or SortOptions()
    only_look = options.dry_run or options.as_list
    with _looking(workspace, side) if only_look else writing_faces(workspace, side) as folder:
        if not only_look:
            require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            work = _Sorting(workspace, side, options, report, stop)
            work.go_on()  # a catalog that was stopped knows only some of the faces
            groups = _groups(catalog, folder)
            sorted_groups = [work.sort(group) for group in groups]
            skipped = [item for group in sorted_groups for item in group.skipped]
            kept, trashed = (sum(len(getattr(g, end)) for g in sorted_groups) for end in ("kept", "trashed"))
            notes: dict[str, Any] = {"by": str(options.by), "kept": kept, "trashed": trashed}
            if only_look:
                notes |= {"order": [row for group in sorted_groups for row in group.rows()]} if options.as_list else {}
            elif not kept:
                report(Note("No face would be left; nothing was renamed.", level="warning"))
                notes |= {"trashed": 0}
            else:
                change = _rename(workspace, side, sorted_groups, f"Sorted by {options.by}", report, stop)
                tell(workspace, side, change, catalog)
                skipped += change.skipped
                notes |= {"undo": f"understudy faceset undo {side}"}
    paths = workspace.side(side)
    made = [] if only_look else [folder, *([paths.aligned_trash] if notes["trashed"] else [])]
    return StageResult(
        faces=kept, skipped=skipped, seconds=time.perf_counter() - started, rate=work.rate, outputs=made, notes=notes
    )


@dataclass(frozen=True)
class _Group:
    """The pictures of one folder, in the order of their names. prefix: of their keys, "" or "anna/"."""

    prefix: str
    keys: list[str]
    subjects: list[tuple[Path, FaceEntry | None]]


@dataclass(frozen=True)
class _SortedGroup:
    """Keys in their new order, with what decided; keys for the trash; and what could not be used."""

    prefix: str
    kept: list[str]
    trashed: list[str]
    figures: dict[str, Any]
    skipped: list[Skipped] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """The order as `--as-list` gives it: file, its new name or null for the trash, and the figure."""
        new = [(key, new_name(number, key)) for number, key in enumerate(self.kept)]
        named = [*((key, self.prefix + name) for key, name in new), *((key, None) for key in self.trashed)]
        return [{"file": key, "new": name, "value": self.figures.get(key)} for key, name in named]


def new_name(number: int, key: str) -> str:
    """The name of a sorted face: its place, from 0, in five digits or more, and its own suffix."""
    return f"{number:05d}{Path(key).suffix}"


def _groups(catalog: Catalog, folder: Path) -> list[_Group]:
    """All pictures of a faceset, by the sub-folder that they are in."""
    known: dict[str, FaceEntry | None] = {entry.key: entry for entry in catalog.require_faces()}
    known.update((item.item, None) for item in catalog.skipped)
    prefixes: dict[str, list[str]] = {}
    for key in sorted(known):
        prefixes.setdefault(key[: key.rfind("/") + 1], []).append(key)
    return [_Group(prefix, keys, [(folder / key, known[key]) for key in keys]) for prefix, keys in prefixes.items()]


class _Sorting:
    """Measures and orders one group of pictures after the other."""

    def __init__(self, workspace: Workspace, side: Side, options: SortOptions, report: Report, stop: Stop) -> None:
        self._workspace, self._side, self._options = workspace, side, options
        self._report, self._stop = report, stop
        self._measured, self._seconds = 0, 0.0

    @property
    def rate(self) -> float | None:
        """Faces per second, measuring and ordering together."""
        return self._measured / self._seconds if self._seconds > 0 else None

    def sort(self, group: _Group) -> _SortedGroup:
        """Raises Interrupted as soon as the user asks; nothing has been renamed then."""
        started = time.perf_counter()
        method = METHODS[self._options.by]
        found = list(self._measure(method, group.subjects))
        self.go_on()
        usable = [index for index, value in enumerate(found) if not isinstance(value, Skipped)]
        skipped = [Skipped(group.keys[i], value.reason) for i, value in enumerate(found) if isinstance(value, Skipped)]
        if not usable:
            raise UsageError(
                f"None of the {len(found)} pictures can be sorted by {self._options.by}: {skipped[0].reason}",
                hint="Choose another order with --by.",
            )
        order = method.order([found[index] for index in usable], self._context(group, usable))
        self.go_on()
        self._measured, self._seconds = self._measured + len(found), self._seconds + time.perf_counter() - started
        return _named(group, usable, order, skipped, sort_out=not method.takes_all)

    def _measure(self, method: Method, subjects: Sequence[tuple[Path, FaceEntry | None]]) -> Iterator[Any]:
        options = self._options
        step = "Looking at faces" if method.needs == "pictures" else "Reading face data"
        measure = _measurer(method.measure)
        for _, value in each_item(
            subjects, measure, workers=options.workers, step=step, report=self._report, stop=self._stop
        ):
            yield value

    def _context(self, group: _Group, usable: Sequence[int]) -> Context:
        subjects = [group.subjects[index] for index in usable]
        return Context(
            names=[group.keys[index].rsplit("/", 1)[-1] for index in usable],
            entries=[entry for _, entry in subjects],
            keep=self._options.keep,
            dissimilar=self._options.dissimilar,
            picture=lambda index: Subject(*subjects[index]).rgb8,
            others=self._others,
            scratch=self._workspace.private / "scratch",
            report=self._report,
            stop=self._stop,
        )

    def _others(self) -> list[Any]:
        """The measures of the other side's faces."""
        other = Side.DST if self._side is Side.SRC else Side.SRC
        folder = self._workspace.side(other).aligned
        with Catalog.open(folder, cache=self._workspace.catalogs, report=self._report, stop=self._stop) as catalog:
            faces = [(entry.path, entry) for entry in catalog.require_faces()]
            found = list(self._measure(METHODS[SortBy.DISTANCE], faces))
        self.go_on()
        usable = [value for value in found if not isinstance(value, Skipped)]
        if not usable:
            raise UsageError(
                f"No face of {other} can be read.", hint=f"Look at it with: understudy faceset info {other}"
            )
        return usable

    def go_on(self) -> None:
        """Raise Interrupted when the user has asked to stop."""
        if self._stop():
            raise Interrupted("Stopped before anything was renamed.", hint="Run the same command again.")


def _measurer(measure: Callable[[Subject], Any]) -> Callable[[tuple[Path, FaceEntry | None]], Any]:
    def work(picture: tuple[Path, FaceEntry | None]) -> Any:
        try:
            return measure(Subject(*picture))
        except UnderstudyError as error:
            return Skipped(picture[0].name, str(error.context.get("reason", error.message)))

    return work


def _named(
    group: _Group, usable: Sequence[int], order: Order, skipped: list[Skipped], *, sort_out: bool
) -> _SortedGroup:
    """An order of numbers as one of keys. sort_out: what could not be measured goes to the trash too."""
    keys = [group.keys[index] for index in usable]
    trashed = [keys[index] for index in order.trashed] + ([item.item for item in skipped] if sort_out else [])
    figures = {keys[index]: figure for index, figure in order.figures.items()}
    return _SortedGroup(group.prefix, [keys[index] for index in order.kept], trashed, figures, skipped)


def _rename(
    workspace: Workspace, side: Side, groups: Sequence[_SortedGroup], title: str, report: Report, stop: Stop
) -> Change:
    paths = workspace.side(side)
    moves: list[Move] = []
    for group in groups:
        folder = paths.aligned / group.prefix
        moves += [Move(paths.aligned / key, folder / new_name(at, key)) for at, key in enumerate(group.kept)]
        moves += [Move(paths.aligned / key, paths.aligned_trash / key) for key in group.trashed]
    change = apply(moves, title=title, journal_folder=workspace.changes(side), report=report, stop=stop)
    forget(workspace, side, files=[key for group in groups for key in group.trashed])
    return change


@contextmanager
def _looking(workspace: Workspace, side: Side) -> Iterator[Path]:
    """The faceset's folder for one who changes nothing, and so need not be the only one or be allowed to write."""
    yield workspace.side(side).aligned
