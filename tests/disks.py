"""A small disk that tests may fill: `with small_disk(mib=2) as folder`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(*, mib: int) -> Iterator[Path]:
    """A disk of so many MiB; skips the test, saying why, where mounting is not possible.

    It lies outside pytest's own folders, which cannot be swept while a killed run's disk is mounted there.
    """
    folder = Path(tempfile.mkdtemp(prefix="understudy-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        folder.rmdir()
        pytest.skip("mounting is not possible here, so a full disk cannot be tried")
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"mounting is not allowed here, so a full disk cannot be tried: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Fill the disk of `folder` to its last byte with one file, and give it back."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return path
