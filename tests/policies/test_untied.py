"""Untied mixing against a plain loop, and its ends."""

from __future__ import annotations

import pytest
import torch

from ampmix import Mixup
from ampmix._support.components import POLICIES
from naive_texts import Reader, rng, surprise, texts


@pytest.mark.parametrize("kept", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("larger", ["max", "any"])
@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_untied_equals_the_loop(kept: float, larger: str, alpha: float) -> None:
    (states, mask, y), f = texts(9), Reader()
    policy = POLICIES.parse(f"untied[kept={kept},lam={larger},alpha={alpha}]")
    mixed = policy(f, (states, mask), y, generator=rng(2))
    drawn = Mixup(alpha=alpha)(f, (states, mask), y, generator=rng(2)).lam
    for i, j in enumerate(mixed.perm.tolist()):
        own = drawn[i].item()
        if larger == "max":
            own = max(own, 1 - own)
        assert mixed.lam[i].item() == own
        z = f((own * states[i] + (1 - own) * states[j])[None], (mask[i] | mask[j])[None])[0]
        label = own + kept * (1 - own)
        expected = label * surprise(z, y[i]) + (1 - label) * surprise(z, y[j])
        assert mixed.loss[i].item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_partners_label_does_not_matter_where_the_own_one_is_kept() -> None:
    (states, mask, y), f = texts(9), Reader()
    mixed = POLICIES.parse("untied")(f, (states, mask), y, generator=rng(2))
    i = 0
    others = (y + 1) % 4
    others[i] = y[i]
    again = POLICIES.parse("untied")(f, (states, mask), others, generator=rng(2))
    assert torch.equal(again.loss[i], mixed.loss[i])
    assert not torch.equal(again.loss, mixed.loss)
