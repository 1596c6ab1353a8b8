"""Non-linear Mixup: a coefficient for every element, and a label policy that is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, mix, pair, sample_lam, take_pairs
from ampmix.mixing.heads import Head
from ampmix.policies._options import check_alpha
from ampmix.policies.base import Headed, Mixed
from ampmix.policies.parametric import ParametricLearner, ParametricPolicy


@dataclass(frozen=True)
class NonlinearMixup(ParametricPolicy):
    """Non-linear Mixup (Guo, AAAI 2020), a reconstruction: no code was released.

    ``x = Lam * x_i + (1 - Lam) * x_j`` with ``Lam ~ Beta(alpha, alpha)`` for every element of the
    word embeddings; ``y = phi * l_i + (1 - phi) * l_j`` with ``phi = sigmoid(W vec(x) + b)`` and
    fixed orthonormal label embeddings l; the loss is ``1 - cos(f(x), y)``, and the label predicted
    is the one whose embedding is nearest in cosine. W and b train with the model.

    f is trained by angles alone, so that the probabilities of the model that is left (the softmax
    of its outputs' products with the label embeddings) order the classes rightly, while how sure
    they are was never trained: do not read them as frequencies.

    Args:
        alpha: Lam ~ Beta(alpha, alpha), > 0.
        label_dim: width of the label embeddings, and so of f's output: at least the number of
            classes, or 0 for that number.
        site: where to mix. Guo's is ``embedding``, true word embeddings: TextCNN's ``word``
            hands out convolved ones, which element by element is something else. The AMP paper
            calls it "the non-linear version of SentMixup": that is ``site="sent"``.

    What is reported as lam is the mean of an example's coefficients: there is no single one.

    Raises:
        AmpmixError: for alpha <= 0, a label_dim below the number of classes, a loss other than its
            own, targets that are not class indices, or a call without :meth:`prepare`.

    >>> policy = NonlinearMixup()
    >>> learner = policy.prepare((7, 4), classes=3)
    >>> f = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28, policy.outputs(3)))
    >>> mixed = learner(f, torch.randn(8, 7, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    >>> learner.weight.grad.shape
    torch.Size([3, 7, 4])
    """

    name: ClassVar[str] = "nonlinear"
    rank: ClassVar[int] = 3
    own_loss: ClassVar[str] = "1 - cosine"
    alpha: float = 1.0
    label_dim: int = 0
    site: str = "embedding"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.label_dim < 0:
            raise AmpmixError(f"label_dim is {self.label_dim}: it must be 0 or more")

    @property
    def needs_indices(self) -> bool:
        """True: label embeddings are looked up."""
        return True

    @property
    def reference_name(self) -> str:
        """``nonlinear-mixup`` with the defaults, else ""."""
        return "nonlinear-mixup" if self == NonlinearMixup() else ""

    def outputs(self, classes: int) -> int:
        """Return the width of the label embeddings."""
        if 0 < self.label_dim < classes:
            raise AmpmixError(
                f"label_dim is {self.label_dim} with {classes} classes, which cannot be "
                f"orthogonal: give at least {classes}, or 0 for that number"
            )
        return self.label_dim or classes

    def prepare(
        self, shape: Sequence[int], classes: int, generator: torch.Generator | None = None
    ) -> LabelPolicy:
        """The label policy and label embeddings for hidden states up to `shape`."""
        return LabelPolicy(self, shape, classes, generator)


class LabelPolicy(ParametricLearner):
    """Non-linear Mixup in one run.

    Parameters: ``weight [d_l, *shape]`` and ``bias [d_l]``, drawn as those of a linear layer.
    Buffer: ``labels [C, d_l]``, orthonormal rows, uniformly random.

    The weight has a place for every element of the longest hidden state, as ``vec(x)`` needs a
    fixed length: shorter ones count as zero there, and what is longer does not reach the label
    policy (the model still sees all of it).
    """

    policy: NonlinearMixup
    labels: Tensor

    def __init__(
        self,
        policy: NonlinearMixup,
        shape: Sequence[int],
        classes: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(policy)
        width, bound = policy.outputs(classes), math.prod(shape) ** -0.5

        def uniform(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=generator))

        self.weight, self.bias = uniform(width, *shape), uniform(width)
        self.register_buffer("labels", orthonormal(classes, width, generator))

    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        """Return the losses; f gives ``[..., B, d_l]`` outputs."""
        self._check(y)
        perm = pair(shape, generator=generator, device=g[0].device)
        coefficients = [self._coefficients(part, shape, generator) for part in g]
        mixed = [mix(x, lam, perm) for x, lam in zip(g, coefficients, strict=True)]
        outputs = f(*mixed)
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))

        own = F.embedding(y, self.labels).to(outputs.dtype)
        phi = self.label_weights(mixed, len(shape)).to(outputs.dtype)
        target = torch.lerp(take_pairs(own, perm), own, phi)
        values = 1 - F.cosine_similarity(outputs, target, dim=-1)
        lam = coefficients[0].reshape(*shape, -1).mean(-1)
        return Mixed(values, lam, perm=perm)

    def label_weights(self, mixed: Sequence[Tensor], batch_dims: int) -> Tensor:
        """``phi = sigmoid(W vec(x) + b)`` of a mixed hidden state, ``[..., B, d_l]``."""
        x = _without_padding(mixed).to(self.weight.dtype)
        length = min(x.shape[batch_dims], self.weight.shape[1])
        weight, x = self.weight.narrow(1, 0, length), x.narrow(batch_dims, 0, length)
        return torch.sigmoid(F.linear(x.flatten(batch_dims), weight.flatten(1), self.bias))

    def scores(self, outputs: Tensor) -> Tensor:
        """Products with the label embeddings: of one output, the largest has the nearest cosine."""
        return outputs @ self.labels.T.to(outputs)

    def fold(self, model: Headed) -> None:
        """Give its head an output for each class instead of ``d_l``: :meth:`scores` is linear."""
        head = model.head
        with torch.no_grad():
            head.weight = nn.Parameter(self.labels @ head.weight)
            if head.bias is not None:
                head.bias = nn.Parameter(self.labels @ head.bias)
        head.out_features = len(self.labels)

    def _coefficients(self, x: Tensor, shape: torch.Size, generator: Generators) -> Tensor:
        """Draw a coefficient for each element of x, at least in float32; one example keeps all."""
        if not x.is_floating_point() or shape[-1] == 1:
            return torch.ones(x.shape, device=x.device)
        dtype = torch.promote_types(x.dtype, torch.float32)
        return sample_lam(
            self.policy.alpha, x.shape, generator=generator, device=x.device, dtype=dtype
        )

    def _check(self, y: Tensor) -> None:
        """Raise AmpmixError unless targets are class indices, whose embeddings are looked up."""
        if y.is_floating_point():
            raise AmpmixError(
                f"policy nonlinear was given targets of {y.dtype}: it needs class indices"
            )


def orthonormal(rows: int, width: int, generator: torch.Generator | None = None) -> Tensor:
    """Orthonormal rows in uniformly random directions, ``[rows, width]``, rows <= width.

    >>> e = orthonormal(3, 5)
    >>> torch.allclose(e @ e.T, torch.eye(3), atol=1e-6)
    True
    """
    noise = torch.randn(width, rows, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(noise)
    rows_of_q: Tensor = (q * r.diagonal().sign()).T.float().contiguous()
    return rows_of_q


def _without_padding(mixed: Sequence[Tensor]) -> Tensor:
    """The first part, zero where no part of the mask is true (the mask: the first boolean part).

    Not every model's padding is zero, and how much of it there is depends on the batch's company.
    """
    x = mixed[0]
    for mask in mixed[1:]:
        if mask.dtype == torch.bool:
            present = mask if mask.dim() < x.dim() else mask.any(-1)
            return x * present.unsqueeze(-1)
    return x
