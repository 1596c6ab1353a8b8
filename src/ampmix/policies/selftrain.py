"""Self-training: a model labels the texts that have no label, and the next learns from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix.errors import AmpmixError
from ampmix.mixing import Loss
from ampmix.mixing.divergence import log_probabilities, sharpened
from ampmix.mixing.heads import Head
from ampmix.policies._options import check_amount, check_rounds, check_temperature
from ampmix.policies._unlabelled import UnlabelledPolicy, labelled_and_not
from ampmix.policies.base import Mixed


@dataclass(frozen=True)
class SelfTrain(UnlabelledPolicy):
    """Self-training on soft labels (Scudder 1965; Lee 2013; sharpened as in MixMatch).

    A teacher trains on the labelled texts alone. Then, `rounds` times, a model begins anew and
    minimises ``mean_i l(f(g_i), y_i) + unlabelled mean_u -sum_c q_uc log p_c(g_u)``, where
    ``q_uc`` is the teacher's ``p_c^(1/T)``, normalised, and is the next one's teacher. The last
    is the model.

    Args:
        rounds: how often, >= 1.
        T: temperature of the labels, > 0: 1 leaves them as they are, towards 0 they become one
            class each.
        unlabelled: weight of the texts without a label, >= 0; with 0 they are not read.

    Cost: 3 passes of f a step, and ``1 + rounds`` times the steps. A step has as many unlabelled
    texts as labelled ones.

    Departures: papers drop labels of which the teacher is unsure, or draw as many of each class;
    soft labels weigh a text by how sure it is. Each model begins from the same weights, as none of
    another policy does; teachers do not read the test set.

    Raises:
        AmpmixError: for numbers out of range, texts without a label and without guesses, or
            outputs or targets that are not of classes.

    >>> f, guesses = torch.nn.Linear(4, 3), torch.tensor([[0.6, 0.4, 0.0], [0.2, 0.3, 0.5]])
    >>> x, y = torch.randn(8, 4), torch.randint(3, (6,))
    >>> SelfTrain()(f, x, y, unlabelled=2, guesses=guesses).unlabelled.shape
    torch.Size([2])
    """

    name: ClassVar[str] = "selftrain"
    rank: ClassVar[int] = 30
    without_unlabelled: ClassVar[str] = "none"
    pairs: ClassVar[bool] = False
    rounds: int = 2
    T: float = 0.5
    unlabelled: float = 1.0

    def __post_init__(self) -> None:
        check_rounds(self.rounds)
        check_temperature(self.T)
        check_amount("unlabelled", self.unlabelled)

    @property
    def teachers(self) -> int:
        """See :attr:`ampmix.policies.base.Policy.teachers`."""
        return self.rounds if self.uses_unlabelled else 0

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
        logits, extra = f(*g), shape[-1] - y.shape[len(shape) - 1]
        further = torch.zeros(shape, device=y.device)
        if extra and guesses is None:
            raise AmpmixError(
                f"policy {self.name} learns from what a teacher makes of the {extra} unlabelled "
                "texts: give guesses, a probability for each class"
            )
        if extra and guesses is not None:
            log_p = log_probabilities(logits, y, shape, self.name)[..., -extra:, :]
            q = sharpened(guesses.to(log_p).clamp(min=TINY).log(), self.T).exp()
            further = torch.cat([further[..., :-extra].to(log_p), -(q * log_p).sum(-1)], -1)
        return labelled_and_not(logits, y, loss, further, shape, self.unlabelled)


TINY = 1e-30  # of a probability that a teacher has rounded to nothing
