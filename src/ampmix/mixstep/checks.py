"""Check that a model's site is reached and can be mixed, on the first batches."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError
from ampmix.mixstep.autograd_graph import graph_behind, nodes_of, passed_by
from ampmix.mixstep.batch_inputs import Inputs
from ampmix.mixstep.passes import REENTRANT, Call, Cut, Passes
from ampmix.mixstep.probe import Finding, probed
from ampmix.mixstep.sharding import communicates
from ampmix.mixstep.site import Site
from ampmix.policies.base import Mixed

PROBED = 3
"""How many batches are tried, unless one of them has masks that hide something."""

AROUND = (
    "site {}: part of what is computed of a text reaches the loss around it, unmixed{}, while its "
    "label is mixed in full; ampmix.sites(model, batch) lists where all of it passes"
)

NOT_UNITED = (
    "site {}: {} says where each text has tokens, and is not united for mixed texts, so that a "
    "longer partner is cut: give masks=[{}] (or padding_masks=, if it is true where there is none)"
)


@uncompiled
class Check:
    """The checks of a step, and how often they are still to be made.

    Args:
        mixes: whether the step's policy does, so that there is something to warn of.
    """

    def __init__(self, mixes: bool) -> None:
        self.left, self.mixes = PROBED, mixes
        self._told: set[str] = set()

    def try_out(self, step: nn.Module, cut: Cut, call: Call, inputs: Inputs, logits: str) -> None:
        """Learn from a batch how the model is cut, and warn of what goes around the site.

        Not where passes communicate: processes would have to try equally many batches. There the
        autograd graph has to do.

        Raises:
            AmpmixError: if the site is not reached, or nothing at it can be mixed.
        """
        if not self.left or inputs.batch < 2 or communicates(step):
            return
        self.left -= 1
        for mask in inputs.masks.values():
            if not bool(mask.present.all()):
                self.left = 0
        try:
            finding = probed(cut, call, inputs, logits)
        except AmpmixError:
            raise
        except Exception:  # a model that cannot be evaluated on a batch for training
            return
        if finding is not None:
            cut.learned = finding.learned
            self._tell(cut.site, finding)

    def _tell(self, site: Site, finding: Finding) -> None:
        names = ", ".join(map(repr, finding.masks))
        if finding.masks:
            self._warn(NOT_UNITED.format(site, " and ".join(finding.masks), names))
        if not finding.whole and (finding.around or not finding.masks):
            given = f" ({', '.join(finding.around)})" if finding.around else ""
            self._warn(AROUND.format(site, given))

    def _warn(self, message: str) -> None:
        if self.mixes and message not in self._told:
            self._told.add(message)
            warnings.warn(message, stacklevel=2)

    def reached(
        self,
        step: nn.Module,
        g: tuple[Tensor, ...],
        mixed: Mixed,
        passes: Passes,
        shards: list[str],
    ) -> None:
        """Check that the loss depends on the mixed hidden states."""
        loss, site = mixed.loss, passes.cut.site
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
        if not communicates(step):
            return
        earlier = nodes_of(recorded.value for recorded in passes.memory.recorded())
        if passed_by(hidden, seen, earlier):
            if shards and mixed.moved:
                raise AmpmixError(
                    f"site {site} lies inside {shards[-1]}, which fully_shard wraps, and part of "
                    "what that is given goes around the site: give fully_shard smaller modules, or "
                    "mix where all of it passes (ampmix.sites(model, batch) lists where)"
                )
            self._warn(AROUND.format(site, ""))


@uncompiled
def traceable(g: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the hidden states with each floating-point one part of an autograd graph.

    None of them a leaf of it: models may change what they are given in place.
    """
    found = []
    for x in g:  # no comprehension: it would be compiled
        lacks = x.is_floating_point() and not x.requires_grad
        found.append(x.detach().requires_grad_().clone() if lacks else x)
    return tuple(found)
