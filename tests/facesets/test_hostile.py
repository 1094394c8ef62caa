"""Whatever bytes lie in a faceset, only errors of ours come out, and soon.

The corpus is read by every reader; then mutations of real faces and of the corpus, seeded. A failing input is written
beside the test's other files and named in the message.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import CORPUS, corpus, kept

from damage import LENGTHS, attack, mutated
from understudy.errors import UnderstudyError
from understudy.facesets import Catalog, FaceMeta, pickles
from understudy.facesets.container import MAX_PAYLOAD, parse_header
from understudy.facesets.faces import parse_face
from understudy.facesets.legacy_png import parse_png_face
from understudy.facesets.metadata import from_blob, from_dict, from_payload, to_blob, to_payload
from understudy.facesets.packs import each_packed, read_packed
from understudy.facesets.xseg import decode_mask
from understudy.masks import rasterise
from understudy.records import Side
from understudy.stages.meta_backup import restore_meta
from understudy.stages.unpack import unpack
from understudy.workspace import Workspace

SUITE_SECONDS = float(os.environ.get("UNDERSTUDY_SUITE_FUZZ_SECONDS", "30"))
CAMPAIGN_SECONDS = float(os.environ.get("UNDERSTUDY_FUZZ_SECONDS", "600"))


def use(meta: FaceMeta) -> None:
    """What any reader does with data: it must be of the promised form, and go out again."""
    assert meta.landmarks.shape in ((68, 2), (0, 2))
    rasterise(meta.polygons, 64, 64)
    if meta.xseg_mask is not None:
        assert decode_mask(meta.xseg_mask).ndim == 2
    payload = to_payload(meta)
    assert from_payload(payload).face_type is meta.face_type
    assert to_payload(from_blob(to_blob(meta))) == payload


def read_as_face(data: bytes) -> None:
    use(parse_face(data, Path("fuzzed.jpg")).meta)


def read_as_data(data: bytes) -> None:
    """The quick way of reading a face's data must say what the thorough one says."""
    try:
        thorough: FaceMeta | None = from_dict(pickles.loads(data, limit=MAX_PAYLOAD))
    except (UnderstudyError, AttributeError):  # AttributeError: not a dictionary, which from_payload looks at
        thorough = None
    meta = from_payload(data)
    use(meta)
    assert thorough is not None
    assert to_payload(meta) == to_payload(thorough)


def read_as_pickle(data: bytes) -> None:
    """Taken apart at once and piece by piece, a list must be the same list."""
    whole = pickles.loads(data)
    if isinstance(whole, list):
        pieces = list(pickles.stream(io.BytesIO(data), len(data), list))
        assert len(pieces) == len(whole)


def pack_reader(folder: Path) -> Callable[[bytes], None]:
    """Reads bytes as faceset.pak in every way there is, and sees that nothing comes out beside the folder."""
    workspace = Workspace.create(folder / "shot")
    pack = workspace.src.aligned / "faceset.pak"
    around = {path.name for path in workspace.src.frames.iterdir()}

    def read(data: bytes) -> None:
        pack.write_bytes(data)
        try:
            for face in each_packed(pack):
                assert len(read_packed(pack, face.offset, face.size)) == face.size
            with Catalog.open(workspace.src.aligned) as catalog:
                assert all(face.meta.has_landmarks for face in catalog)
                catalog.require_faces()
        finally:
            if len(data) % 7 == 0:  # now and then: unpacking writes files, which takes longer
                try_unpacking(workspace)

    def try_unpacking(workspace: Workspace) -> None:
        try:
            unpack(workspace, Side.SRC)
        except UnderstudyError:
            pass
        finally:
            assert {path.name for path in workspace.src.frames.iterdir()} <= around | {"aligned_trash"}
            shutil.rmtree(workspace.src.aligned)
            shutil.rmtree(workspace.src.aligned_trash, ignore_errors=True)
            shutil.rmtree(workspace.changes(Side.SRC), ignore_errors=True)
            workspace.src.aligned.mkdir()

    return read


