"""The arithmetic of mixing: coefficients, pairs, mixed hidden states, interpolated losses.

Pure functions of tensors. Equation numbers are those of Liu et al., "Adversarial Mixing Policy for
Relaxing Locally Linear Constraints in Mixup", EMNLP 2021. Throughout, a batch of B examples may
have any leading axes before it (seeds trained at once, say): shapes are written ``[..., B]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ampmix._torch.autograd import gradient_of
from ampmix._torch.compiling import never_compiled, uncompiled
from ampmix._torch.generators import Generators, Ragged, draw_each, standard_gamma
from ampmix.errors import AmpmixError


class Loss(Protocol):
    """A loss per example: any ``loss(logits, y)`` that returns ``[..., B]``, unreduced."""

    def __call__(self, logits: Tensor, y: Tensor, /) -> Tensor:
        """Return the loss of each example, ``[..., B]``."""


def cross_entropy(
    logits: Tensor, y: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of each example, in nats, at least in float32.

    In bfloat16 a loss is rounded to 0.4 %, four times what AMP's published step changes it by.

    Args:
        logits: ``[..., B, C]``.
        y: class indices ``[..., B]``, or class probabilities ``[..., B, C]``.
        weights: of the classes, ``[C]``; nothing is divided by their sum, so that the mean over a
            batch is divided by the number of its examples whatever they are.
        smoothing: share of a target that all classes get alike, in [0, 1] (Szegedy et al. 2016).

    Returns:
        ``[..., B]``.
    """
    flat_y = y.reshape(-1) if y.dim() < logits.dim() else y.reshape(-1, y.shape[-1])
    flat = _at_least_single(logits).reshape(-1, logits.shape[-1])
    if weights is not None:
        weights = weights.to(flat)
    values = F.cross_entropy(
        flat, flat_y, weight=weights, label_smoothing=smoothing, reduction="none"
    )
    return values.reshape(logits.shape[:-1])


