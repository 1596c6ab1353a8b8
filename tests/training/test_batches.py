"""How batches are drawn, against what is said of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import ampmix
from ampmix.training.config import TrainConfig
from ampmix.training.step import POOL, orders

LENGTHS = np.random.default_rng(3).integers(1, 60, size=203)


def epoch(batches: str, seed: int = 0, size: int = 8) -> list[np.ndarray]:
    count = -(-len(LENGTHS) // size)
    config = TrainConfig(steps=count, batch_size=size, batches=batches)
    return list(orders(LENGTHS, config, seed))


@pytest.mark.parametrize("batches", ["random", "length"])
def test_an_epoch_has_every_text_once_and_the_smaller_batch_last(batches: str) -> None:
    found = epoch(batches)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(LENGTHS)))
    assert [len(batch) for batch in found] == [8] * 25 + [3]


def test_random_batches_are_those_of_one_permutation_an_epoch() -> None:
    from ampmix._support.random_streams import numpy_stream

    order = numpy_stream(0, "batches").permutation(len(LENGTHS))
    assert np.concatenate(epoch("random")).tolist() == order.tolist()


def test_batches_of_like_length_have_little_padding_and_other_company_each_epoch() -> None:
    def padded(found: list[np.ndarray]) -> int:
        return sum(int(LENGTHS[batch].max()) * len(batch) for batch in found)

    real = int(LENGTHS.sum())
    assert padded(epoch("length")) < real + 0.5 * (padded(epoch("random")) - real)
    config = TrainConfig(steps=52, batch_size=8, batches="length")
    both = [tuple(sorted(batch.tolist())) for batch in orders(LENGTHS, config, 0)]
    assert len(set(both[:26]) & set(both[26:])) < 3
    longest = [int(LENGTHS[list(batch)].max()) for batch in both[:25]]
    assert longest != sorted(longest)  # no curriculum from short to long


def test_only_texts_of_one_pool_are_sorted_together() -> None:
    from ampmix._support.random_streams import numpy_stream

    order = numpy_stream(0, "batches").permutation(len(LENGTHS))
    pools = [set(order[i : i + POOL * 8].tolist()) for i in range(0, len(order), POOL * 8)]
    for batch in epoch("length")[:-1]:
        own = set(batch.tolist())
        near = [a | b for a, b in itertools.pairwise([*pools, set()])]
        assert any(own <= pool for pool in near)


def test_encoders_are_trained_so_and_records_say_it() -> None:
    for spec, drawn in (("minilm", "length"), ("minilm[train_layers=1]", "length"),
                        ("minilm[freeze=true]", "random"), ("cnn", "random")):  # fmt: skip
        backbone = ampmix._support.components.parse_model(spec)  # type: ignore[attr-defined]
        config = TrainConfig.of(backbone)
        assert config.batches == drawn
        assert ("batches" in config.identity) == (drawn == "length")
