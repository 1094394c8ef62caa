"""Damage for readers: `from damage import attack, mutated`. Whatever the bytes, only errors of ours may come out."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError

TELLING = (
    *(b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xdd", b"\xff\xef", b"\x00\x00", b"\xff\xff"),
    *(b"R.", b"b.", b"t", b"(", b"cos\nsystem\n", b"\x93", b"\x8d", b"\x96"),
    *(b"r\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"]" * 100, b"\x85" * 100),
)
"""Pieces that mean something to the readers: JPEG markers and pickle opcodes."""

LENGTHS = (0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


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


def attack(
    read: Callable[[bytes], None],
    seeds: list[bytes],
    rng: random.Random,
    until: Callable[[int], bool],
    out: Path,
    *,
    damage: Callable[[bytes, random.Random, bytes], bytes] = mutated,
) -> int:
    """Read damaged inputs until told to stop; returns how many were refused. Anything but our errors fails the test."""
    refused = count = 0
    while not until(count):
        count += 1
        data = damage(rng.choice(seeds), rng, rng.choice(seeds))
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
