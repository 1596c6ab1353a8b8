"""Partners by class: of the same one, or of another."""

from __future__ import annotations

import torch
from torch import Tensor

from ampmix._torch.compiling import never_compiled
from ampmix._torch.generators import Generators, Ragged
from ampmix.errors import AmpmixError
from ampmix.mixing import uniform

PAIRINGS = ("any", "same", "other")


@never_compiled
def pair_by_class(
    y: Tensor, shape: torch.Size, pairing: str, generator: Generators = None
) -> tuple[Tensor, Tensor]:
    """Partners of a batch, and which of them are what `pairing` asks for.

    ``same`` takes a uniformly random cyclic order of
    each class. ``other`` sorts a random order by class and goes on by the size of the largest
    class, so that as many as possible have a partner of another: all, unless more than half of the
    batch are of one class.

    Args:
        y: class indices, of that shape.
        shape: the batch's, ``[..., B]``.
        pairing: ``same`` or ``other``.
        generator: source of randomness, see :data:`Generators`.

    Returns:
        A permutation, int64 ``[..., B]``, and booleans of that shape: false for a text that would
        be its own partner, or for which only its own class is left. Those are not to be mixed.

    Raises:
        AmpmixError: for targets that are not class indices.

    >>> y = torch.tensor([0, 1, 0, 1])
    >>> perm, found = pair_by_class(y, y.shape, "other", torch.Generator().manual_seed(0))
    >>> bool((y[perm] != y).all()), bool(found.all())
    (True, True)
    """
    if y.is_floating_point() or y.shape != shape:
        raise AmpmixError(
            f"pairing is {pairing!r}, which goes by class, and targets are {y.dtype} of shape "
            f"{list(y.shape)}: give class indices, one for each text, or pairing=any"
        )
    draw = uniform(shape, generator, y.device).reshape(-1, shape[-1])
    rows, sizes = y.reshape(draw.shape), [shape[-1]] * len(draw)
    if isinstance(generator, Ragged):
        sizes = list(generator.sizes)
    own = torch.arange(shape[-1], device=y.device)
    perm = own.repeat(len(draw), 1)
    for row, n in enumerate(sizes):  # rows that only fill up stay their own partners
        perm[row, :n] = _of_one_batch(rows[row, :n], draw[row, :n], pairing)
    perm = perm.reshape(shape)
    fits = y.gather(-1, perm) != y if pairing == "other" else perm != own
    return perm, fits


def _of_one_batch(y: Tensor, draw: Tensor, pairing: str) -> Tensor:
    """Partners of n texts, ``[n]``."""
    n = len(y)
    order = draw.argsort()
    order = order[y[order].argsort(stable=True)]
    place, classes = torch.arange(n, device=y.device), y[order]
    if pairing == "other":
        largest = (classes.unsqueeze(1) == classes).sum(1).max()
        following = (place + largest) % n
    else:
        first = torch.searchsorted(classes, classes)
        last = classes != torch.cat([classes[1:], classes[:1] - 1])
        last[-1] = True
        following = torch.where(last, first, place + 1)
    return torch.empty_like(order).scatter_(0, order, order[following])
