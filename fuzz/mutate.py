"""Blind mutation of seeds, for where there is no coverage-guided engine: seeded, so repeatable."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

INTERESTING = (
    b"", b"\0", b"\n", b"\r\n", b'"', b",", b"\t", b"{", b"}", b"[", b"]", b"=", b"|", b"\xff",
    b"\\", b"-1", b"0", b"1e400", b"nan", b"inf", b"99999999999999999999", b"true", b"null",
    b"../", b"\xef\xbb\xbf", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80",
    b"\\ud800", "é".encode(), "\u0300".encode(),
)  # fmt: skip


def mutations(
    seeds: Sequence[bytes], words: Sequence[bytes], seed: int, count: int, longest: int = 4096
) -> Iterator[bytes]:
    """`count` inputs: the seeds as they are, then some of them changed in one to eight places."""
    rng = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(rng.choice(seeds))
        for _ in range(1 << rng.randrange(4)):
            _change(data, seeds, words, rng)
        yield bytes(data[:longest])


def _change(
    data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], rng: random.Random
) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + 1 + int(rng.expovariate(0.2)))
    kind = rng.randrange(8)
    if kind == 0:
        del data[at:end]
    elif kind == 1:
        data[at:end] = rng.randbytes(end - at)
    elif kind == 2:
        data[at:at] = rng.choice(INTERESTING)
    elif kind == 3:
        data[at:end] = rng.choice(INTERESTING)
    elif kind == 4 and words:
        data[at:at] = rng.choice(words)
    elif kind == 5:
        data[at:at] = data[at:end] * rng.choice((1, 2, 50))
    elif kind == 6:
        other = rng.choice(seeds)
        begin = rng.randrange(len(other) + 1)
        data[at:end] = other[begin : begin + 1 + int(rng.expovariate(0.05))]
    elif data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
