"""Partners by class, and the share that is left to a text."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ampmix import AmpmixError
from ampmix._support.components import POLICIES
from ampmix._torch.generators import Ragged
from ampmix.mixing.pairing import pair_by_class
from naive_texts import Reader, rng, texts


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_partners_are_of_the_class_asked_for_as_far_as_there_are_any(
    classes: list[int], seed: int
) -> None:
    y, n = torch.tensor(classes), len(classes)
    largest = max(Counter(classes).values())
    for pairing in ("same", "other"):
        perm, fits = pair_by_class(y, y.shape, pairing, rng(seed))
        assert sorted(perm.tolist()) == list(range(n))
        for i, j in enumerate(perm.tolist()):
            if pairing == "same":
                assert classes[i] == classes[j]
                assert fits[i].item() is (classes.count(classes[i]) > 1) is (i != j)
            else:
                assert fits[i].item() is (classes[i] != classes[j])
        if pairing == "other":
            assert int((~fits).sum()) == max(0, 2 * largest - n)


def test_the_number_that_cannot_have_another_class_is_the_least_possible() -> None:
    for classes in ([0, 0, 0, 1, 2], [0, 1, 1, 1, 1], [0, 0, 1, 1, 2], [3, 3, 3]):
        every = permutations(range(len(classes)))
        least = min(sum(classes[i] == classes[j] for i, j in enumerate(p)) for p in every)
        y = torch.tensor(classes)
        assert int((~pair_by_class(y, y.shape, "other", rng())[1]).sum()) == least


@pytest.mark.slow
@pytest.mark.parametrize(("pairing", "partners"), [("same", {2, 4}), ("other", {1, 3, 5})])
def test_every_partner_is_as_likely(pairing: str, partners: set[int]) -> None:
    y, draws = torch.tensor([0, 1, 0, 1, 0, 1]), rng()
    found = Counter(int(pair_by_class(y, y.shape, pairing, draws)[0][0]) for _ in range(3000))
    assert set(found) == partners
    expected = 3000 / len(partners)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in found.values())


@pytest.mark.parametrize("pairing", ["same", "other"])
def test_batches_side_by_side_pair_as_alone_and_fillers_with_themselves(pairing: str) -> None:
    y = torch.randint(3, (2, 7), generator=rng())
    both = Ragged((rng(4), rng(5)), (7, 5))
    perm, fits = pair_by_class(y, y.shape, pairing, both)
    for row, (n, seed) in enumerate(((7, 4), (5, 5))):
        alone, fitting = pair_by_class(y[row, :n], y[row, :n].shape, pairing, rng(seed))
        assert torch.equal(perm[row, :n], alone)
        assert torch.equal(fits[row, :n], fitting)
    assert perm[1, 5:].tolist() == [5, 6]
    assert not fits[1, 5:].any()


@pytest.mark.parametrize("name", ["mixup", "amp"])
@pytest.mark.parametrize("pairing", ["same", "other"])
def test_a_text_without_such_a_partner_trains_unmixed(name: str, pairing: str) -> None:
    (states, mask, _), f = texts(6), Reader()
    y = torch.tensor([0, 0, 0, 0, 1, 2])
    mixed = POLICIES.parse(f"{name}[pairing={pairing}]")(f, (states, mask), y, generator=rng())
    assert sorted(mixed.perm.tolist()) == list(range(6))
    fits = (y[mixed.perm] == y) & (mixed.perm != torch.arange(6))
    fits = fits if pairing == "same" else y[mixed.perm] != y
    assert torch.equal(mixed.lam == 1, ~fits)
    assert 0 < int(fits.sum()) < 6


@pytest.mark.parametrize("name", ["mixup", "amp", "untied"])
def test_the_larger_share_stays_with_the_text(name: str) -> None:
    (states, mask, y), f = texts(40), Reader()
    any_, largest = (
        POLICIES.parse(f"{name}[lam={lam}]")(f, (states, mask), y, generator=rng())
        for lam in ("any", "max")
    )
    assert (any_.lam < 0.5).any()
    assert torch.equal(largest.lam, torch.maximum(any_.lam, 1 - any_.lam))
    assert torch.equal(largest.perm, any_.perm)


def test_targets_without_classes_are_refused() -> None:
    (states, mask, y), f = texts(), Reader()
    soft = torch.nn.functional.one_hot(y, 4).double()
    with pytest.raises(AmpmixError, match="pairing is 'same'.*give class indices.*pairing=any"):
        POLICIES.parse("mixup[pairing=same]")(f, (states, mask), soft)
