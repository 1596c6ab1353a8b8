"""BatchNorm counts a batch once, as one pass of a model at lam would, whatever the policy runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AMP, Mixed, MixStep, Mixup, NoMixup


class Net(nn.Module):
    """Normalisation before the site, at it and after it."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=momentum))
        self.site = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, momentum=momentum))
        self.after = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(6, 5, 3),
            nn.BatchNorm2d(5, momentum=momentum),
            nn.InstanceNorm2d(5, track_running_stats=True),
        )
        self.last = nn.Sequential(nn.BatchNorm1d(5, momentum=momentum), nn.Linear(5, 3))

    def before(self, x: Tensor) -> Tensor:
        return self.site(self.first(x).relu())

    def rest(self, h: Tensor) -> Tensor:
        return self.last(self.after(h).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.before(x))


def batch(seed: int = 1, n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        3.0 + 2.0 * torch.randn(n, 1, 9, 9, generator=generator),
        torch.randint(3, (n,), generator=generator),
    )


def once(net: Net, x: Tensor, mixed: Mixed) -> None:
    """One pass at lam, naive."""
    g = net.before(x)
    rows = [lam * g[i] + (1 - lam) * g[int(mixed.perm[i])] for i, lam in enumerate(mixed.lam)]
    net.rest(torch.stack(rows))


UNCOUNTED = "after.3.num_batches_tracked"
"""PyTorch's InstanceNorm has this buffer and never counts."""

POLICIES = [
    NoMixup(),
    Mixup(),
    AMP(),
    AMP(eps=0.9, direction="sign"),
    AMP(eps=0.5, min_op=False),
    AMP(eps=0.5, shared_dropout=False),
]


@pytest.mark.parametrize("momentum", [0.1, None], ids=["moving", "cumulative"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_running_statistics_are_those_of_one_pass(policy: Any, momentum: float | None) -> None:
    net = Net(momentum)
    naive = copy.deepcopy(net)
    draws: list[Mixed] = []
    step = MixStep(net, policy, site="site", on_mixed=draws.append)
    for number in (1, 2, 3):
        x, y = batch(number)
        step(x, labels=y).loss.backward()
        once(naive, x, draws[-1])
        for (name, ours), theirs in zip(net.named_buffers(), naive.buffers(), strict=True):
            if name.endswith("num_batches_tracked") and name != UNCOUNTED:
                assert int(ours) == number, name
            assert torch.allclose(ours, theirs, atol=1e-5), name
    assert len(list(net.buffers())) == 15
    assert all(module.training for module in net.modules())
    normal = [m for m in net.modules() if hasattr(m, "track_running_stats")]
    assert all(m.track_running_stats for m in normal)


def test_min_op_ran_a_third_pass_among_these() -> None:
    """With eps = 0.9 and signs some rows keep lam, for which AMP runs f once more."""
    draws: list[Mixed] = []
    step = MixStep(Net(), POLICIES[3], site="site", on_mixed=draws.append)
    passes = []
    step.model.last.register_forward_hook(lambda *_: passes.append(1))
    for number in (1, 2, 3):
        x, y = batch(number)
        step(x, labels=y)
    assert any(not bool(mixed.mask.all()) for mixed in draws)
    assert len(passes) > 6


def test_frozen_statistics_stay() -> None:
    net = Net()
    for module in net.modules():
        if hasattr(module, "track_running_stats"):
            module.eval()
    before = [buffer.clone() for buffer in net.buffers()]
    x, y = batch()
    MixStep(net, AMP(eps=0.1), site="site")(x, labels=y).loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), before, strict=True))


@pytest.mark.parametrize("site", ["first.0", "first.1", "after:input", "last:input", "last.0"])
def test_statistics_count_a_batch_once_at_every_site(site: str) -> None:
    net = Net()
    x, y = batch()
    MixStep(net, AMP(eps=0.9), site=site)(x, labels=y).loss.backward()
    counts = {n: int(b) for n, b in net.named_buffers() if n.endswith("num_batches_tracked")}
    assert counts.pop(UNCOUNTED) == 0
    assert set(counts.values()) == {1}


def test_evaluation_uses_them_and_leaves_them() -> None:
    net = Net()
    step = MixStep(net, AMP(eps=0.1), site="site")
    x, y = batch()
    step(x, labels=y).loss.backward()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    step.eval()
    alone = step(x[:1])
    assert torch.allclose(alone, step(x)[:1], atol=1e-5)
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())
