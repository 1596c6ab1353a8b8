"""Positions of the hidden states in what arrives at a site, and their axis of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.trees import Path
from ampmix.errors import AmpmixError
from ampmix.mixstep.site import Site


@dataclass(eq=False)
class Learned:
    """Knowledge that the first batches gave of a model that is cut (:mod:`ampmix.mixstep.probe`).

    Attributes:
        axes: by the number of a leaf at the site, the axis that counts examples; leaves that are
            not among them hold nothing of a text. None if that is not known.
        leaves: how many there are.
        made: what is made of masks alone, by the path of a module that ended before the site and
            the number of its call: numbers of leaves of what it gave.
        site_made: likewise of the site itself.
        aside: masks of another part of the model, which are not united.
        draws: whether random numbers are drawn between the modules before the site; None if that
            is not known.
    """

    axes: Mapping[int, int] | None = None
    leaves: int = 0
    made: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    site_made: set[int] = field(default_factory=set)
    aside: set[Path] = field(default_factory=set)
    draws: bool | None = None


@uncompiled
def batch_axis(x: Tensor, batch: int, given: int | None) -> int | None:
    """The axis that counts examples: the one given, or else the first; None if it cannot be."""
    axis = 0 if given is None else given
    if not -x.dim() <= axis < x.dim() or x.shape[axis] != batch:
        return None
    return axis % x.dim()


@uncompiled
def places_of(
    site: Site, leaves: Sequence[Any], batch: int, learned: Learned, given: int | None
) -> dict[int, int]:
    """The positions of the hidden states at a site, and the axis of each that counts examples.

    Where nothing was learned they are what is floating point and has a gradient. If nothing has
    one, all before the site being frozen: all of an output, the first of an input (masks that a
    model has made for its layers come after it).

    Raises:
        AmpmixError: if nothing can be mixed.
    """
    floating = [
        i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    if not floating:
        kinds = {str(x.dtype).removeprefix("torch.") for x in leaves if isinstance(x, Tensor)}
        raise AmpmixError(
            f"site {site} has no floating-point tensor to mix, but "
            f"{', '.join(sorted(kinds)) or 'no tensor at all'}: mix behind the embedding of ids"
        )
    if learned.axes and learned.leaves == len(leaves):
        known = {i: axis for i, axis in learned.axes.items() if i in floating}
        if all(batch_axis(leaves[i], batch, axis) is not None for i, axis in known.items()):
            return known
    places = [i for i in floating if leaves[i].requires_grad] or (
        floating[:1] if site.side == "input" else floating
    )
    found = {i: batch_axis(leaves[i], batch, given) for i in places}
    for i, axis in found.items():
        if axis is None:
            raise AmpmixError(no_axis(site, leaves[i], batch, given))
    return {i: axis for i, axis in found.items() if axis is not None}


@uncompiled
def no_axis(site: Site, x: Tensor, batch: int, given: int | None) -> str:
    """The message that hidden states do not count examples where they should."""
    where = "begin with" if given is None else f"have at axis {given}"
    return (
        f"site {site} has a tensor of shape {list(x.shape)}, which does not {where} the batch's "
        f"{batch} examples: mix at a site that does (ampmix.sites lists shapes), or say which axis "
        "counts them (batch_dim=)"
    )
