"""Runs that are not paired are refused, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ampmix.errors import AmpmixError
from ampmix.statistics import Runs, check_paired

OWN = Runs("amp", (0, 1, 2), ("a", "a", "b"), (500, 500, 499))


def test_paired_runs_pass() -> None:
    check_paired(OWN, replace(OWN, name="none"))
    check_paired(Runs("amp", [], [], []), Runs("none", [], [], []))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"seeds": (0, 1, 3)},
            "amp has seeds 0, 1, 2 and none has 0, 1, 3: compare the same seeds",
        ),
        ({"seeds": (0, 2, 1)}, "none has 0, 2, 1: compare the same seeds in the same order"),
        (
            {"seeds": (0, 1), "test_sets": ("a", "a"), "sizes": (500, 500)},
            "amp has seeds 0, 1, 2 and none has 0, 1:",
        ),
        ({"seeds": (), "test_sets": (), "sizes": ()}, "none has none"),
        ({"sizes": (500, 500, 500)}, "seed 2 amp was tested on 499 examples and none on 500"),
        ({"test_sets": ("a", "c", "b")}, "seed 1 amp was tested on a and none on c: compare runs"),
    ],
)
def test_what_differs_is_named(change: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(AmpmixError, match=message):
        check_paired(OWN, replace(OWN, name="none", **change))


def test_a_run_counts_once() -> None:
    twice = replace(OWN, seeds=(0, 1, 1))
    with pytest.raises(AmpmixError, match="amp has a seed twice"):
        check_paired(twice, replace(twice, name="none"))


def test_hashes_are_shortened() -> None:
    long = replace(OWN, test_sets=("0123456789abcdef" * 4, "a", "b"))
    with pytest.raises(AmpmixError, match="tested on 0123456789ab and none on a:"):
        check_paired(long, replace(OWN, name="none"))
