"""Real footage through extraction: who is who where people pass each other, and files that are hard to read."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from understudy.detection import ExtractOptions
from understudy.errors import UnderstudyError
from understudy.facesets import read_face, read_meta
from understudy.records import Side
from understudy.stages.extract import extract
from understudy.stages.extract_journal import ExtractJournal, journal_path
from understudy.workspace import Workspace

ROOT = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[3] / "shared" / "media"))
SMALL = ExtractOptions.of(image_size=256, workers=2)
LARGEST = 4_000_000  # pixels; the montage of 24 megapixels is looked at in test_detection


@pytest.fixture(autouse=True)
def _needs_footage(media: Path) -> None:
    """Skips, with the reason, where the footage is not there."""


def nasty() -> list[dict[str, Any]]:
    manifest = ROOT / "manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.is_file() else []
    return [
        item
        for item in listed
        if item["path"].startswith("nasty/") and (item["width"] or 0) * (item["height"] or 0) <= LARGEST
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "item" in metafunc.fixturenames:
        metafunc.parametrize("item", nasty() or [{"path": "no-footage"}], ids=lambda item: item["path"])


def workspace_of(path: Path, folder: Path) -> Workspace:
    workspace = Workspace.create(folder / "shot")
    if path.is_dir():
        for file in path.iterdir():
            shutil.copy(file, workspace.src.frames)
    elif path.suffix in (".png", ".jpg", ".tif", ".webp", ".dpx", ".exr"):
        shutil.copy(path, workspace.src.frames / path.name)
    else:
        shutil.copy(path, workspace.root / f"data_src{path.suffix}")
    return workspace


def tracks_of(workspace: Workspace) -> dict[int, list[tuple[int, float]]]:
    """By track the frames and the horizontal middles of its faces, in order."""
    found: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(workspace.dst.aligned.iterdir()):
        meta = read_meta(path)
        assert meta.track is not None
        assert meta.source_rect is not None
        found[meta.track].append((int(path.stem[:5]) - 1, (meta.source_rect.left + meta.source_rect.right) / 2))
    return found


def test_two_men_who_cross_keep_their_tracks(extracted: Callable[[Path], Workspace]) -> None:
    """One stands at x = 370; the other walks from the right edge to the left, 9 px per frame, and hides him."""
    workspace = extracted(ROOT / "clips" / "composite_two_men_crossing_960x540.mp4")
    standing, walking = sorted(tracks_of(workspace).values(), key=len, reverse=True)[:2]
    assert len(standing) >= 120
    assert (standing[0][0], standing[-1][0]) == (0, 159), "also behind the other man's back it is one track"
    assert all(abs(x - 370) < 60 for _, x in standing)
    assert len(walking) >= 100
    places = [x for frame, x in walking if frame <= 138]
    assert all(-45 < after - before < 20 for before, after in pairwise(places))


@pytest.mark.parametrize(
    ("clip", "people"),
    [("composite_three_speakers_720x288.mp4", 3), ("two_people_turning_480x270.mp4", 2)],
)
def test_people_beside_each_other_keep_their_tracks(
    extracted: Callable[[Path], Workspace], clip: str, people: int
) -> None:
    workspace = extracted(ROOT / "clips" / clip)
    journal = ExtractJournal.read(journal_path(workspace, Side.DST))
    assert journal is not None
    tracks = tracks_of(workspace)
    assert len(tracks) == people
    for frames in tracks.values():
        assert len(frames) >= 0.98 * len(journal.done)
        places = [x for _, x in frames]
        assert all(abs(after - before) < 30 for before, after in pairwise(places))


def test_a_hard_file_gives_faces_or_says_why_not(item: dict[str, Any], tmp_path: Path) -> None:
    """Every frame is done, or skipped and named; and a second run has nothing to do, or says the same again."""
    workspace = workspace_of(ROOT / item["path"], tmp_path)
    outcomes = []
    for _ in range(2):
        try:
            result = extract(workspace, Side.SRC, SMALL)
            outcomes.append((result.frames, result.faces, {skipped.item for skipped in result.skipped}))
        except UnderstudyError as error:
            outcomes.append((type(error).__name__, len(error.hint), set()))
            is_explained = bool(error.message and error.hint)
        else:
            is_explained = all(skipped.reason for skipped in result.skipped)
        assert is_explained
    assert outcomes[0] == outcomes[1]
    if item["expect"] == "ok" and item["accept"] == ["ok"]:
        journal = ExtractJournal.read(journal_path(workspace, Side.SRC))
        assert journal is not None
        assert len(journal.done) == item["frames"]
        assert journal.skipped == []
    for path in workspace.src.aligned.iterdir():
        assert read_face(path).rgb8.shape == (256, 256, 3)
