"""Who is who in a faceset: group its faces by person, look at the groups, and put right what is wrong with them."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.curation import appearance
from understudy.curation.person_names import stable_names
from understudy.curation.person_options import PersonsAction, PersonsOptions
from understudy.curation.persons import THRESHOLD, group_faces, representatives
from understudy.curation.runs import Looks, Sighting
from understudy.errors import EmptyFaceset, Interrupted, UsageError
from understudy.facesets import Catalog, Face, FaceEntry
from understudy.facesets.reading import each_face
from understudy.geometry.pose import pose
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.face_changes import to_trash
from understudy.stages.person_groups import (
    Groups,
    by_name,
    opened,
    pending_path,
    read_notebook,
    sheet_path,
    ungrouped,
    valid_name,
)
from understudy.stages.person_sheet import PER_PERSON, draw_sheet
from understudy.stages.result import StageResult
from understudy.stages.review_list import forget
from understudy.workspace import Workspace

SHORTEST_SEQUENCE = 5
"""Frames whose names differ only in their number are footage if there are so many; fewer are stills."""

FOOTAGE_APART = 1_000_000_000
SPLIT_STEPS = 8

_NUMBER = re.compile(r"^(.*?)(\d{1,9})$")


def persons(
    workspace: Workspace,
    side: Side,
    action: PersonsAction = PersonsAction.LIST,
    names: Sequence[str] = (),
    options: PersonsOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """List the persons of a faceset, or do something about them.

    find groups all faces; names stay with their groups, and what the user merged, renamed or split stays so. merge
    A B …: all become A. rename A NEW. split A: takes a group apart. keep NAMES: all other faces move to the trash. drop
    NAMES: these do. The notes hold `persons`: name, faces, tracks, frames, first, last, best, own; and `ungrouped`.
    The contact sheet is the last output. Raises UsageError, EmptyFaceset, Busy, ReadOnlyWorkspace, DiskFull,
    Interrupted.
    """
    started, side, action = time.perf_counter(), Side(side), PersonsAction(action)
    options = options or PersonsOptions()
    _require_names(action, names)
    if action is PersonsAction.LIST:
        result = _listed(workspace, side, report, stop)
    else:
        with opened(workspace, side, report, stop) as groups:
            notes = _ACTIONS[action](groups, list(names), options)
            groups.save()
            result = _result(workspace, side, groups.faces, report, stop, groups.skipped, notes)
    return StageResult(
        faces=result.faces,
        skipped=result.skipped,
        seconds=time.perf_counter() - started,
        outputs=result.outputs,
        notes=result.notes,
    )


# -- what can be done


def _find(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    """Group all faces anew; a faceset in sub-folders is grouped already."""
    if groups.in_folders:
        groups.report(Note("The faceset has a folder per person already; they are its groups.", level="warning"))
        return {}
    groups.notebook.own = set() if options.fresh else groups.notebook.own
    faces, looks, quality = _looks(groups, groups.faces, options)
    own = groups.notebook.own
    given = [face.group if face.group in own else None for face in faces]
    labels = group_faces(_sightings(faces, given), looks, threshold=_threshold(options)).tolist()
    before = [None if options.fresh else face.group for face in faces]
    called = stable_names(labels, before, given)
    groups.regroup({face.key: called[label] for face, label in zip(faces, labels, strict=True)}, title="Grouped")
    _show_best(groups, faces, [called[label] for label in labels], looks, quality)
    if options.folders:
        groups.save()
        groups.to_folders()
    return {"undo": f"understudy faceset undo {groups.side}"} if options.folders else {}


def _merge(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    first, *others = groups.require(names)
    if not others:
        raise UsageError("These names are one person already.", hint="Name the one that stays first, then the others.")
    gone = [face.key for name in others for face in groups.by_name[name]]
    groups.notebook.own.add(first)
    for name in others:
        groups.notebook.shown.setdefault(first, []).extend(groups.notebook.shown.pop(name, []))
    groups.save()
    groups.regroup(dict.fromkeys(gone, first), title=f"Merged {', '.join(others)} into {first}")
    return {"merged": others, "into": first}


def _rename(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    old, new = groups.require(names[:1])[0], valid_name(names[1])
    taken = [name for name in groups.by_name if name.casefold() == new.casefold() and name != old]
    if taken:
        raise UsageError(
            f"There is a person {taken[0]} already.",
            hint=f"Put them together: understudy faceset persons {groups.side} merge {taken[0]!r} {old!r}",
        )
    groups.notebook.own = groups.notebook.own - {old} | {new}
    groups.notebook.shown[new] = groups.notebook.shown.pop(old, [])
    groups.save(new)
    groups.regroup({face.key: new for face in groups.by_name[old]}, title=f"Renamed {old} to {new}")
    return {"renamed": old, "to": new}


def _split(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    """Take one group apart: at the given threshold, or at the first higher one that makes more than one of it."""
    name = groups.require(names)[0]
    faces, looks, quality = _looks(groups, groups.by_name[name], options)
    sightings = _sightings(faces, [None] * len(faces))
    labels: list[int] = []
    for threshold in _split_thresholds(options):
        labels = group_faces(sightings, looks, threshold=threshold).tolist()
        if max(labels, default=0) > 0:
            break
    else:
        raise UsageError(
            f"All faces of {name} look like one person.", hint="Ask for more with --threshold, up to 1 for every run."
        )
    taken = {other.casefold() for other in groups.by_name}
    called = [name]
    number = 1
    while len(called) <= max(labels):
        if f"person-{number}" not in taken:
            called.append(f"person-{number}")
        number += 1
    groups.notebook.own |= set(called)
    groups.save(*called)
    groups.regroup({f.key: called[label] for f, label in zip(faces, labels, strict=True)}, title=f"Split {name}")
    _show_best(groups, faces, [called[label] for label in labels], looks, quality)
    return {"split": name, "into": called}


def _keep(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    kept = groups.require(names)
    groups.notebook.own |= set(kept)
    return _trash(groups, [face for face in groups.faces if face.who not in kept], f"Kept only {', '.join(kept)}")


def _drop(groups: Groups, names: list[str], options: PersonsOptions) -> dict[str, Any]:
    dropped = groups.require(names)
    return _trash(groups, [face for face in groups.faces if face.who in dropped], f"Dropped {', '.join(dropped)}")


_ACTIONS: dict[PersonsAction, Callable[[Groups, list[str], PersonsOptions], dict[str, Any]]] = {
    PersonsAction.FIND: _find,
    PersonsAction.MERGE: _merge,
    PersonsAction.RENAME: _rename,
    PersonsAction.SPLIT: _split,
    PersonsAction.KEEP: _keep,
    PersonsAction.DROP: _drop,
}


def _trash(groups: Groups, faces: Sequence[FaceEntry], title: str) -> dict[str, Any]:
    if not faces:
        return {"moved": 0}
    keys = [face.key for face in faces]
    change = to_trash(groups.workspace, groups.side, keys, title=title, report=groups.report, stop=groups.stop)
    groups.catalog.refresh()
    groups.skipped += change.skipped
    forget(groups.workspace, groups.side, files=keys)
    groups.faces = groups.catalog.faces()
    return {"moved": len(change.moves), "undo": f"understudy faceset undo {groups.side}"}


def _require_names(action: PersonsAction, names: Sequence[str]) -> None:
    least, most = {
        PersonsAction.LIST: (0, 0),
        PersonsAction.FIND: (0, 0),
        PersonsAction.MERGE: (2, math.inf),
        PersonsAction.RENAME: (2, 2),
        PersonsAction.SPLIT: (1, 1),
        PersonsAction.KEEP: (1, math.inf),
        PersonsAction.DROP: (1, math.inf),
    }[action]
    if not least <= len(names) <= most:
        wanted = "no names" if most == 0 else f"{least} names" if least == most else f"{least} names or more"
        raise UsageError(
            f"{action} takes {wanted.replace('1 names', '1 name')}; {len(names)} were given.",
            hint="Names with spaces need quotes. The names: understudy faceset persons src (or dst)",
        )


# -- looking


def _looks(
    groups: Groups, faces: Sequence[FaceEntry], options: PersonsOptions
) -> tuple[list[FaceEntry], Looks, np.ndarray[Any, np.dtype[np.float32]]]:
    """Faces that can be read, their unit vectors, and how well each can be seen."""
    describe = _describer(options)
    seen: list[FaceEntry] = []
    vectors: list[Any] = []
    quality: list[float] = []
    for face, found in each_face(
        faces, lambda _, face: describe(face), workers=options.workers, report=groups.report, stop=groups.stop
    ):
        if isinstance(found, Skipped):
            groups.skipped.append(found)
            continue
        seen.append(face)
        vectors.append(found[0])
        quality.append(found[1])
    if groups.stop():
        raise Interrupted("Stopped while looking at faces; no group has changed.", hint="Run the same command again.")
    if not seen:
        raise EmptyFaceset("None of the faces can be read.", hint="See why with: understudy faceset info")
    return seen, np.array(vectors, np.float32), np.array(quality, np.float32)


def _describer(options: PersonsOptions) -> Callable[[Face], tuple[Any, float]]:
    """A function that gives a face's vector and how well it can be seen."""
    if options.engine is None:

        def own(face: Face) -> tuple[Any, float]:
            parts = appearance.parts_of(face)
            return appearance.vector_of(parts), parts.quality

        return own
    from understudy.curation.recognition import RecognitionNetwork

    network = RecognitionNetwork(options.engine, colours=options.engine_colours)
    return lambda face: (network.describe(face), appearance.quality(face))


