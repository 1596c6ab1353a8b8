"""Float32 matrix products on CPUs, by the faster of the two libraries that PyTorch brings.

PyTorch leaves them to Intel's MKL, which on AMD's processors uses vectors of 256 bits even where
they have 512: half the speed. oneDNN, which PyTorch brings as well and uses for convolutions and
bfloat16, takes what the processor has. Everywhere else, in all other precisions, and with
``torch.backends.mkldnn.flags(enabled=False)``, what is here is PyTorch's own.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ampmix._torch.autograd import wanted
from ampmix._torch.compiling import traced

PLAIN = (Tensor, nn.Parameter)
"""Tensor classes without behaviour of their own."""
ROWS = 32
"""Rows of :func:`padded_rows` are a multiple of this."""
TIMES = 16
"""Terms that :func:`sum_of_products` adds up by one product."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, as :func:`torch.nn.functional.linear`; differentiable once.

    Shapes: x ``[..., d]``, weight ``[h, d]`` (of either memory order), bias ``[h]``, result
    ``[..., h]``.

    >>> linear(torch.ones(2, 3), torch.eye(3)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    if not _wider(x, weight):
        return F.linear(x, weight, bias)
    # views, for the product to ask whether their gradients are wanted: leaves cannot be asked
    bias = None if bias is None else bias.view_as(bias)
    y: Tensor = _Linear.apply(x, weight.view_as(weight), bias)  # type: ignore[no-untyped-call]
    return y


def padded_rows(rows: int) -> int:
    """Round a row count up to a multiple of 32 where oneDNN multiplies.

    oneDNN compiles and caches code for every new shape, about 1 MB each, and the number of
    distinct words differs from batch to batch. Elsewhere the count stays as it is.
    """
    return -(-rows // ROWS) * ROWS if _has_wider() else rows


def add_products_(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``out += a @ b`` in place, without a graph, as :meth:`torch.Tensor.baddbmm_`.

    Shapes: out ``[n, B, h]``, a ``[n, B, d]``, b ``[n, d, h]``.
    """
    if not _wider(a, b):
        return out.baddbmm_(a, b)
    for own, x, weight in zip(out, a, b, strict=True):
        own += _product(x, weight)
    return out


def sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """``sum_t a[t].mT @ b[t]``, without a graph.

    Shapes: a ``[T, n, B, d]``, b ``[T, n, B, h]``, result ``[n, d, h]``.
    """
    if not _wider(a, b):
        return _in_a_row(a).mT @ _in_a_row(b)
    out = a.new_zeros(a.shape[1], a.shape[-1], b.shape[-1])
    for x, y in zip(a.split(TIMES), b.split(TIMES), strict=True):  # type: ignore[no-untyped-call]
        add_products_(out, _in_a_row(x).mT, _in_a_row(y))
    return out


def _in_a_row(x: Tensor) -> Tensor:
    """``[T, n, B, d]`` as ``[n, T * B, d]``."""
    return x.transpose(0, 1).flatten(1, 2)


def widen(module: nn.Module) -> None:
    """Let every ``nn.Linear`` inside multiply by :func:`linear`, if that is faster here.

    Weights, their names and what is saved of them stay as they are; layers of subclasses stay
    altogether. Second derivatives cannot be had through them. For every shape of a batch oneDNN
    keeps about as much memory as the layer's weights take, for 1,024 shapes at most: where lengths
    vary, start Python with ``ONEDNN_PRIMITIVE_CACHE_CAPACITY=64``.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> widen(net)
    >>> net(torch.randn(2, 4)).shape
    torch.Size([2, 3])
    """
    if _has_wider():
        for part in module.modules():
            if type(part) is nn.Linear:
                part.__class__ = _WideLinear


class _WideLinear(nn.Linear):
    """A linear layer that somebody else made, multiplying by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0]
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:  # x may be a leaf
            grad_x = _product(grad, weight)
        rows = grad.reshape(-1, grad.shape[-1])
        if wanted(ctx, 1):
            inputs = x.reshape(-1, x.shape[-1])
            if weight.is_contiguous():
                grad_weight = _product(rows.t(), inputs)
            else:  # in the memory order of the weight, for its gradient not to be copied
                grad_weight = _product(inputs.t(), rows).t()
        if ctx.needs_input_grad[2] and wanted(ctx, 2):
            grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b + bias`` by oneDNN."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return y


def _wider(*factors: Tensor) -> bool:
    """Return True if oneDNN may multiply these tensors and is faster.

    It may not under a compiler, a tracer, ``torch.func`` or autocast, nor for subclasses of
    tensors such as those sharded over processes.
    """
    return (
        not traced()
        and _has_wider()
        and all(type(f) in PLAIN for f in factors)
        and all(f.dtype == torch.float32 and f.is_cpu and f.numel() > 0 for f in factors)
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and torch._C._functorch.peek_interpreter_stack() is None
    )


@cache
def _has_wider() -> bool:
    """Return True on AMD processors with AVX-512 if PyTorch has both MKL and oneDNN.

    The two are not timed: the results of a run must not depend on how busy the machine is.
    """
    return (
        torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _vendor() == "AuthenticAMD"
    )


def _vendor() -> str:
    """Vendor of the processor, such as ``AuthenticAMD``."""
    told = platform.processor()  # on Windows it ends in the vendor
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            told = next((line for line in lines if line.startswith("vendor_id")), told)
    except OSError:
        pass
    return told.split()[-1] if told.split() else ""
