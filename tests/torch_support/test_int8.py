"""Linear layers in int8 beside the same whole numbers written out in float64."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix._torch import int8
from ampmix._torch.int8 import BLOCK, ROWS, Int8Linear, in_int8, levels

LARGEST = levels()


def textbook(linear: nn.Linear, largest: Tensor, x: Tensor) -> Tensor:
    """Row by row, block by block: W s and x / s rounded to whole numbers, multiplied, scaled."""
    weight = linear.weight.detach()
    even = (largest.clamp(min=1e-8) / weight.abs().amax(0).clamp(min=1e-8)).sqrt().clamp(1e-4, 1e4)
    columns = weight.shape[1]
    blocks = next(n for n in range(1, columns + 1) if columns % n == 0 and columns / n <= BLOCK)
    out = torch.zeros(len(x), len(weight), dtype=torch.float64)
    for w, rows in zip((weight * even).chunk(blocks, 1), (x / even).chunk(blocks, 1), strict=True):
        scale = (w.abs().amax(1) / LARGEST).double()
        whole = (w.double() / scale.unsqueeze(1)).round()
        for i, row in enumerate(rows.double()):
            low, high = min(row.min().item(), 0.0), max(row.max().item(), 0.0)
            step = max(high - low, 1e-8) / 255
            zero = round(-low / step)
            bytes_ = (row / step + zero).round().clamp(0, 255)
            out[i] += (whole @ (bytes_ - zero)) * step * scale
    return out + (0 if linear.bias is None else linear.bias.detach().double())


@pytest.mark.parametrize(
    ("columns", "outputs", "rows", "bias"),
    [(48, 40, 7, True), (384, 48, 33, False), (1536, 32, ROWS, True), (520, 16, 1, True)],
)
def test_a_layer_is_the_one_written_out(columns: int, outputs: int, rows: int, bias: bool) -> None:
    """Where a value lies half-way between two bytes, one of them differs: 1 in a thousand."""
    torch.manual_seed(0)
    linear, x = nn.Linear(columns, outputs, bias=bias), torch.randn(rows, columns)
    x[:, 3] *= 30
    x = x.abs() if rows == 1 else x
    own = Int8Linear(linear, x.abs().amax(0))
    expected = textbook(linear, x.abs().amax(0), x)
    spread = expected.std()
    assert (own(x) - expected).abs().mean() < 2e-4 * spread
    assert own(x.view(1, rows, columns)).shape == (1, rows, outputs)
    error = (own(x) - linear(x)).abs().mean()
    assert 0 < error < 0.02 * linear(x).std()


def test_large_columns_are_evened_out() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(200, 64)
    x[:, 5] *= 300
    linear.weight.data[:, 5] /= 300
    known, unknown = x.abs().amax(0), torch.ones(64)
    errors = [(Int8Linear(linear, seen)(x) - linear(x)).abs().mean() for seen in (known, unknown)]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize(("columns", "blocks"), [(384, 1), (520, 2), (1536, 3), (1031, 1)])
def test_blocks_are_few_and_equal(columns: int, blocks: int) -> None:
    own = Int8Linear(nn.Linear(columns, 4), torch.ones(columns))
    assert len(own._blocks) == blocks
    x = torch.randn(3, columns)
    assert own(x).shape == (3, 4)


def test_rows_of_zeros_and_one_constant_are_exact_enough() -> None:
    linear = nn.Linear(16, 8)
    own = Int8Linear(linear, torch.ones(16))
    x = torch.stack([torch.zeros(16), torch.full((16,), 3.0), torch.full((16,), -3.0)])
    torch.testing.assert_close(own(x), linear(x), atol=0.05, rtol=0.02)


class Subclass(nn.Linear):
    pass


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), Subclass(64, 64), nn.Linear(64, 4)).eval()


def test_a_copy_is_made_and_what_is_kept_stays() -> None:
    net, x = network(), torch.randn(50, 32)
    made = in_int8(net, lambda whole: whole(x), keep=["3"])
    assert [type(part) for part in made] == [Int8Linear, nn.GELU, Subclass, nn.Linear]
    assert type(net[0]) is nn.Linear and not net[0]._forward_pre_hooks
    torch.testing.assert_close(made(x), net(x), atol=0.05, rtol=0)
    assert not torch.equal(made(x), net(x))
    again = copy.deepcopy(made)
    assert torch.equal(again(x), made(x))


def test_a_layer_that_is_not_called_stays() -> None:
    net, x = network(), torch.randn(5, 32)
    made = in_int8(net, lambda whole: whole[0](x))
    assert type(made[0]) is Int8Linear and type(made[3]) is nn.Linear


def test_threads_share_a_model() -> None:
    net, x = network(), torch.randn(500, 32)
    made, found = in_int8(net, lambda whole: whole(x)), dict[int, Any]()
    expected = [made(part) for part in x.split(50)]

    def read(i: int) -> None:
        found[i] = made(x.split(50)[i])

    threads = [threading.Thread(target=read, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], expected[i]) for i in range(10))


def test_what_vnni_has_is_127_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, most in ((True, 127), (False, 63)):
        monkeypatch.setattr(int8, "is_fast", lambda there=there: there)
        assert levels() == most
