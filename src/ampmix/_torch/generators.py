"""Random generators of one batch, or of many batches at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ampmix.errors import AmpmixError


@dataclass(frozen=True)
class Ragged:
    """Generators of batches side by side that are not equally large, ``[S, B]``.

    Of batch s the first ``sizes[s]`` rows are examples, for which is drawn what would be drawn for
    them alone. The rows after them only fill up: they are their own partners, with a lam of 1.
    """

    generators: tuple[torch.Generator, ...]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.generators)


Choice = TypeVar("Choice")
Generators = torch.Generator | Sequence[torch.Generator] | Ragged | None
"""Where randomness comes from: one generator; one for each index of the leading axis, so that a
seed draws alike alone and beside others; or None for PyTorch's global one."""


def draw_each(
    draw: Callable[[Sequence[int], torch.Generator | None], Tensor],
    shape: Sequence[int],
    generator: Generators,
) -> Tensor:
    """Draw at once from one generator, or row by row from one for each leading index.

    So a seed draws alike alone and beside others. Rows of a :class:`Ragged` batch that only fill up
    get ones, or their own indices if `draw` gives integers.

    Args:
        draw: called with a shape and a generator, gives a tensor of that shape.
        shape: ``[..., B]``, or with further axes for several numbers an example.
        generator: see :data:`Generators`.

    Returns:
        A tensor of that shape.

    Raises:
        AmpmixError: unless there is a generator for each index of the leading axis.

    >>> def uniform(shape, generator):
    ...     return torch.rand(*shape, generator=generator)
    >>> one = draw_each(uniform, (4,), torch.Generator().manual_seed(0))
    >>> both = draw_each(uniform, (2, 4), [torch.Generator().manual_seed(s) for s in (0, 1)])
    >>> torch.equal(both[0], one)
    True
    """
    if generator is None or isinstance(generator, torch.Generator):
        return draw(shape, generator)
    if len(shape) < 2 or len(generator) != shape[0]:
        raise AmpmixError(
            f"{len(generator)} generators for a batch of shape {list(shape)}: "
            "give one, or one for each index of the leading axis"
        )
    if isinstance(generator, Ragged):
        pairs = zip(generator.generators, generator.sizes, strict=True)
        return torch.stack([_filled(draw((n, *shape[2:]), one), shape[1]) for one, n in pairs])
    return torch.stack([draw(shape[1:], one) for one in generator])


def standard_gamma(concentration: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw of Gamma(concentration, 1); PyTorch's public distribution takes no generator."""
    return torch._standard_gamma(concentration, generator=generator)


def drawn_one(choices: Sequence[Choice], generator: torch.Generator | None) -> Choice:
    """Draw one of several, each as likely; nothing is drawn where there is one.

    >>> drawn_one(["word"], None)
    'word'
    """
    if len(choices) == 1:
        return choices[0]
    device = None if generator is None else generator.device
    return choices[int(torch.randint(len(choices), (1,), generator=generator, device=device))]


def side_by_side(lam: Tensor) -> bool:
    """Return True if coefficients are those of several batches, ``[S, B]``, rather than of one."""
    return lam.dim() > 1


def _filled(drawn: Tensor, rows: int) -> Tensor:
    """Add rows that only fill up: ones, or indices of themselves if the numbers are integers."""
    n = len(drawn)
    if drawn.is_floating_point():
        return torch.cat([drawn, drawn.new_ones(rows - n, *drawn.shape[1:])])
    return torch.cat([drawn, torch.arange(n, rows, device=drawn.device)])
