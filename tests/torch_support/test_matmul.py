"""Float32 products by oneDNN: equal to float64's, only where they may be, and no wasted ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AMP, Mixup, NoMixup
from ampmix._torch import matmul
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.text_cnn import TextCNN
from ampmix.policies import mixup
from tiny_encoders import TINY

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="this PyTorch has no oneDNN",
)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The faster products whatever the processor; the list says which were taken."""
    taken: list[tuple[int, ...]] = []
    product = matmul._product

    def noted(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        taken.append((*a.shape, b.shape[-1]))
        return product(a, b, bias)

    monkeypatch.setattr(matmul, "_has_wider", lambda: True)
    monkeypatch.setattr(matmul, "_product", noted)
    return taken


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def strided(x: Tensor) -> Tensor:
    """The same numbers, none beside the other."""
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), torch.nan)
    wide[..., ::2] = x
    return wide[..., ::2]


def turned(x: Tensor) -> Tensor:
    return x.t().contiguous().t()


INPUTS: dict[str, Callable[[], Tensor]] = {
    "rows": lambda: randn(5, 7),
    "one row": lambda: randn(1, 7),
    "no rows": lambda: randn(0, 7),
    "a vector": lambda: randn(7),
    "texts": lambda: randn(3, 5, 7),
    "texts turned": lambda: randn(5, 3, 7).transpose(0, 1),
    "strided": lambda: strided(randn(5, 7)),
    "one row many times": lambda: randn(1, 7).expand(5, 7),
    "subnormal": lambda: randn(5, 7) * 1e-39,
    "many": lambda: randn(700, 7),
}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("order", [Tensor.contiguous, turned], ids=["rows", "columns"])
@pytest.mark.parametrize("kind", INPUTS)
def test_linear_equals_float64(kind: str, order: Any, biased: bool, wide: list[Any]) -> None:
    x, weight = INPUTS[kind](), order(randn(9, 7, seed=1))
    bias = randn(9, seed=2) if biased else None
    exact = [None if part is None else part.double() for part in (x, weight, bias)]
    found, expected = [], []
    for parts, multiply, results in (
        (exact, F.linear, expected),
        ((x, weight, bias), matmul.linear, found),
    ):
        leaves = [part.detach().requires_grad_() for part in parts if part is not None]
        y = multiply(*leaves)
        to = randn(*y.shape, seed=3).to(y.dtype)
        results += [y, *torch.autograd.grad((y * to).sum(), leaves)]
    assert bool(wide) is (len(x) > 0)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=2e-6, atol=2e-5)


def test_a_gradient_that_is_one_number_everywhere(wide: list[Any]) -> None:
    """What sum() hands back has no memory of its own for each element."""
    x, weight = randn(5, 7).requires_grad_(), randn(9, 7, seed=1).requires_grad_()
    matmul.linear(x, weight).sum().backward()
    assert wide
    torch.testing.assert_close(x.grad, weight.detach().sum(0).expand(5, 7))
    torch.testing.assert_close(weight.grad, x.detach().sum(0).expand(9, 7))


@pytest.mark.parametrize("order", [Tensor.contiguous, turned], ids=["rows", "columns"])
def test_the_weights_gradient_lies_in_memory_as_the_weights_do(order: Any, wide: list[Any]) -> None:
    weight = order(randn(9, 7)).requires_grad_()
    matmul.linear(randn(5, 7), weight).sum().backward()
    assert wide
    assert weight.grad is not None
    assert weight.grad.stride() == weight.stride()


def test_no_gradient_is_computed_that_nobody_asked_for(wide: list[Any]) -> None:
    """A pass for lam's gradient alone must not multiply for the weights' gradients."""
    x, weight, bias = (randn(*s).requires_grad_() for s in ((5, 7), (9, 7), (9,)))
    y = matmul.linear(x, weight, bias)
    assert wide == [(5, 7, 9)]
    torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert wide == [(5, 7, 9), (5, 9, 7)]
    torch.autograd.grad(y.sum(), weight)
    assert len(wide) <= 4, "the weights' gradient, and at most x's: x is a leaf"
    wide.clear()
    matmul.linear(x.detach(), weight, bias).sum().backward()
    assert len(wide) == 2


