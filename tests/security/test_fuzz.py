"""A short cut of ``make fuzz``: a few hundred mutated inputs a reader, the same every time."""

from __future__ import annotations

import hashlib

import pytest

from ampmix.errors import AmpmixError
from fuzz.mutate import mutations
from fuzz.outcome import LONGEST_MESSAGE, Watch
from fuzz.targets import TARGETS

FEW = {"parquet": 40, "report": 8, "model": 60, "encoder": 0, "study": 60, "text": 20}
"""Inputs of slow targets; transformers' folders are left to the campaign and test_strangers.py."""

NEVER_REFUSED = {"records", "report", "archive", "text"}  # leave aside, say in a word, or take all


@pytest.mark.slow
@pytest.mark.usefixtures("forked_probes")
@pytest.mark.parametrize("name", [name for name in TARGETS if FEW.get(name, 1)])
def test_mutated_inputs_are_read_or_refused_in_a_sentence(name: str) -> None:
    target, watch = TARGETS[name], Watch(TARGETS[name].run)
    seeds = target.seeds()
    for data in mutations(seeds, target.words, 0, len(seeds) + FEW.get(name, 200)):
        watch(data)
    assert not watch.found, "\n".join(f"{f.where}: {f.told}" for f in watch.found.values())
    assert watch.tried > watch.refused
    assert watch.refused or name in NEVER_REFUSED


def test_a_seed_gives_the_same_inputs_again_and_another_gives_others() -> None:
    def digest(seed: int) -> str:
        made = mutations([b"text,label\na,b\n", b"{}"], [b'"'], seed, 50)
        return hashlib.sha256(b"|".join(made)).hexdigest()

    assert digest(1) == digest(1) != digest(2)


def test_the_watch_tells_what_may_be_from_what_may_not() -> None:
    def run(data: bytes) -> None:
        if data == b"refuse":
            raise AmpmixError("no")
        if data in (b"crash", b"crash again"):
            raise IndexError(data)

    watch = Watch(run)
    for data in (b"fine", b"refuse", b"crash", b"crash again"):
        watch(data)
    assert (watch.tried, watch.refused) == (4, 1)
    (finding,) = watch.found.values()  # both crashed at one place
    assert finding.data == b"crash"
    assert finding.where.startswith("IndexError test_fuzz.py:run:")


def test_a_message_is_never_the_whole_input() -> None:
    message = str(AmpmixError(f"no column {'x' * 10**6!r}: give another"))
    assert len(message) <= LONGEST_MESSAGE
    assert message.startswith("no column 'xxx")
    assert message.endswith("give another")
