"""Every option of every policy and backbone changes what training gives, with every backbone.

An option that did nothing would compare a thing with itself. What one changes may depend
on another (``min_op`` at a small ``eps``), so each is tried with every other one at its default and
at its alternatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampmix import AmpmixError, TrainConfig, fit
from ampmix._support.components import find
from ampmix.backbones.base import Backbone
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.policies.base import Policy
from every_backbone import every_backbone

WORDS = [f"word{i}" for i in range(12)]
TEXTS = tuple(" ".join(WORDS[(i * k) % 12] for k in range(1, 3 + i % 5)) for i in range(1, 41))
DATA = TextDataset("toy", ("a", "b"), Examples(TEXTS, [i % 2 for i in range(40)]))
OTHERS = tuple(" ".join(WORDS[(i * k) % 12] for k in range(2, 6)) for i in range(1, 12))
CONFIG = TrainConfig(steps=3, batch_size=8, lr=0.05, eval_every=3, max_length=8)


def alternatives(component: Any, option: str, default: Any, given: Any) -> list[Any]:
    """Other values of an option: those that its class or the test declares, else by its type."""
    declared = {**component.choices, **given}
    if option in declared:
        return [value for value in declared[option] if value != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default + 3, 2 * default]
    if isinstance(default, float):
        return [value for value in (0.25, 0.5) if value != default]
    assert isinstance(default, tuple), f"{component.name} declares no choices of {option}"
    return [default[:-1]]


def contexts(component: Any, option: str, given: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of components that differ in the option alone."""
    for other in fields(component):
        values = alternatives(component, other.name, getattr(component, other.name), given)
        for base in (component, *changed(component, other.name, values)):
            own = getattr(base, option)
            for one in changed(base, option, alternatives(component, option, own, given)):
                yield base, one


def changed(component: Any, option: str, values: list[Any]) -> Iterator[Any]:
    for value in values:
        try:
            yield replace(component, **{option: value})
        except AmpmixError:
            continue  # refused with this context


def trained(backbone: Backbone, policy: Policy) -> bytes:
    """What three steps of training make of the test part, with texts that have no labels."""
    split = split_train(DATA, 0, dev_fraction=0.2)
    split = replace(split, test=split.dev, test_indices=split.dev_indices, unlabelled=OTHERS)
    return fit(backbone, policy, split, CONFIG, 0).test_probabilities.tobytes()


def found(component: Any, option: str, given: Any, train: Any) -> bool:
    """True once two components that differ in the option alone train differently."""
    for base, one in contexts(component, option, given):
        try:
            if train(base) != train(one):
                return True
        except AmpmixError:
            continue
    return False


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    draws = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("vectors") / "few.txt"
    path.write_text("".join(f"{w} {' '.join(map(str, draws.normal(size=8)))}\n" for w in WORDS[:8]))
    return str(path)


def backbones() -> list[Any]:
    return [pytest.param(one, id=one.name) for one in every_backbone()]


POLICY_OPTIONS = [
    pytest.param(cls, field.name, id=f"{cls.name}-{field.name}")
    for cls in find("ampmix.policies").values()
    for field in fields(cls)
]
BACKBONE_OPTIONS = [
    pytest.param(one, field.name, id=f"{one.name}-{field.name}")
    for one in every_backbone()
    for field in fields(one)
]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", backbones(), indirect=True)
@pytest.mark.parametrize(("cls", "option"), POLICY_OPTIONS)
def test_every_option_of_a_policy_changes_training(
    cls: Any, option: str, backbone: Backbone
) -> None:
    given = {"site": backbone.all_sites}
    assert found(cls(), option, given, lambda policy: trained(backbone, policy))


@pytest.mark.parametrize(("backbone", "option"), BACKBONE_OPTIONS, indirect=["backbone"])
def test_every_option_of_a_backbone_changes_training(
    backbone: Any, option: str, vectors: str, folders: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    policy = find("ampmix.policies")["mixup"](site="sent")
    given = {
        "vectors": ("", vectors),
        "model": (folders["bert"], folders["roberta"]),
        "train_layers": (0, 1, 2),
    }
    assert found(backbone, option, given, lambda one: trained(one, policy))


def test_an_option_that_does_nothing_is_found() -> None:
    mixup = find("ampmix.policies")["mixup"]()
    assert not found(mixup, "alpha", {"site": ("word", "sent")}, lambda _: b"always the same")