def _threshold(options: PersonsOptions) -> float:
    if options.threshold:
        return options.threshold
    if options.engine is None:
        return THRESHOLD
    from understudy.curation.recognition import THRESHOLD as OF_NETWORKS

    return OF_NETWORKS


def _split_thresholds(options: PersonsOptions) -> list[float]:
    """The one that was asked for, or ever higher ones."""
    if options.threshold:
        return [options.threshold]
    start = _threshold(options)
    return [start + (1 - start) * step / SPLIT_STEPS for step in range(SPLIT_STEPS)]


def _sightings(faces: Sequence[FaceEntry], given: Sequence[str | None]) -> list[Sighting]:
    indices = frame_indices([face.frame for face in faces])
    return [
        Sighting(face.frame, index, face.track, face.source_rect, name)
        for face, index, name in zip(faces, indices, given, strict=True)
    ]


def frame_indices(frames: Sequence[str | None]) -> list[int | None]:
    """The place of each frame in its footage, from the number its name ends with; None for stills.

    Names that differ before the number belong to different footage, whose places lie far apart.
    """
    matches = [None if frame is None else _NUMBER.match(frame) for frame in frames]
    numbers: dict[str, set[int]] = defaultdict(set)
    for match in matches:
        if match is not None:
            numbers[match[1]].add(int(match[2]))
    footage = [prefix for prefix, found in sorted(numbers.items()) if len(found) >= SHORTEST_SEQUENCE]
    starts = {prefix: place * 2 * FOOTAGE_APART for place, prefix in enumerate(footage)}
    return [None if match is None or match[1] not in starts else starts[match[1]] + int(match[2]) for match in matches]


