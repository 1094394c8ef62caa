"""Fetching one file: resumed where it stopped, held to its SHA-256 before anything else sees it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from understudy.errors import EngineError, Interrupted, UsageError
from understudy.files import os_errors, sync_folder
from understudy.report import Pace, Report, Stop, never, silent

CHUNK = 1 << 18
TIMEOUT_SECS = 30.0
LARGEST = 4 << 30
"""Bytes; more is refused, so that a wrong address cannot fill the disk."""

MIB = 1 << 20


def download(url: str, path: Path, *, sha256: str, report: Report = silent, stop: Stop = never) -> Path:
    """Fetch `url` into `path`, which appears only whole and with the SHA-256 that is expected.

    What was fetched before a stop or a broken connection stays beside as `NAME.part`, and the next call goes on there.
    A file that is there already and has the hash is not fetched again. Raises UsageError for an address that is not
    http(s) or a malformed hash, EngineError when there is no connection or the file is another one, Interrupted and
    DiskFull.
    """
    expected = checked_sha256(sha256)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url} is no address that can be fetched.", hint="It starts with https:// or http://")
    if path.is_file() and sha256_of(path) == expected:
        return path
    part = path.with_name(path.name + ".part")
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        had = part.stat().st_size if part.is_file() else 0
        _fetch(url, part, report, stop)
        found = sha256_of(part)
        if found != expected and had:  # the file may have changed between the two halves
            part.unlink()
            _fetch(url, part, report, stop)
            found = sha256_of(part)
        if found != expected:
            part.unlink()
            raise EngineError(
                f"What came from {url} is not the expected file: its SHA-256 is {found}, not {expected}.",
                hint="Nothing was kept. Check the address and the hash with whoever publishes the file.",
                url=url,
            )
        part.replace(path)
        sync_folder(path.parent)
    return path


def checked_sha256(text: str) -> str:
    """A SHA-256 in lower case. Raises UsageError."""
    value = text.strip().lower()
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise UsageError(f"{text!r} is no SHA-256.", hint="It has 64 digits 0-9 and a-f.")
    return value


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, part: Path, report: Report, stop: Stop) -> None:
    """Append what is missing to `part`, or start anew when the server cannot go on in the middle."""
    had = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=TIMEOUT_SECS)) as answer:
            goes_on = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {had}-")
            length = answer.headers.get("Content-Length")
            start = had if goes_on else 0
            total = None if length is None else start + int(length)
            with part.open("ab" if goes_on else "wb") as file:
                _copy(answer, file, Pace(part.stem, _mib(total), report, unit="MiB"), stop)
            _require_whole(url, part, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and had:  # nothing is missing, or the server's file is shorter: the hash tells
            return
        raise _unreachable(url, f"the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _unreachable(url, str(getattr(error, "reason", error)) or type(error).__name__) from error


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], pace: Pace, stop: Stop) -> None:
    copied = 0
    while chunk := answer.read(CHUNK):
        if stop():
            raise Interrupted("Stopped while fetching.", hint="The same command goes on where it stopped.")
        file.write(chunk)
        if file.tell() > LARGEST:
            raise EngineError("The server sends more than any engine has.", hint="Check the address.")
        copied += len(chunk)
        for _ in range(copied // MIB):
            pace.advance()
        copied %= MIB
    pace.report_now()


def _require_whole(url: str, part: Path, total: int | None) -> None:
    have = part.stat().st_size
    if total is not None and have < total:
        raise EngineError(
            f"The connection ended after {have} of {total} bytes.",
            hint="What came is kept; the same command goes on from there.",
            url=url,
        )


def _mib(size: int | None) -> int | None:
    return None if size is None else size // MIB


def _unreachable(url: str, why: str) -> EngineError:
    return EngineError(
        f"{url} cannot be fetched: {why}.",
        hint="Without a connection, copy the file here from another machine: understudy engines add FILE",
        url=url,
    )
