"""Runs of a model that show what its submodules give, for :func:`ampmix.sites`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.trees import leaves
from ampmix.errors import AmpmixError
from ampmix.mixstep.autograd_graph import depending, graph_behind, nodes_of, passed_by
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs
from ampmix.mixstep.intercept import intercepted
from ampmix.mixstep.model_parts import logits_of
from ampmix.mixstep.passes import Call, Cut
from ampmix.mixstep.probe import alike, whole_at
from ampmix.mixstep.site import Site

Event = tuple[nn.Module, Any]


class Trial:
    """A run of a model on a batch, with a graph, and one with the examples in another order.

    Attributes:
        logits: of the first run.
        order: the number of each module's first output.

    Raises:
        AmpmixError: if the model gives no logits.
    """

    def __init__(
        self,
        model: nn.Module,
        call: Call,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str,
    ) -> None:
        self.model, self.call, self.name = model, call, name
        self.events: list[Event] = []
        self.logits = self._run(args, dict(kwargs), self.events)
        if self.logits.dim() == 0:
            raise AmpmixError("the model gives one number for the batch where logits are needed")
        self.order: dict[nn.Module, int] = {}
        for i, (module, _) in enumerate(self.events):
            self.order.setdefault(module, i)
        batch = len(self.logits)
        self.inputs = Inputs(MASKS, PADDING_MASKS, model, args, kwargs, batch)
        self.turn = torch.arange(batch).roll(1)
        self._seen: dict[frozenset[Any], set[Any]] = {}
        self.axis: int | None = None
        self.changing = self._changing()
        ends = {self.logits.grad_fn} | nodes_of(output for _, output in self.events)
        self.texts = depending(ends, self.changing)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], events: list[Event]) -> Tensor:
        def handler(module: nn.Module, call: Any, args: Any, kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            events.append((module, output))
            return output

        with intercepted([m for m in self.model.modules() if m is not self.model], handler):
            return logits_of(self.call(*args, **kwargs), self.name)

    def _changing(self) -> set[Any]:
        """The nodes of what modules gave that changes with the order of the examples."""
        if len(self.logits) < 2:
            return nodes_of(output for _, output in self.events)
        turned = self.logits[self.turn.to(self.logits.device)]
        for axis in (0, 1):
            moved, again = self.inputs.reordered(self.turn, axis), list[Event]()
            with torch.no_grad():
                if alike(self._run(moved.args, moved.kwargs, again), turned):
                    self.axis = axis
                    break
        else:  # the examples depend on each other: nothing is known
            return nodes_of(output for _, output in self.events)
        found: set[Any] = set()
        for (_, own), (_, other) in zip(self.events, again, strict=False):
            pairs = zip(leaves(own), leaves(other), strict=False)
            found |= nodes_of(a for a, b in pairs if isinstance(a, Tensor) and not alike(a, b))
        return found

    def hidden(self, module: nn.Module) -> dict[int, Tensor]:
        """Outputs of a submodule that can be mixed; none unless it ran once and they matter."""
        outputs = [output for called, output in self.events if called is module]
        if len(outputs) != 1:
            return {}
        batch = len(self.logits)
        found = {
            i: leaf
            for i, leaf in enumerate(leaves(outputs[0]))
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.requires_grad
            if nodes_of([leaf]) & self.changing
        }
        if not found or not all(batch in x.shape for x in found.values()):
            return {}
        nodes = frozenset(nodes_of(found.values()))
        return found if nodes & self._behind(nodes) else {}

    def _behind(self, nodes: frozenset[Any]) -> set[Any]:
        """The nodes behind the logits, not looking behind these."""
        if nodes not in self._seen:
            self._seen[nodes] = graph_behind([self.logits.grad_fn], stop=nodes)
        return self._seen[nodes]

    def whole(self, path: str, module: nn.Module) -> bool:
        """Return True if all that the model knows of a text passes the output of a submodule.

        The graph tells cheaply where that is not so, and values where it is.
        """
        nodes = nodes_of(self.hidden(module).values())
        earlier = nodes_of(output for _, output in self.events[: self.order[module]])
        if passed_by(nodes, self._behind(frozenset(nodes)), earlier - nodes, self.texts):
            return False
        if self.axis is None:
            return True
        cut = Cut(Site(path))
        try:
            return whole_at(cut, self.call, self.inputs, self.turn, self.axis, self.name)
        except AmpmixError:
            return False
        except Exception:  # inputs that do not fit together: the graph has to do
            return True
