"""MixText: texts with labels and texts with guessed ones, mixed with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix._torch.autograd import gradient_of
from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix._torch.precision import without_graph
from ampmix.mixing import Loss, interpolate_loss, mix, per_example, take_pairs
from ampmix.mixing.divergence import check_classes, kl, log_probabilities, sharpened
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import (
    check_alpha,
    check_amount,
    check_choice,
    check_draws,
    check_share,
    check_temperature,
)
from ampmix.policies._unlabelled import UnlabelledPolicy
from ampmix.policies.amp import max_op
from ampmix.policies.base import Mixed
from ampmix.policies.mixup import LAMS, rand_op


@dataclass(frozen=True)
class MixText(UnlabelledPolicy):
    """MixText (Chen et al. 2020), which is MixMatch (Berthelot et al. 2019) at a hidden layer.

    A text u without a label gets ``q_u``, the mean over `draws` dropout draws of p(g_u), sharpened:
    ``q_uc^(1/T)``, normalised, a constant; a text with one has q_i = y_i. All are mixed with each
    other, ``g'_i = lam g_i + (1 - lam) g_j`` and q' alike, with the larger of lam and 1 - lam.
    ``L_i = lam l(f(g'_i), q_i) + (1 - lam) l(f(g'_i), q_j)`` with a label,
    ``L_u = KL(q'_u || p(g'_u))`` without, and means over both are added, the latter times
    `unlabelled`.

    Args:
        alpha: lam ~ Beta(alpha, alpha), > 0.
        T: temperature of the guesses, > 0: 1 leaves them as they are, towards 0 they become one
            class each.
        draws: of dropout, >= 1.
        unlabelled: weight of the texts without a label, >= 0; with 0 they are not read, and this
            is ``mixup[lam=max]`` of the same alpha, as it is without such texts.
        ramp: share of the steps, in [0, 1], in which that weight rises from 0.
        eps: step of AMP's MaxOp on lam, >= 0 (:func:`ampmix.policies.amp.max_op`), of whose two
            losses each text keeps the larger; ours, 0 for none.
        lam: ``any`` keeps lam as it is drawn.
        site: where to mix.

    Cost: 3 passes of f without such texts; with them, each has ``draws`` more, and 3 more of `eps`.

    Departures: labels are guessed under dropout, as back-translated texts are not at hand; the
    paper's entropy term is left out, and its layer is not drawn (`site` is one).

    Raises:
        AmpmixError: for numbers out of range, or outputs or targets that are not of classes.

    >>> f, x = torch.nn.Linear(4, 3), torch.randn(8, 4)
    >>> mixed = MixText()(f, x, torch.randint(3, (6,)), unlabelled=2)
    >>> mixed.loss.shape, mixed.unlabelled.shape
    (torch.Size([6]), torch.Size([2]))
    """

    name: ClassVar[str] = "mixtext"
    rank: ClassVar[int] = 31
    without_unlabelled: ClassVar[str] = "mixup[lam=max]"
    needs_classes: ClassVar[bool] = True
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"lam": LAMS}
    alpha: float = 0.75
    T: float = 0.5
    draws: int = 2
    unlabelled: float = 1.0
    ramp: float = 0.0
    eps: float = 0.0
    lam: str = "max"
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_temperature(self.T)
        check_draws(self.draws)
        check_amount("unlabelled", self.unlabelled)
        check_share("ramp", self.ramp)
        check_amount("eps", self.eps)
        check_choice("lam", self.lam, LAMS)

    @property
    def changes(self) -> bool:
        """True if the weight of the texts without a label rises."""
        return self.ramp > 0

    def at(self, progress: float) -> MixText:
        """See :meth:`ampmix.policies.base.Policy.at`."""
        if progress >= self.ramp:
            return self
        return replace(self, unlabelled=self.unlabelled * progress / self.ramp, ramp=0.0)

    @uncompiled
    def _train_unlabelled(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
        guesses: Tensor | None,
    ) -> Mixed:
        n = y.shape[len(shape) - 1]
        targets = y if n == shape[-1] else self._targets(f, g, y, shape)
        lam, perm = rand_op(self.alpha, shape, g[0], generator, lam=self.lam)
        again = SameDraws(f, g[0])

        def losses(moved: Tensor, g: tuple[Tensor, ...]) -> Tensor:
            z = again(*(mix(x, moved, perm) for x in g))
            check_classes(z, y, shape, self.name)
            return _interpolated(loss, z, targets, lam, perm, n)

        moves: dict[str, Any] = {}
        kept = lam
        if self.eps:
            kept, moves = self._adversary(losses, lam, tuple(x.detach() for x in g))
        final, own = losses(kept, g), torch.arange(n, device=perm.device)
        partner = torch.where(perm[..., :n] < n, perm[..., :n], own)
        moves = {name: part[..., :n] for name, part in moves.items()}
        rest = self.unlabelled * final[..., n:] if n < shape[-1] else None
        return Mixed(final[..., :n], lam[..., :n], perm=partner, unlabelled=rest, **moves)

    def _targets(self, f: Head, g: tuple[Tensor, ...], y: Tensor, shape: torch.Size) -> Tensor:
        """Class probabilities of all texts, ``[..., B + U, C]``, those without a label guessed."""
        with without_graph():
            found = [
                log_probabilities(f.redrawn()(*copied(g)), y, shape, self.name)
                for _ in range(self.draws)
            ]
            guessed = sharpened(torch.stack(found).exp().mean(0).log(), self.T).exp()
        classes, n = guessed.shape[-1], y.shape[len(shape) - 1]
        known = y if y.is_floating_point() else F.one_hot(y, classes)
        return torch.cat([known.to(guessed), guessed[..., n:, :]], -2)

    def _adversary(
        self, losses: Any, lam: Tensor, g: tuple[Tensor, ...]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The lam of each text with the larger loss, and what MaxOp did."""
        with torch.enable_grad():
            moving = lam.clone().requires_grad_()
            level = losses(moving, g)
            lam_adv = max_op(lam, gradient_of(level, moving), self.eps)
        with without_graph():
            gain = losses(lam_adv, g) - level.detach()
        mask = gain > 0
        return torch.where(mask, lam_adv, lam), {"lam_adv": lam_adv, "mask": mask, "gain": gain}


@uncompiled
def _interpolated(
    loss: Loss, z: Tensor, targets: Tensor, lam: Tensor, perm: Tensor, n: int
) -> Tensor:
    """The loss of n mixed texts with a label, and the divergence of those without one."""
    if n == lam.shape[-1]:
        return interpolate_loss(loss, z, targets, lam, perm)
    partners, share = take_pairs(targets, perm), lam.to(targets.dtype).unsqueeze(-1)
    shape = (*lam.shape[:-1], n)
    own, other = (
        per_example(loss, z[..., :n, :], t[..., :n, :], shape) for t in (targets, partners)
    )
    mixture = torch.lerp(partners, targets, share)[..., n:, :].clamp(min=TINY).log()
    rest = kl(mixture, z[..., n:, :].to(targets.dtype).log_softmax(-1))
    return torch.cat([torch.lerp(other, own, lam[..., :n].to(own.dtype)), rest.to(own.dtype)], -1)


TINY = 1e-30  # of a class that a mixture has nothing of