@never_compiled  # compilers draw other numbers
def sample_lam(
    alpha: float,
    shape: Sequence[int],
    *,
    generator: Generators = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Mixing coefficients, lam ~ Beta(alpha, alpha), one per example (Eq. 10).

    Drawn as the sigmoid of a difference of two log-Gamma variables, with
    ``Gamma(a) = Gamma(a + 1) * U^(1/a)`` inside the logarithm, so that a tiny alpha (1e-3) gives
    zeros and ones rather than NaN; at ``alpha = 1`` as the uniform distribution that it is.

    Args:
        alpha: the shape of the Beta distribution, > 0.
        shape: ``[..., B]``.
        generator: source of randomness, see :data:`Generators`.
        device: where the result lives.
        dtype: its precision.

    Returns:
        A tensor of that shape in [0, 1].

    >>> lam = sample_lam(1.0, (50,), generator=torch.Generator().manual_seed(0))
    >>> lam.shape, bool((lam >= 0).all() and (lam <= 1).all())
    (torch.Size([50]), True)
    """

    def draw(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
        if alpha == 1.0:
            return torch.rand(*shape, generator=generator, device=device, dtype=dtype)
        concentration = torch.full((2, *shape), alpha + 1.0, device=device, dtype=dtype)
        boosted = standard_gamma(concentration, generator)
        u = 1.0 - torch.rand(2, *shape, generator=generator, device=device, dtype=dtype)
        log_gamma = boosted.log() + u.log() / alpha
        return torch.sigmoid(log_gamma[0] - log_gamma[1])

    return draw_each(draw, shape, generator)


@never_compiled
def uniform(
    shape: Sequence[int], generator: Generators, device: torch.device | str | None
) -> Tensor:
    """Uniform numbers in [0, 1) of a shape ``[..., B, *]``, in float32."""

    def draw(shape: Sequence[int], one: torch.Generator | None) -> Tensor:
        return torch.rand(*shape, generator=one, device=device)

    return draw_each(draw, shape, generator)


@never_compiled
def pair(
    shape: Sequence[int],
    *,
    generator: Generators = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Partners within a batch: `perm`, example i is mixed with example ``perm[i]`` (Section 3.2).

    A uniformly random cyclic order: a permutation in which nobody is paired with themselves, as
    "pairs it up with another sample" says. (A plain random permutation, common in public code,
    leaves one example a batch unmixed on average.) A batch of one has only itself.

    Args:
        shape: ``[..., B]``.
        generator: source of randomness, see :data:`Generators`.
        device: where the result lives.

    Returns:
        int64 of that shape; along the last axis a permutation of 0 .. B-1.

    >>> perm = pair((5,), generator=torch.Generator().manual_seed(0))
    >>> sorted(perm.tolist()), bool((perm == torch.arange(5)).any())
    ([0, 1, 2, 3, 4], False)
    """

    def draw(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    if isinstance(generator, Ragged):  # fillers must not come between a batch's own
        return draw_each(lambda *drawn: _cyclic(draw(*drawn)), shape, generator)
    return _cyclic(draw_each(draw, shape, generator))


def _cyclic(values: Tensor) -> Tensor:
    """The permutation that takes each of `values` to the next smaller, the first to the last."""
    order = values.argsort(dim=-1)
    return torch.empty_like(order).scatter_(-1, order, order.roll(1, dims=-1))


@uncompiled
def take_pairs(x: Tensor, perm: Tensor) -> Tensor:
    """``x[perm]`` along the batch axis: ``[..., B, *rest]`` by ``[..., B]`` gives the partners."""
    batch_dims = perm.dim()
    if batch_dims == 1:
        return x.index_select(0, perm)
    n = perm.shape[-1]
    rows = torch.arange(perm.numel() // n, device=perm.device).mul_(n).unsqueeze(-1)
    index = (perm.reshape(-1, n) + rows).reshape(-1)
    return x.flatten(0, batch_dims - 1).index_select(0, index).reshape(x.shape)


class _Mix(torch.autograd.Function):
    """``lam * x + (1 - lam) * x[perm]`` with a backward that only reads, adds and permutes.

    Autograd's own would add up the gradient of ``x[perm]`` into a zeroed tensor; as perm is a
    permutation, its inverse does the same by reading. Halves are mixed in float32: in bfloat16 a
    lam that AMP moved by 0.002 would be rounded back to where it was.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, lam: Tensor, perm: Tensor, partner: Tensor) -> Tensor:
        ctx.save_for_backward(x, lam, perm, partner)
        return blend(x, lam, partner)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, lam, perm, partner = ctx.saved_tensors
        weight = _beside(lam, x)
        grad = grads[0].to(weight.dtype)
        grad_x = grad_lam = None
        if ctx.needs_input_grad[0]:
            inverse = perm.argsort(dim=-1)
            partner_weight = _beside(take_pairs(1.0 - lam, inverse), x)
            grad_x = (grad * weight).addcmul_(take_pairs(grad, inverse), partner_weight).to(x.dtype)
        if ctx.needs_input_grad[1]:
            slope = (x.to(weight.dtype) - partner.to(weight.dtype)).mul_(grad)
            rest = tuple(range(lam.dim(), slope.dim()))
            grad_lam = (slope.sum(rest) if rest else slope).to(lam.dtype)
        return grad_x, grad_lam, None, None


def blend(x: Tensor, lam: Tensor, partner: Tensor) -> Tensor:
    """``lam * x + (1 - lam) * partner`` as :func:`mix` computes it, by PyTorch's own autograd."""
    weight = _beside(lam, x)
    return torch.lerp(partner.to(weight.dtype), x.to(weight.dtype), weight).to(x.dtype)


def _beside(lam: Tensor, x: Tensor) -> Tensor:
    """The lam with trailing axes to broadcast against x, in x's precision but at least float32."""
    beside = lam.reshape(lam.shape + (1,) * (x.dim() - lam.dim()))
    return beside.to(torch.promote_types(x.dtype, torch.float32))


def mix(x: Tensor, lam: Tensor, perm: Tensor, partner: Tensor | None = None) -> Tensor:
    """The mixed hidden state, ``lam * x + (1 - lam) * x[perm]`` (Eq. 11).

    lam is the weight of the UNPERMUTED example. Differentiable in x and lam, once. A boolean x is
    a mask and gives the union, ``x | x[perm]``: what either of two mixed sequences has is there.

    Args:
        x: ``[..., B, *rest]``, floating point or boolean.
        lam: ``[..., B]`` in [0, 1], or of x's shape: a coefficient for each element.
        perm: ``[..., B]``, from :func:`pair`.
        partner: ``take_pairs(x.detach(), perm)``, for those who mix the same x again.

    Returns:
        Shape and dtype of x. Half precisions are mixed in float32 and rounded once.

    >>> x = torch.tensor([[0.0], [10.0]])
    >>> mix(x, torch.tensor([0.75, 0.5]), torch.tensor([1, 0])).tolist()
    [[2.5], [5.0]]
    """
    if partner is None:
        partner = take_pairs(x.detach(), perm)
    if x.dtype == torch.bool:
        return x | partner
    if not x.is_floating_point():
        raise AmpmixError(
            f"cannot mix a tensor of {x.dtype}: mix floating-point hidden states (embed ids first)"
        )
    if not x.requires_grad:
        return blend(x, lam, partner)
    mixed: Tensor = _Mix.apply(x, lam, perm, partner)  # type: ignore[no-untyped-call]
    return mixed


def interpolate_loss(loss: Loss, logits: Tensor, y: Tensor, lam: Tensor, perm: Tensor) -> Tensor:
    """The Mixup loss of each example, ``lam * l(f, y) + (1 - lam) * l(f, y[perm])`` (Eq. 17).

    Interpolating losses rather than one-hot labels (Eq. 12) is the same for cross-entropy, and
    carries class weights, label smoothing, multi-label BCE and squared error along.

    Args:
        loss: any per-example loss.
        logits: ``[..., B, *]``.
        y: targets ``[..., B, *]``.
        lam: ``[..., B]``; a constant here: the label's lam is never perturbed nor differentiated.
        perm: ``[..., B]``.

    Returns:
        ``[..., B]``.

    Raises:
        AmpmixError: if the loss does not return one value per example.
    """
    y_partner = take_pairs(y, perm)
    if _is_plain(loss, logits, y):  # the same, of one softmax
        return -_labelled(_at_least_single(logits).log_softmax(-1), y, y_partner, lam)
    own = per_example(loss, logits, y, lam.shape)
    partner = per_example(loss, logits, y_partner, lam.shape)
    return torch.lerp(partner, own, lam.detach().to(own.dtype))


@uncompiled
def loss_and_slope(
    loss: Loss, logits: Tensor, slope: Tensor, y: Tensor, lam: Tensor, perm: Tensor
) -> tuple[Tensor, Tensor]:
    """:func:`interpolate_loss` and its derivative by the lam that the logits depend on (Eq. 16).

    ``d loss_i / d lam_i = sum_c d loss_i / d logits_ic * slope_ic``; of cross-entropy, with
    probabilities p, that is ``sum_c p_ic slope_ic - lam slope_iy - (1 - lam) slope_iy'``.

    Args:
        loss: see :func:`interpolate_loss`, as of y, lam and perm.
        logits: ``[..., B, C]``.
        slope: ``d logits / d lam``, of the same shape.
        y: targets.
        lam: coefficients of the labels.
        perm: partners.

    Returns:
        The losses and their derivatives, each ``[..., B]``, without a graph.
    """
    if not _is_plain(loss, logits, y):
        leaf = logits.detach().requires_grad_()
        with torch.enable_grad():
            losses = interpolate_loss(loss, leaf, y, lam, perm)
        towards = gradient_of(losses, leaf)
        return losses.detach(), (towards * slope).flatten(lam.dim()).sum(-1).to(lam.dtype)
    with torch.no_grad():
        y_partner = take_pairs(y, perm)
        log_p = _at_least_single(logits).log_softmax(-1)
        slope = slope.to(log_p.dtype)
        gradient = (log_p.exp() * slope).sum(-1) - _labelled(slope, y, y_partner, lam)
        return -_labelled(log_p, y, y_partner, lam), gradient.to(lam.dtype)


def _is_plain(loss: Loss, logits: Tensor, y: Tensor) -> bool:
    """Return True if the loss is unweighted cross-entropy with class indices."""
    return loss is cross_entropy and y.dim() == logits.dim() - 1


def _labelled(values: Tensor, y: Tensor, y_partner: Tensor, lam: Tensor) -> Tensor:
    """``lam * values[..., y] + (1 - lam) * values[..., y_partner]`` of ``[..., C]``."""

    def of_class(y: Tensor) -> Tensor:
        flat = values.reshape(-1, values.shape[-1])
        return F.nll_loss(flat, y.reshape(-1), reduction="none").reshape(y.shape)

    return -torch.lerp(of_class(y_partner), of_class(y), lam.detach().to(values.dtype))


def _at_least_single(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def per_example(loss: Loss, logits: Tensor, y: Tensor, shape: Sequence[int]) -> Tensor:
    """``loss(logits, y)``, or AmpmixError unless it has one value per example."""
    values = loss(logits, y)
    if values.shape != torch.Size(shape):
        raise AmpmixError(
            f"the loss has shape {list(values.shape)} where the batch has {list(shape)}: "
            'it must give one value per example (reduction="none")'
        )
    return values
