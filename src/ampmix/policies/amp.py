"""The Adversarial Mixing Policy: WordAMP and SentAMP (RandOp, MaxOp, MinOp)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.autograd import gradient_of
from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, side_by_side
from ampmix._torch.precision import unit_of, without_graph
from ampmix._torch.random_state import random_state
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy, interpolate_loss, mix
from ampmix.mixing.heads import Head, partners_of
from ampmix.policies._amp_passes import Passes, elementwise
from ampmix.policies._options import check_choice, check_steps
from ampmix.policies.base import Mixed, decides_on_device
from ampmix.policies.mixup import MixesPairs

DIRECTIONS = ("gradient", "sign")
PER = ("example", "element")


def amp_reference(
    f: Callable[[Tensor], Tensor],
    g: Tensor,
    y: Tensor,
    lam: Tensor,
    perm: Tensor,
    eps: float = 0.002,
    loss: Loss = cross_entropy,
    clip_lam: bool = True,
) -> Tensor:
    """Return AMP's loss of each example, written as the paper writes it (Eqs. 11-21).

    This is the algorithm; :class:`AMP` below gives the same losses to the bit with fewer passes of
    f (``docs/decisions/0009-passes-of-amp.md``), and the tests hold it to this. lam and the pairs
    are drawn beforehand (RandOp, Eq. 10: :func:`ampmix.sample_lam` and :func:`ampmix.pair`). f must
    be free of randomness.

    Args:
        f: maps hidden states ``[B, *]`` to logits ``[B, C]``.
        g: hidden states ``[B, *]`` at the site.
        y: class indices ``[B]``.
        lam: coefficients ``[B]``.
        perm: the partner of each example ``[B]``.
        eps: step size of MaxOp, >= 0.
        loss: a loss per example, from logits and targets.
        clip_lam: keep lam_adv in [0, 1]; the paper does not say so.

    Returns:
        ``[B]``.

    >>> f, g, y = torch.nn.Linear(4, 3), torch.randn(8, 4), torch.randint(3, (8,))
    >>> lam, perm = torch.rand(8), torch.randperm(8)
    >>> amp_reference(f, g, y, lam, perm, eps=0.1).shape
    torch.Size([8])
    """
    hidden_lam = lam.clone().requires_grad_()  # the hidden state's lam; the label's is constant
    loss_rand = interpolate_loss(loss, f(mix(g, hidden_lam, perm)), y, lam, perm)  # Eqs. 11-14, 17
    grad = gradient_of(loss_rand, hidden_lam, retain_graph=True)  # of the sum of the losses
    lam_adv = torch.add(lam, grad.clamp(-1.0, 1.0), alpha=eps)  # MaxOp, Eqs. 15, 16
    lam_adv = lam_adv.clamp(0.0, 1.0) if clip_lam else lam_adv
    loss_adv = interpolate_loss(loss, f(mix(g, lam_adv, perm)), y, lam, perm)
    return torch.where(loss_adv > loss_rand, loss_adv, loss_rand)  # MinOp, Eqs. 18-21


@uncompiled
def max_op(
    lam: Tensor, grad: Tensor, eps: float, direction: str = "gradient", clip_lam: bool = True
) -> Tensor:
    """MaxOp: move lam up the loss, ``clip(lam + eps * clip(grad, -1, 1), 0, 1)`` (Eqs. 15, 16).

    Args:
        lam: coefficients ``[..., B]``.
        grad: ``d loss_i / d lam_i`` through the hidden state alone, ``[..., B]``, of the SUM of
            the per-example losses, so that it does not depend on the batch size.
        eps: largest change of lam, >= 0 (the paper: 0.002).
        direction: ``gradient`` as published (no sign, no normalisation), or ``sign``, which moves
            every lam by eps, as FGSM would.
        clip_lam: keep lam_adv in [0, 1], so that it stays a weight. The outer clip is ours: the
            paper clips the gradient alone.

    Returns:
        lam_adv, ``[..., B]``, a constant.

    >>> max_op(torch.tensor([0.5, 1.0]), torch.tensor([-9.0, 0.3]), eps=0.1).tolist()
    [0.4000000059604645, 1.0]
    """
    step = grad.sign() if direction == "sign" else grad.clamp(-1.0, 1.0)
    moved = torch.add(lam, step, alpha=eps).detach()
    return moved.clamp_(0.0, 1.0) if clip_lam else moved


@uncompiled
def min_op(loss: Tensor, loss_adv: Tensor, gain: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """MinOp: keep the larger of the two losses of each example (Eqs. 18-21).

    Args:
        loss: at lam, ``[..., B]``.
        loss_adv: at lam_adv.
        gain: ``loss_adv - loss`` where it is known more precisely than these losses are.

    Returns:
        The final loss ``[..., B]`` and the mask, true where `loss_adv` was the larger. The mask is
        a constant: no gradient goes through the comparison.
    """
    mask = loss_adv.detach() > loss.detach() if gain is None else gain > 0
    return torch.where(mask, loss_adv, loss), mask


@dataclass(frozen=True)
class AMP(MixesPairs):
    """Adversarial Mixing Policy (Liu et al., EMNLP 2021, Eqs. 10-21).

    RandOp mixes as :class:`~ampmix.Mixup`; MaxOp moves the hidden state's lam, never the label's,
    up the gradient of the loss; MinOp trains on the larger of the losses before and after.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        eps: step size of MaxOp, >= 0. The published 0.002 changes losses by about 0.1 %;
            ``eps=0`` is Mixup to the bit.
        site: ``word`` (WordAMP), ``sent`` (SentAMP), ``layer.K``, or several; see
            :class:`~ampmix.Mixup`.
        min_op: false trains on the perturbed loss alone (the ablation "+MaxOp" of Table 4).
        direction: ``gradient`` as published, or ``sign`` (see :func:`max_op`).
        shared_dropout: both forward passes of a step draw the same dropout masks: those drawn
            before them (:meth:`ampmix.mixing.heads.Head.redrawn`), or PyTorch's random state
            replayed. Otherwise MinOp chooses between two dropout draws, whose
            difference is about 100 times what eps = 0.002 causes. The paper is silent on it.
        clip_lam: keep lam_adv in [0, 1] (see :func:`max_op`); false for the paper's letter.
        pairing, lam, until: as of :class:`~ampmix.Mixup`.
        steps: of MaxOp, >= 1: each adds ``eps / steps * clip(gradient, -1, 1)``, the gradient taken
            where the one before ended; ours, 1 in the paper.
        per: ``example`` as published, or ``element``: each element of the hidden state has a lam
            that MaxOp moves by its own gradient; ours, always with shared dropout.

    Cost: where no row of a batch has a lower loss at lam_adv, beyond what rounding decides, Eq. 19
    is the loss at lam_adv alone, and one backward pass through it does; the graph at lam is gone by
    then. In our runs that was so in every batch, at eps = 0.002 and at 0.05. Else the pass at lam
    is repeated, with its dropout, for the rows that keep it. So a step costs 5 passes of f forward
    (a backward one counting for two) where Mixup's costs 3, and takes no more memory. Batches side
    by side on a GPU are not waited for: each row's lam is chosen there before the one pass with a
    graph, 6 passes in all. It is one less where f knows how its logits change with lam
    (:attr:`ampmix.mixing.heads.Head.knows_slope`), as our backbones' do where but a maximum and a
    linear layer are left.

    Departures from the authors' released code, which departs from the paper: the gradient is that
    of the sum, not the mean, of the losses (a mean would divide eps by the batch size), and there
    is no re-weighting by a running z-score.

    :func:`amp_reference` is the same without these savings, which
    ``docs/decisions/0009-passes-of-amp.md`` explains and measures.

    The two passes run f twice: an f that updates running statistics (BatchNorm) does so twice.

    Raises:
        AmpmixError: for alpha <= 0, eps < 0, an unknown direction, or an f whose loss does not
            depend on the mixed hidden state (its gradient would be zero without a word).

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = AMP(eps=0.1)(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    >>> bool(((mixed.lam_adv - mixed.lam).abs() <= 0.1 + 1e-6).all())
    True
    """

    name: ClassVar[str] = "amp"
    printed_whatever: ClassVar[frozenset[str]] = frozenset({"site", "clip_lam"})
    rank: ClassVar[int] = 2
    printed: ClassVar[bool] = True
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "direction": DIRECTIONS,
        "per": PER,
        **MixesPairs.choices,
    }
    alpha: float = 1.0
    eps: float = 0.002
    site: str = "word"
    min_op: bool = True
    direction: str = "gradient"
    shared_dropout: bool = True
    clip_lam: bool = True
    pairing: str = "any"
    lam: str = "any"
    until: float = 1.0
    steps: int = 1
    per: str = "example"

    def __post_init__(self) -> None:
        self._check_pairs()
        check_steps(self.steps)
        check_choice("per", self.per, PER)
        if not 0 <= self.eps < float("inf"):
            raise AmpmixError(f"eps is {self.eps}: it must be 0 or above (the paper uses 0.002)")
        check_choice("direction", self.direction, DIRECTIONS)

    @uncompiled
    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        lam, perm = self._drawn_pairs(g, y, shape, generator)
        if self.per == "element":
            losses = partial(interpolate_loss, loss, y=y, lam=lam, perm=perm)
            move = partial(max_op, eps=self.eps / self.steps, direction=self.direction)
            move = partial(move, clip_lam=self.clip_lam)
            return elementwise(f, g, losses, lam, perm, move, self.steps, self.min_op)
        repeatable = self.shared_dropout or not self.min_op
        state = random_state(g[0]) if self.shared_dropout and not f.knows_slope else None
        passes = Passes(f, y, loss, lam, perm, partners_of(g, perm), self.shared_dropout, state)
        # a pass that can be repeated is run for lam's gradient alone
        hidden = tuple(part.detach() for part in g) if repeatable else g
        loss_rand, level, grad = passes.at(hidden, lam, retain_graph=not repeatable)
        unit = unit_of((x.dtype for x in (level, *g) if x.is_floating_point()), level.device)
        lam_adv = max_op(lam, grad, self.eps / self.steps, self.direction, self.clip_lam)
        for _ in range(self.steps - 1):
            grad = passes.at(tuple(part.detach() for part in g), lam_adv, retain_graph=False)[2]
            lam_adv = max_op(lam_adv, grad, self.eps / self.steps, self.direction, self.clip_lam)

        if self.min_op and repeatable and decides_on_device(lam):
            with without_graph():
                gain = passes.again(hidden, lam_adv)[1] - level
            keeps = _keeps(gain, _lower(gain, level, unit))
            final, _ = passes.again(g, torch.where(keeps, lam_adv, lam))
            return Mixed(final, lam, lam_adv, gain > 0, perm, gain)
        loss_adv, level_adv = passes.again(g, lam_adv)
        gain = level_adv - level
        if not self.min_op:
            everywhere = torch.ones_like(lam, dtype=torch.bool)
            return Mixed(loss_adv, lam, lam_adv, everywhere, perm, gain)
        if repeatable:
            lower = _lower(gain, level, unit)
            if not f.any_process_has(lower):
                return Mixed(loss_adv, lam, lam_adv, gain > 0, perm, gain)
            loss_rand, level = passes.again(g, lam)
        final, mask = min_op(loss_rand, loss_adv, level_adv - level)
        if repeatable and side_by_side(lam):  # each batch goes by its own rows
            final = torch.where(_keeps(gain, lower), loss_adv, loss_rand)
        return Mixed(final, lam, lam_adv, mask, perm, gain)


@uncompiled
def _lower(gain: Tensor, loss: Tensor, unit: float) -> Tensor:
    """Return True for rows whose loss is lower at lam_adv by more than rounding, ``[..., B]``.

    Two losses within 8 units in the last place, of the precision that f computes in, are one
    number computed twice.
    """
    return gain < loss.abs() * (-8 * unit)


@uncompiled
def _keeps(gain: Tensor, lower: Tensor) -> Tensor:
    """Return True for rows that keep the loss at lam_adv: all of a batch without `lower` rows."""
    return (gain > 0) | ~lower.any(-1, keepdim=True)
