"""Whatever bytes lie in the files of a model, only errors of ours come out, soon, and without much memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from damage import attack
from made_models import Flat, write_flat
from understudy.errors import UnderstudyError
from understudy.interop import reference_record
from understudy.interop.flat import find_flat_models
from understudy.interop.flat_files import UnusablePart
from understudy.interop.flat_reading import read_flat_model

SUITE_SECONDS = float(os.environ.get("UNDERSTUDY_SUITE_FUZZ_SECONDS", "30")) / 3
CAMPAIGN_SECONDS = float(os.environ.get("UNDERSTUDY_FUZZ_SECONDS", "600"))
CORPUS = Path(__file__).parent / "corpus"
PARTS = ("data.dat", "encoder.npy", "src_dst_opt.npy", "GAN.npy", "GAN_opt.npy")
TINY = {"resolution": 16, "ae_dims": 2, "e_dims": 1, "d_dims": 1, "d_mask_dims": 1, "gan_patch_size": 3, "gan_dims": 4}
BAIT = Path("was_here")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Flat:
    """A model of some kilobytes."""
    made = write_flat(tmp_path_factory.mktemp("flat"), archi="df", iteration=20, discriminators=("GAN",), **TINY)
    (made.folder / "SAEHD_default_options.dat").write_bytes(pickle.dumps(made.options, 4))
    return made


def reader(flat: Flat, folder: Path, part: str) -> Callable[[bytes], None]:
    """Reads bytes in the place of one file of a whole model, as an import does, to the last tensor."""
    shutil.copytree(flat.folder, folder, dirs_exist_ok=True)
    path = folder / (part if part.endswith("default_options.dat") else f"{flat.prefix}{part}")

    def read(data: bytes) -> None:
        path.write_bytes(data)
        without: dict[str, str] = {}
        for _ in range(4):
            try:
                read_all(without)
            except UnusablePart as found:
                without[found.part] = found.why
            else:
                return
        raise AssertionError("a part that was left out was read again")

    def read_all(without: dict[str, str]) -> None:
        (model,) = find_flat_models(folder)
        with read_flat_model(model, without=without) as opened:
            for source in filter(None, [opened.weights, opened.optimiser]):
                for name, kind in source.kinds.items():
                    assert tuple(source.read(name).shape) == kind.shape
            shutil.rmtree(folder / "kept", ignore_errors=True)
            (folder / "kept").mkdir()
            reference_record.write(folder / "kept", opened.record)
            assert reference_record.read(folder / "kept") is not None

    return read


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_what_is_kept_of_damage_to_models(name: str, flat: Flat, tmp_path: Path) -> None:
    data = (CORPUS / name).read_bytes()
    started = time.process_time()
    tracemalloc.start()
    try:
        for part in (*PARTS[:3], "SAEHD_default_options.dat"):
            with contextlib.suppress(UnderstudyError):
                reader(flat, tmp_path / part, part)(data)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 10


def campaign(flat: Flat, folder: Path, seed: int, seconds: float) -> None:
    """Mutations of every part of an honest model and of the corpus, each in turn."""
    rng = random.Random(seed)
    kept = [path.read_bytes() for path in CORPUS.iterdir() if path.stat().st_size]
    for part in PARTS:
        honest = flat.file(part).read_bytes()
        ends = time.monotonic() + seconds / len(PARTS)
        attack(
            reader(flat, folder / part, part),
            [honest] * (len(kept) // 3 + 1) + kept,
            rng,
            lambda count, ends=ends: time.monotonic() > ends,
            folder,
        )


def test_damaged_models(flat: Flat, tmp_path: Path) -> None:
    campaign(flat, tmp_path, 7, SUITE_SECONDS)


@pytest.mark.faults
@pytest.mark.timeout(CAMPAIGN_SECONDS + 300)
def test_damaged_models_for_long(flat: Flat, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**30)
    print(f"seed {seed}")
    campaign(flat, tmp_path, seed, CAMPAIGN_SECONDS)
