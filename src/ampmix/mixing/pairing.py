"""Partners by class, of the same one or of another, and partners that are near."""

from __future__ import annotations

import torch
from torch import Tensor

from ampmix._torch.compiling import never_compiled
from ampmix._torch.generators import Generators, Ragged
from ampmix.errors import AmpmixError
from ampmix.mixing import uniform
from ampmix.mixing.words import mean_word

BY_CLASS = ("same", "other")
PAIRINGS = ("any", *BY_CLASS, "near")


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


@never_compiled
def pair_near(
    g: tuple[Tensor, ...], shape: torch.Size, generator: Generators = None
) -> tuple[Tensor, Tensor]:
    """Partners of a batch that are near each other, and which texts have one.

    In a uniformly random order each text takes the nearest of those that none has taken yet, by the
    Euclidean distance of the means over their words. So partners are a permutation, as mixing needs
    them to be, and late texts take what is left; the last may be left with itself.

    Args:
        g: the parts of the hidden states, ``[..., B, *]``; the first of floating point counts.
        shape: the batch's, ``[..., B]``.
        generator: source of the order.

    Returns:
        As :func:`pair_by_class`.

    >>> x = torch.tensor([[0.0], [5.0], [0.1], [5.1]])
    >>> pair_near((x,), torch.Size([4]), torch.Generator().manual_seed(0))[0].tolist()
    [2, 3, 0, 1]
    """
    x = next(part for part in g if part.is_floating_point()).detach().float()
    x = mean_word(g, x, len(shape))
    rows = x.reshape(-1, shape[-1], x.shape[len(shape) :].numel())
    far = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").cpu()
    draw = uniform(shape, generator, x.device).reshape(far.shape[:2]).cpu()
    sizes = generator.sizes if isinstance(generator, Ragged) else [shape[-1]] * len(draw)
    own = torch.arange(shape[-1])
    perm = own.repeat(len(draw), 1)
    for row, n in enumerate(sizes):
        perm[row, :n] = _nearest(far[row, :n, :n], draw[row, :n])
    return perm.reshape(shape).to(x.device), (perm != own).reshape(shape).to(x.device)


def _nearest(far: Tensor, draw: Tensor) -> Tensor:
    """Partners of n texts by their distances ``[n, n]``, ``[n]``."""
    far, perm = far.clone().fill_diagonal_(torch.inf), torch.arange(len(far))
    for i in draw.argsort().tolist():
        if bool(far[i].isinf().all()):  # its own is left alone
            continue
        perm[i] = j = int(far[i].argmin())
        far[:, j] = torch.inf
    return perm
