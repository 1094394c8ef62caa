"""Fuzzing: whatever bytes lie in a faceset, only errors of ours come out, and soon.

Mutations of real faces, seeded. A failing input is written beside the test's other files and named in the message.
"""

from __future__ import annotations

import os
import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.errors import UnderstudyError
from understudy.facesets import Catalog, FaceMeta, pickles
from understudy.facesets.container import parse_header, replace_payload
from understudy.facesets.faces import parse_face
from understudy.facesets.metadata import from_payload, to_payload
from understudy.facesets.packs import list_pack, read_packed
from understudy.facesets.xseg import decode_mask
from understudy.masks import rasterise

CAMPAIGN_SECONDS = float(os.environ.get("UNDERSTUDY_FUZZ_SECONDS", "60"))

TELLING = (
    *(b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xdd", b"\xff\xef", b"\x00\x00", b"\xff\xff"),
    *(b"R.", b"b.", b"t", b"(", b"cos\nsystem\n", b"\x93", b"\x8d", b"\x96"),
    *(b"r\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"]" * 100, b"\x85" * 100),
)
"""Pieces that mean something to the readers: JPEG markers and pickle opcodes."""

LENGTHS = (0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def corpus(golden: Path | None) -> list[bytes]:
    """Whole face files: ours, and those of the golden folder when it is there."""
    made = [
        replace_payload(make_jpeg(0), to_payload(make_meta(0))),
        replace_payload(make_jpeg(1), to_payload(make_labelled_meta(1))),
    ]
    found = sorted((golden / "files").rglob("*.jpg")) if golden else []
    return made + [path.read_bytes() for path in found]


def mutated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to four small damages, most of them in the first kilobytes, where the structure is."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(made), rng.choice([64, 1024, 8192, 1 << 30])) or 1) if made else 0
        kind = rng.randrange(7)
        if kind == 0 and made:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and made:
            made[at] = rng.randrange(256)
        elif kind == 2:
            del made[at : at + rng.randint(1, 40)]
        elif kind == 3:
            made[at:at] = rng.choice(TELLING)
        elif kind == 4:
            made[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), rng.choice(LENGTHS))
        elif kind == 5:
            begin = rng.randrange(len(other))
            made[at:at] = other[begin : begin + rng.randint(1, 200)]
        else:
            del made[at : None if rng.random() < 0.2 else at + 1]
    return bytes(made)


def use(meta: FaceMeta) -> None:
    """What any reader does with data: it must be of the promised form, and go out again."""
    assert meta.landmarks.shape in ((68, 2), (0, 2))
    rasterise(meta.polygons, 64, 64)
    if meta.xseg_mask is not None:
        assert decode_mask(meta.xseg_mask).ndim == 2
    assert from_payload(to_payload(meta)).face_type is meta.face_type


def read_as_face(data: bytes) -> None:
    use(parse_face(data, Path("fuzzed.jpg")).meta)


def read_as_data(data: bytes) -> None:
    use(from_payload(data))


def attack(
    read: Callable[[bytes], None], seeds: list[bytes], rng: random.Random, until: Callable[[int], bool], out: Path
) -> int:
    """Read mutated inputs until told to stop; returns how many were refused. Anything but our errors fails the test."""
    refused = count = 0
    while not until(count):
        count += 1
        data = mutated(rng.choice(seeds), rng, rng.choice(seeds))
        started = time.process_time()
        try:
            read(data)
        except UnderstudyError:
            refused += 1
        except BaseException as error:
            (out / "failing-input").write_bytes(data)
            pytest.fail(f"{type(error).__name__}: {error} escaped; the input is in {out / 'failing-input'}")
        if time.process_time() - started > 2:
            (out / "slow-input").write_bytes(data)
            pytest.fail(f"one small file took seconds; it is in {out / 'slow-input'}")
    return refused


@pytest.fixture
def golden_if_there(request: pytest.FixtureRequest) -> Path | None:
    try:
        found = request.getfixturevalue("golden")
    except pytest.skip.Exception:
        return None
    return found if isinstance(found, Path) else None


def test_damaged_faces(golden_if_there: Path | None, tmp_path: Path) -> None:
    refused = attack(read_as_face, corpus(golden_if_there), random.Random(1), lambda n: n >= 1200, tmp_path)
    assert refused > 100, "the mutations reach the reader"


def test_damaged_data(golden_if_there: Path | None, tmp_path: Path) -> None:
    payloads = [parse_header(data).payloads[-1] for data in corpus(golden_if_there)]
    tracemalloc.start()
    try:
        refused = attack(read_as_data, payloads, random.Random(2), lambda n: n >= 1500, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused > 300
    assert peak < 400 * 1024 * 1024, "small inputs must not make large allocations"


def test_a_folder_of_damaged_faces(golden_if_there: Path | None, tmp_path: Path) -> None:
    """Every file is either a usable face or named with a reason; none of them ends the scan."""
    rng, seeds = random.Random(4), corpus(golden_if_there)
    folder = tmp_path / "aligned"
    folder.mkdir()
    for index in range(250):
        (folder / f"{index}.jpg").write_bytes(mutated(rng.choice(seeds), rng, rng.choice(seeds)))
    with Catalog.open(folder, cache=tmp_path / "cache") as catalog:
        faces, skipped = catalog.faces(), catalog.skipped
        assert len(faces) + len(skipped) == 250
        assert len(skipped) > 20
        assert all(item.reason for item in skipped)
        assert all(face.meta.has_landmarks for face in faces)


def test_damaged_packs(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "faceset.pak"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for face in list_pack(path)[:3]:
            read_packed(path, face.offset, face.size)

    packs = [found.read_bytes() for found in sorted((golden / "files").glob("*.pak"))]
    assert attack(read, packs, random.Random(3), lambda n: n >= 60, tmp_path) > 10


@pytest.mark.faults
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["face", "data", "pickle"])
def test_long_campaign(kind: str, golden_if_there: Path | None, tmp_path: Path) -> None:
    """UNDERSTUDY_FUZZ_SECONDS of each kind, with a seed that is printed."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    faces = corpus(golden_if_there)
    payloads = [parse_header(data).payloads[-1] for data in faces]
    read = {"face": read_as_face, "data": read_as_data, "pickle": lambda data: [pickles.loads(data)].clear()}[kind]
    end = time.monotonic() + CAMPAIGN_SECONDS
    seeds = faces if kind == "face" else payloads
    attack(read, seeds, random.Random(seed), lambda _: time.monotonic() > end, tmp_path)
