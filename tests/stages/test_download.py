"""Fetching a file over a connection that breaks, lies or is not there: what appears is whole and the expected one."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from understudy.errors import EngineError, Interrupted, UsageError
from understudy.report import Progress
from understudy.stages.download import download

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A server on the loopback: what it has, after how much it hangs up, whether it can go on in the middle."""

    url: str = ""
    content: bytes = CONTENT
    cut_after: int | None = None
    ranges: bool = True
    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    """Answers from a thread of its own until the test ends."""
    state = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if state.status != 200 or (start and start >= len(state.content)):
                self.send_error(state.status if state.status != 200 else 416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if state.cut_after is None else body[: state.cut_after])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/weights.bin"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_arrives_whole_with_progress(site: Site, tmp_path: Path) -> None:
    events: list[object] = []
    path = download(site.url, tmp_path / "new" / "weights.bin", sha256=SHA256.upper(), report=events.append)
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["weights.bin"]
    assert any(isinstance(event, Progress) and event.total == 2 for event in events)


def test_a_file_that_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        download(site.url, tmp_path / "weights.bin", sha256=SHA256)
    assert len(site.asked) == 1


def test_a_file_with_another_hash_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    site.content = b"something else"
    with pytest.raises(EngineError, match=hashlib.sha256(b"something else").hexdigest()):
        download(site.url, tmp_path / "weights.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_good_file_stands_when_the_server_sends_a_wrong_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"the old one")
    site.content = b"something else"
    with pytest.raises(EngineError):
        download(site.url, tmp_path / "weights.bin", sha256=SHA256)
    assert (tmp_path / "weights.bin").read_bytes() == b"the old one"


def test_a_broken_connection_is_said_and_the_next_call_goes_on_there(site: Site, tmp_path: Path) -> None:
    site.cut_after = 1_000_000
    with pytest.raises(EngineError, match="1000000 of 3072000 bytes") as error:
        download(site.url, tmp_path / "weights.bin", sha256=SHA256)
    assert "goes on" in error.value.hint
    assert not (tmp_path / "weights.bin").exists()
    site.cut_after = None
    assert download(site.url, tmp_path / "weights.bin", sha256=SHA256).read_bytes() == CONTENT
    assert site.asked == ["", "bytes=1000000-"]
    assert [item.name for item in tmp_path.iterdir()] == ["weights.bin"]


def test_a_stop_keeps_what_came(site: Site, tmp_path: Path) -> None:
    calls = iter([False, False, True])
    with pytest.raises(Interrupted):
        download(site.url, tmp_path / "weights.bin", sha256=SHA256, stop=lambda: next(calls))
    assert 0 < (tmp_path / "weights.bin.part").stat().st_size < len(CONTENT)
    assert download(site.url, tmp_path / "weights.bin", sha256=SHA256).read_bytes() == CONTENT
    assert site.asked[1].startswith("bytes=")


def test_a_server_that_cannot_go_on_in_the_middle_starts_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights.bin.part").write_bytes(CONTENT[:5000])
    site.ranges = False
    assert download(site.url, tmp_path / "weights.bin", sha256=SHA256).read_bytes() == CONTENT


def test_halves_of_two_different_files_are_not_put_together(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights.bin.part").write_bytes(b"x" * 5000)
    assert download(site.url, tmp_path / "weights.bin", sha256=SHA256).read_bytes() == CONTENT
    assert site.asked == ["bytes=5000-", ""]


def test_a_part_that_is_already_whole_needs_no_more(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights.bin.part").write_bytes(CONTENT)
    assert download(site.url, tmp_path / "weights.bin", sha256=SHA256).read_bytes() == CONTENT


def test_an_error_of_the_server_is_named(site: Site, tmp_path: Path) -> None:
    site.status = 404
    with pytest.raises(EngineError, match="404"):
        download(site.url, tmp_path / "weights.bin", sha256=SHA256)


def test_without_a_connection_the_way_around_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as error:
        download("http://127.0.0.1:9/weights.bin", tmp_path / "weights.bin", sha256=SHA256)
    assert "understudy engines add FILE" in error.value.hint


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "weights.bin"])
def test_only_web_addresses_are_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        download(url, tmp_path / "weights.bin", sha256=SHA256)


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, SHA256[:-1]])
def test_a_hash_that_is_none_is_refused_before_anything_is_fetched(sha256: str, site: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        download(site.url, tmp_path / "weights.bin", sha256=sha256)
    assert site.asked == []
