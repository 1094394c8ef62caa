"""Being an ordinary user for a while, since root may write anywhere: `with ordinary_user() as folder`."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LOADED_BEFORE = ("configparser", "skimage.data", "skimage.io", "sqlite3")
"""What is imported only when it is used, and may lie where an ordinary user cannot read."""


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """A folder of this user's own; inside the block the process may do no more than such a user may."""
    if not hasattr(os, "geteuid"):
        pytest.skip("there are no user ids here")
    folder = Path(tempfile.mkdtemp(prefix="understudy-user-"))
    for name in LOADED_BEFORE:
        importlib.import_module(name)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)
