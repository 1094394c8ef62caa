"""The engines a user can have: listed with hash and terms, fetched only when asked, brought in from disk."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from understudy.cli.main import main
from understudy.detection import load_engine
from understudy.detection.fan_engine import network_of, weights_of
from understudy.errors import InvalidOption, UsageError
from understudy.facesets import pickles
from understudy.report import Note
from understudy.stages.engines import KNOWN, add_engine_files, fetch_engine, list_engines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with S3FD.npy and 2DFAN.npy of zeros: the right tensors, no weights worth running."""
    folder = tmp_path_factory.mktemp("published")
    for part, name in (("s3fd", "S3FD.npy"), ("2dfan", "2DFAN.npy")):
        table = {}
        for tensor, value in weights_of(network_of(part)).items():
            shape = tuple(value.shape)
            shape = (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape
            table[tensor.replace(".", "/") + ":0"] = np.zeros(shape, np.float16)
        (folder / name).write_bytes(pickles.dumps(table, protocol=4))
    return folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def mirror(published: Path) -> Iterator[str]:
    """A server of a studio's own that has the files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(published)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ready() -> dict[str, bool]:
    return {engine.info.name: engine.ready for engine in list_engines()}


def test_only_the_bundled_engine_is_ready_at_first() -> None:
    assert ready() == {"mediapipe": True, "face-alignment": False, "s3fd-fan": False, "s3fd-3dfan": False}


def test_the_list_says_licence_terms_and_where_files_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "engines", "list"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [engine["name"] for engine in body["engines"]] == [info.name for info in KNOWN]
    assert all(engine["licence"] and engine["data_terms"] for engine in body["engines"])
    bundled = body["engines"][0]["files"]
    assert all(file["ok"] and len(file["sha256"]) == 64 for file in bundled)
    assert main(["engines", "list"]) == 0
    text = capsys.readouterr().out
    assert "mediapipe: ready" in text
    assert "s3fd-fan: not ready" in text
    assert "non-commercial research" in text


def test_no_hash_is_pinned_that_nobody_here_has_seen() -> None:
    """A made-up pin would refuse the right file or, worse, seem to vouch for it."""
    assert all(file.sha256 is None for info in KNOWN for file in info.files)


def test_files_from_disk_make_an_engine(published: Path, home: Path) -> None:
    result = add_engine_files([published / "S3FD.npy", published / "2DFAN.npy"])
    assert [path.name for path in result.outputs] == ["s3fd.safetensors", "2dfan.safetensors"]
    assert ready()["s3fd-fan"]
    assert not ready()["s3fd-3dfan"]
    (engine,) = [engine for engine in list_engines() if engine.info.name == "s3fd-fan"]
    assert [file.sha256 for file in engine.files] == [sha256(published / n) for n in ("S3FD.npy", "2DFAN.npy")]
    load_engine("s3fd-fan")

    with result.outputs[0].open("r+b") as file:  # a file that changed since is not whole
        file.seek(-1, 2)
        file.write(b"x")
    (state, _) = next(engine for engine in list_engines() if engine.info.name == "s3fd-fan").files
    assert state.present
    assert not state.ok


def test_fetching_needs_a_hash_from_the_user_for_files_that_are_not_pinned(mirror: str, home: Path) -> None:
    with pytest.raises(UsageError, match="pins no hash") as error:
        fetch_engine("s3fd-fan", source=mirror)
    assert "--sha256 S3FD.npy=" in error.value.hint
    assert "understudy engines add FILE" in error.value.hint
    assert not home.exists()


def test_fetching_from_a_server_of_ones_own(mirror: str, published: Path, home: Path) -> None:
    hashes = {name: sha256(published / name) for name in ("S3FD.npy", "2DFAN.npy")}
    events: list[object] = []
    fetch_engine("s3fd-fan", sha256=hashes, source=mirror, report=events.append)
    notes = [event.message for event in events if isinstance(event, Note)]
    assert "GPL-3.0" in notes[0]
    assert "non-commercial research" in notes[0]
    assert ready()["s3fd-fan"]
    assert list((home / "engines" / "s3fd-fan" / "published").iterdir()) == []
    again = fetch_engine("s3fd-fan", source="http://127.0.0.1:9/")
    assert again.outputs == []


def test_a_wrong_hash_leaves_the_engine_as_it_was(mirror: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--sha256=S3FD.npy={'0' * 64}", f"--sha256=2DFAN.npy={'0' * 64}", "--source", mirror]
    assert main(["--json", "engines", "fetch", "s3fd-fan", *flags]) == 1
    body = json.loads(capsys.readouterr().out)
    assert body["error"]["code"] == "engine-error"
    assert "not the expected file" in body["error"]["message"]
    assert not ready()["s3fd-fan"]


def test_files_that_nobody_publishes_say_where_they_are() -> None:
    with pytest.raises(UsageError) as error:
        fetch_engine("s3fd-fan")
    assert "facelib" in error.value.hint


@pytest.mark.parametrize(
    ("name", "hashes", "kind"),
    [
        ("oracle", {}, InvalidOption),
        ("mediapipe", {}, UsageError),
        ("face-alignment", {"other.pth": "0" * 64}, UsageError),
        ("face-alignment", {"s3fd-619a316812.pth": "abc"}, UsageError),
    ],
)
def test_requests_that_make_no_sense(name: str, hashes: dict[str, str], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        fetch_engine(name, sha256=hashes)


def test_a_hash_without_a_file_is_a_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "engines", "fetch", "face-alignment", "--sha256", "0" * 64]) == 2
    assert "FILE=HASH" in json.loads(capsys.readouterr().out)["error"]["hint"]


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--json", "engines", "add", str(tmp_path / "S3FD.npy")]) == 2
    assert "S3FD.npy" in json.loads(capsys.readouterr().out)["error"]["message"]
