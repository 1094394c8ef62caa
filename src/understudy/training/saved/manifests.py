"""What a saved state consists of, and its manifest: which files, how large, with which SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import CorruptCheckpoint, IncompatibleModel
from understudy.files import parse_json
from understudy.networks.tensor_files import Written

SCHEMA = "understudy-checkpoint"
VERSION = 1
WEIGHTS, OPTIMISER, EMA = "weights.safetensors", "optimiser.safetensors", "ema.safetensors"
STATE, MANIFEST = "state.json", "manifest.json"


def manifest_of(written: Mapping[str, Written], iteration: int) -> dict[str, Any]:
    """The manifest of a generation whose files were just written."""
    files = {name: {"bytes": file.size_bytes, "sha256": file.sha256} for name, file in sorted(written.items())}
    return {"schema": SCHEMA, "version": VERSION, "iteration": iteration, "files": files}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a generation's manifest says: `iteration`, and `files` with their `bytes` and `sha256`.

    Raises CorruptCheckpoint for one that cannot be read or is another generation's, IncompatibleModel for one of a
    newer version: that is not damaged, so nothing older takes its place.
    """
    try:
        manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema"] == SCHEMA and int(manifest["version"]) > VERSION:
            raise IncompatibleModel(
                f"The saved state {folder.name} was written by a newer version of understudy.",
                hint="Update understudy; nothing of the model was changed.",
                folder=folder,
            )
        known = manifest["schema"] == SCHEMA and {WEIGHTS, STATE} <= set(manifest["files"])
        iteration = int(manifest["iteration"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpoint(f"The saved state {folder.name} has no readable manifest.", folder=folder) from error
    if not known or iteration != int(folder.name):
        raise CorruptCheckpoint(f"The manifest of the saved state {folder.name} is not its own.", folder=folder)
    return dict(manifest)


def check_file(path: Path, expected: Mapping[str, Any]) -> None:
    """Raise CorruptCheckpoint where a file is not as its entry in the manifest says."""
    try:
        whole = path.stat().st_size == expected["bytes"] and sha256_of(path) == expected["sha256"]
    except (OSError, KeyError, TypeError):
        whole = False
    if not whole:
        raise CorruptCheckpoint(
            f"The saved state {path.parent.name} is damaged: {path.name} is missing or not as it was written.",
            path=path,
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