def _show_best(groups: Groups, faces: Sequence[FaceEntry], called: Sequence[str], looks: Looks, quality: Any) -> None:
    """Note the faces that show each person best and most differently."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(called):
        members[name].append(number)
    for name, numbers in members.items():
        chosen = representatives(looks[numbers], quality[numbers], PER_PERSON)
        groups.notebook.shown[name] = [faces[numbers[place]].key for place in chosen]


# -- the result


def _listed(workspace: Workspace, side: Side, report: Report, stop: Stop) -> StageResult:
    if pending_path(workspace, side).is_file():
        with opened(workspace, side, report, stop) as groups:
            return _result(workspace, side, groups.faces, report, stop, groups.skipped, {})
    with Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs, report=report, stop=stop) as catalog:
        return _result(workspace, side, catalog.require_faces(), report, stop, [], {}, draws=False)


def _result(
    workspace: Workspace,
    side: Side,
    faces: Sequence[FaceEntry],
    report: Report,
    stop: Stop,
    skipped: Sequence[Skipped],
    notes: dict[str, Any],
    *,
    draws: bool = True,
) -> StageResult:
    notebook = read_notebook(workspace, side)
    rows = [_row(name, of, notebook.own, notebook.shown.get(name, [])) for name, of in by_name(faces).items()]
    outputs: list[Path] = []
    if not draws and sheet_path(workspace, side).is_file():
        outputs.append(sheet_path(workspace, side))
    if draws and rows:
        outputs.append(draw_sheet(workspace, side, faces, notebook.shown, report=report, stop=stop))
    notes = {"persons": rows, "ungrouped": ungrouped(faces), **notes}
    return StageResult(faces=len(faces), skipped=list(skipped), outputs=outputs, notes=notes)


def _row(name: str, faces: Sequence[FaceEntry], own: set[str], shown: Sequence[str]) -> dict[str, Any]:
    frames = sorted({face.frame for face in faces if face.frame is not None})
    return {
        "name": name,
        "faces": len(faces),
        "tracks": len({face.track for face in faces if face.track is not None}),
        "frames": len(frames),
        "first": frames[0] if frames else None,
        "last": frames[-1] if frames else None,
        "best": shown[0] if shown else _best(faces).key,
        "own": name in own,
    }


def _best(faces: Sequence[FaceEntry]) -> FaceEntry:
    """The largest face that looks ahead, of a sample: for groups that nobody has looked at since they were made."""
    sample = faces[:: max(1, len(faces) // 100)]
    return max(sample, key=lambda face: _size(face) * math.cos(pose(face.meta.landmarks, face.width).yaw))


def _size(face: FaceEntry) -> float:
    return math.sqrt(abs(face.source_rect.area)) if face.source_rect is not None else float(face.width)