def test_nothing_is_remembered_without_a_graph(wide: list[Any]) -> None:
    weight = randn(9, 7).requires_grad_()
    with torch.no_grad():
        assert not matmul.linear(randn(5, 7), weight).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(matmul.linear(randn(5, 7), weight), randn(5, 7) @ weight.T)
    assert len(wide) == 2


def test_batched_products(wide: list[Any]) -> None:
    a, b, out = randn(2, 5, 7), randn(2, 7, 9, seed=1), randn(2, 5, 9, seed=2)
    expected = torch.bmm(a.double(), b.double())
    added = matmul.add_products_(out, a, b.transpose(1, 2).contiguous().transpose(1, 2))
    assert added is out
    torch.testing.assert_close(
        out.double(), randn(2, 5, 9, seed=2) + expected, rtol=1e-6, atol=1e-5
    )
    assert len(wide) == 2


@pytest.mark.parametrize("times", [1, matmul.TIMES, matmul.TIMES + 1, 3 * matmul.TIMES + 5])
def test_sums_of_products_come_in_few_shapes(times: int, wide: list[Any]) -> None:
    """oneDNN keeps memory for every shape, and texts have many lengths."""
    a, b = randn(times, 2, 5, 7), randn(times, 2, 5, 9, seed=1)
    expected = torch.einsum("tnbd,tnbh->ndh", a.double(), b.double())
    found = matmul.sum_of_products(a, b)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    inner = {shape[1] for shape in wide}
    assert inner <= {5 * matmul.TIMES, 5 * (times % matmul.TIMES)}


@pytest.mark.parametrize("backbone", [TextCNN(20, (2, 3), 8), BiLSTMAttention(20, 16)], ids=str)
def test_batches_of_other_words_come_in_few_shapes(backbone: Any, wide: list[Any]) -> None:
    texts = [" ".join(f"w{i}" for i in range(n)) for n in range(1, 65)]
    reader = backbone.reader(texts, "words", 64)
    model = backbone.build(reader, 3, torch.Generator().manual_seed(0)).eval()
    encoded = reader.encode(texts, [0] * len(texts))
    for i in range(len(texts)):
        ids, mask, _ = (torch.from_numpy(part) for part in encoded.batch([i]))
        model(ids, mask)
    rows = {shape[0] for shape in wide if shape[1] == 20}
    assert {32, 64} <= rows <= {32, 64, 96}


def test_rows_are_filled_only_where_they_are_multiplied_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wider, expected in ((True, [0, 32, 32, 64]), (False, [0, 1, 32, 33])):
        monkeypatch.setattr(matmul, "_has_wider", lambda wider=wider: wider)
        assert [matmul.padded_rows(rows) for rows in (0, 1, 32, 33)] == expected


# --- where it is not taken -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_pytorchs(dtype: torch.dtype, wide: list[Any]) -> None:
    x, weight = randn(5, 7).to(dtype), randn(9, 7).to(dtype)
    assert torch.equal(matmul.linear(x, weight), F.linear(x, weight))
    out, parts = torch.zeros(1, 5, 9, dtype=dtype), (x[None], weight.T[None])
    assert torch.equal(matmul.add_products_(out, *parts), torch.bmm(*parts))
    assert torch.equal(matmul.sum_of_products(x[None, None], x[None, None])[0], x.T @ x)
    assert not wide