def damaged_pack(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Damage anywhere, or in one part with the sizes of the parts put right, so that it is reached."""
    if rng.random() < 0.4 or len(data) < 16:
        return mutated(data, rng, other)
    size = min(struct.unpack("<Q", data[8:16])[0], len(data) - 16)
    config, rest = data[16 : 16 + size], bytearray(data[16 + size :])
    if rng.random() < 0.6:
        config = mutated(config, rng, other)
    else:
        at = 8 * rng.randrange(4)
        rest[at : at + 8] = struct.pack("<Q", rng.choice([*LENGTHS, len(data), len(rest), rng.randrange(20_000)]))
    return data[:8] + struct.pack("<Q", len(config)) + config + bytes(rest)


def read_as_png(data: bytes) -> None:
    use(parse_png_face(data).meta)


@pytest.fixture
def golden_if_there(request: pytest.FixtureRequest) -> Path | None:
    try:
        found = request.getfixturevalue("golden")
    except pytest.skip.Exception:
        return None
    return found if isinstance(found, Path) else None


CORPUS_FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", CORPUS_FILES)
def test_what_is_kept_of_damage(name: str, tmp_path: Path) -> None:
    """Every kept file by every reader: an error of ours or a sensible result, at once and without much memory."""
    data = (CORPUS / name).read_bytes()
    readers = [read_as_face, read_as_data, read_as_pickle, read_as_png, pack_reader(tmp_path)]
    tracemalloc.start()
    started = time.process_time()
    try:
        for read in readers:
            try:
                read(data)
            except UnderstudyError:
                continue
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 4
    assert not list(tmp_path.rglob("evil*"))


def test_kept_faces_in_one_folder(tmp_path: Path) -> None:
    """The honest ones among them are used, the others named; the scan ends."""
    folder = tmp_path / "aligned"
    folder.mkdir()
    for path in (CORPUS / "faces").iterdir():
        shutil.copy(path, folder / f"{path.name}.jpg")
    with Catalog.open(folder) as catalog:
        usable = {face.name for face in catalog}
        assert {"plain.jpg", "labelled.jpg", "restart-markers.jpg"} <= usable
        assert len(usable) + len(catalog.skipped) == len(list(folder.iterdir()))
        assert {"only-two-bytes.jpg", "segment-past-the-end.jpg", "data-runs-a-program.jpg"}.isdisjoint(usable)


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


def test_damaged_png_faces(tmp_path: Path) -> None:
    import zlib

    import cv2
    import numpy as np

    png = bytes(cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8))[1])
    seeds = []
    for payload in kept("data")[:8]:
        body = b"fcWp" + payload
        chunk = struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))
        seeds.append(png[:-12] + chunk + png[-12:])
    assert attack(read_as_png, seeds, random.Random(5), lambda n: n >= 300, tmp_path) > 50


def test_damaged_backups(tmp_path: Path) -> None:
    """A damaged meta.dat never harms a face: what it was is in the trash."""
    workspace = Workspace.create(tmp_path / "shot")
    face = workspace.src.aligned / "00001_0.jpg"
    original = corpus(None)[0]
    whole = pickles.dumps({"00001_0.jpg": ((96, 96, 3), pickles.loads(parse_header(original).payloads[-1]))}, 3)

    def read(data: bytes) -> None:
        face.write_bytes(original)
        (workspace.src.aligned / "meta.dat").write_bytes(data)
        restore_meta(workspace, Side.SRC)
        parse_face(face.read_bytes(), face)

    assert attack(read, [whole], random.Random(6), lambda n: n >= 100, tmp_path) > 20


@pytest.mark.timeout(0)
def test_the_jpeg_reader_under_fire(golden_if_there: Path | None, tmp_path: Path) -> None:
    """For a few seconds, from seeds of ours, of the corpus and of the reference program where they are."""
    end = time.monotonic() + SUITE_SECONDS
    seeds = corpus(golden_if_there) + kept("faces")
    attack(read_as_face, seeds, random.Random(7), lambda _: time.monotonic() > end, tmp_path)


@pytest.mark.timeout(0)
def test_the_pack_reader_under_fire(golden_if_there: Path | None, tmp_path: Path) -> None:
    """As the JPEG reader."""
    end = time.monotonic() + SUITE_SECONDS
    seeds, read = pack_seeds(golden_if_there), pack_reader(tmp_path)
    attack(read, seeds, random.Random(8), lambda _: time.monotonic() > end, tmp_path, damage=damaged_pack)


def pack_seeds(golden: Path | None) -> list[bytes]:
    found = sorted((golden / "files").glob("*.pak")) if golden else []
    return kept("packs") + [path.read_bytes() for path in found]


@pytest.mark.faults
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["face", "data", "pickle", "pack"])
def test_long_campaign(kind: str, golden_if_there: Path | None, tmp_path: Path) -> None:
    """UNDERSTUDY_FUZZ_SECONDS of each kind, with a seed that is printed."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    faces = corpus(golden_if_there) + kept("faces")
    payloads = [parse_header(data).payloads[-1] for data in corpus(golden_if_there)] + kept("data")
    seeds = {"face": faces, "data": payloads, "pickle": payloads, "pack": pack_seeds(golden_if_there)}[kind]
    readers = {"face": read_as_face, "data": read_as_data, "pickle": read_as_pickle, "pack": pack_reader(tmp_path)}
    damage = damaged_pack if kind == "pack" else mutated
    end = time.monotonic() + CAMPAIGN_SECONDS
    attack(readers[kind], seeds, random.Random(seed), lambda _: time.monotonic() > end, tmp_path, damage=damage)
