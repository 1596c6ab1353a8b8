"""Check that a model's site is reached and can be mixed."""

from __future__ import annotations

import warnings

from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError
from ampmix.mixstep.autograd_graph import graph_behind, nodes_of, passed_by
from ampmix.mixstep.passes import REENTRANT, Passes
from ampmix.mixstep.site import Site
from ampmix.policies.base import Mixed


@uncompiled
def _traceable(g: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the hidden states with each floating-point one part of an autograd graph."""
    return tuple(
        x.detach().requires_grad_() if x.is_floating_point() and not x.requires_grad else x
        for x in g
    )


@uncompiled
def _check_reached(
    site: Site, g: tuple[Tensor, ...], mixed: Mixed, passes: Passes, shards: list[str]
) -> None:
    """Check that the loss depends on the mixed hidden states, and on nothing around them."""
    loss = mixed.loss
    if not loss.requires_grad:
        return
    hidden = nodes_of(g)
    seen = graph_behind([loss.grad_fn], stop=hidden)
    if any(type(node).__name__.startswith("CheckpointFunction") for node in seen):
        raise AmpmixError(REENTRANT)
    if not hidden & seen:
        raise AmpmixError(
            f"what site {site} gives does not reach the loss, so that mixing it would change "
            "nothing but the labels: choose a site that the logits depend on"
        )
    if passed_by(hidden, seen, nodes_of(passes.recorded.values())):
        if shards and mixed.moved:
            raise AmpmixError(
                f"site {site} lies inside {shards[-1]}, which fully_shard wraps, and part of what "
                "that is given goes around the site: give fully_shard smaller modules, or mix "
                "where all of it passes (ampmix.sites(model, batch) lists where)"
            )
        warnings.warn(
            f"site {site}: part of what is computed before it reaches the loss around it, unmixed, "
            "as by a residual connection; ampmix.sites(model, batch) lists where all of it passes",
            stacklevel=2,
        )