def test_autocast_is_pytorchs(wide: list[Any]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert matmul.linear(randn(5, 7), randn(9, 7)).dtype == torch.bfloat16
    assert not wide


def test_pytorchs_own_switch_is_heard(wide: list[Any]) -> None:
    before = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        matmul.linear(randn(5, 7), randn(9, 7))
    finally:
        torch._C._set_mkldnn_enabled(before)
    assert not wide


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_what_is_traced_has_common_operations(wide: list[Any]) -> None:
    traced = torch.jit.trace(matmul.linear, (randn(5, 7), randn(9, 7)), check_trace=False)
    assert "aten::linear" in str(traced.graph)
    assert not wide


def test_transformations_of_functions_are_pytorchs(wide: list[Any]) -> None:
    """Gradients of each example, say."""
    x, weight = randn(5, 7), randn(9, 7)

    def loss(weight: Tensor, row: Tensor) -> Tensor:
        return matmul.linear(row, weight).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    expected = 2 * torch.einsum("bh,bd->bhd", x @ weight.T, x)
    torch.testing.assert_close(each, expected)
    assert not wide


def test_tensors_of_other_kinds_are_left_to_themselves(wide: list[Any]) -> None:
    class Kind(Tensor):
        """What several processes hold together, say."""

    assert type(matmul.linear(randn(5, 7).as_subclass(Kind), randn(9, 7))) is Kind
    assert not wide


@pytest.mark.parametrize(
    ("vendor", "vectors", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
        ("", "AVX512", False),
    ],
)
def test_which_processors_it_is_for(
    vendor: str, vectors: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert matmul._has_wider.__wrapped__() is expected


def test_the_vendor_is_one_word() -> None:
    assert len(matmul._vendor().split()) <= 1


# --- in the backbones ----------------------------------------------------------------------------


def models() -> list[Any]:
    return [TextCNN(20, (2, 3), 8), BiLSTMAttention(20, 16), Encoder(model=TINY)]


@pytest.mark.parametrize("site", ["embedding", "word", "sent"])
@pytest.mark.parametrize("policy", [NoMixup, Mixup, AMP], ids=lambda p: p.name)
@pytest.mark.parametrize("backbone", models(), ids=lambda b: b.name, indirect=True)
def test_backbones_train_as_in_float64(
    backbone: Any, policy: Any, site: str, wide: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and all gradients of a step, against the same model in PyTorch's float64."""
    drawn = torch.tensor([0.2, 0.9, 0.4, 0.7])  # in each precision others would be
    monkeypatch.setattr(mixup, "sample_lam", lambda *_, dtype, **__: drawn.to(dtype))
    texts = ["what is a film ?", "who made it and why did they", "no", "where is it"]
    reader = backbone.reader(texts, "words", 32)
    encoded = reader.encode(texts, [0, 1, 2, 0])
    ids, mask, y = (torch.from_numpy(part) for part in encoded.batch(range(4)))
    results = []
    for dtype in (torch.float32, torch.float64):
        model = backbone.build(reader, 3, torch.Generator().manual_seed(0)).eval().to(dtype)
        matmul.widen(model)  # of an encoder, which is not by itself
        f, g = model.cut(ids, mask, site)
        own = policy() if policy is NoMixup else policy(site=site)
        loss = own(f, g, y, generator=torch.Generator().manual_seed(1)).loss
        parameters = [p for p in model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
        results.append([loss.detach(), *(grad for grad in grads if grad is not None)])
        assert bool(wide) is (dtype == torch.float32)
        wide.clear()
    for single, double in zip(*results, strict=True):
        scale = max(float(double.abs().max()), 1e-3)
        assert float((single.double() - double).abs().max()) < 2e-4 * scale


def test_widen_changes_how_linear_layers_multiply_and_nothing_else(wide: list[Any]) -> None:
    class Odd(nn.Linear):
        """Somebody's own."""

    net = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), Odd(9, 4), nn.Linear(4, 2, bias=False))
    x, before = randn(5, 7), {name: value.clone() for name, value in net.state_dict().items()}
    expected = net(x)
    assert not wide
    matmul.widen(net)
    assert type(net[2]) is Odd
    assert isinstance(net[0], nn.Linear)
    assert net.state_dict().keys() == before.keys()
    torch.testing.assert_close(net(x), expected)
    assert len(wide) == 2


def test_nothing_is_widened_where_it_is_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_has_wider", lambda: False)
    net = nn.Linear(7, 9)
    matmul.widen(net)
    assert type(net) is nn.Linear
