"""The passes of a batch through a model that is cut."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.saved_tensors import saved_tensor_hooks
from ampmix._torch.trees import flattened, rebuilt
from ampmix.errors import AmpmixError
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs
from ampmix.mixstep.intercept import (
    as_they_were,
    called_by_checkpoint,
    intercepted,
    runs_again,
)
from ampmix.mixstep.model_parts import logits_of, statistics_kept
from ampmix.mixstep.site import Site


class _Reached(Exception):
    """The site was reached, with what is there; the pass for g ends here."""


Call = Callable[..., Any]


@uncompiled
@dataclass(eq=False)
class Cut:
    """A model cut at a site. :meth:`begin` gives g of a batch, and what runs f on it.

    Args:
        site: see :func:`find_site`.
        masks: names of inputs that are true where there is a token.
        padding_masks: names of inputs that are true where there is none.
    """

    site: Site
    masks: Sequence[str] = MASKS
    padding_masks: Sequence[str] = PADDING_MASKS
    _before: list[str] | None = field(default=None, repr=False)
    """Paths of the modules that end before the site, known after the first batch."""

    def begin(
        self,
        model: nn.Module,
        call: Call,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        batch: int,
    ) -> Passes:
        """Run a model up to the site.

        Args:
            model: any module.
            call: runs it.
            args: what it is called with.
            kwargs: likewise.
            batch: how many examples there are.

        Raises:
            AmpmixError: if the site is not reached, or what arrives there cannot be mixed.
        """
        modules = dict(model.named_modules())
        target = None if self.site.path == "" else self._target(modules)
        recorded: dict[nn.Module, deque[Any]] = defaultdict(deque)
        if target is None:
            content = call(*args, **kwargs)
        else:
            content = self._run_to(target, modules, recorded, partial(call, *args, **kwargs))
        return Passes(self, model, target, content, recorded, call, args, dict(kwargs), batch)

    def _target(self, modules: Mapping[str, nn.Module]) -> nn.Module:
        target = modules[self.site.path]
        if isinstance(target, torch.jit.ScriptModule):
            raise AmpmixError(f"site {self.site} is a scripted module: mix at another one")
        return target

    def _run_to(
        self,
        target: nn.Module,
        modules: Mapping[str, nn.Module],
        recorded: dict[nn.Module, deque[Any]],
        run: Callable[[], Any],
    ) -> Any:
        """Run until the site is reached; what is there. Outputs on the way go to `recorded`."""
        around = {id(modules[path]) for path in _ancestors(self.site.path)}
        known = modules if self._before is None else {path: modules[path] for path in self._before}
        watched = {id(m): m for m in known.values() if id(m) not in around} | {id(target): target}
        inside = False

        @uncompiled
        def handler(module: nn.Module, call: Any, args: Any, kwargs: Any) -> Any:
            nonlocal inside
            at_input = module is target and self.site.side == "input"
            if runs_again(hooks, whole=not at_input):
                if module is target:
                    raise AmpmixError(CHECKPOINTED.format(self.site))
                return call(*args, **kwargs)
            without = grad and not torch.is_grad_enabled()
            if module is target and without and called_by_checkpoint():
                raise AmpmixError(REENTRANT)
            if at_input:
                raise _Reached((args, kwargs))
            if inside and module is not target:
                return call(*args, **kwargs)
            outer, inside = inside, True
            with as_they_were([module] if seen_before else module.modules()):
                output = call(*args, **kwargs)
            inside = outer
            if module is target:
                raise _Reached(output)
            recorded[module].append(output)
            return output

        hooks, grad = saved_tensor_hooks(), torch.is_grad_enabled()
        seen_before = self._before is not None
        try:
            with intercepted(watched.values(), handler):
                run()
        except _Reached as reached:
            if self._before is None:
                self._before = [path for path, module in modules.items() if module in recorded]
            return reached.args[0]
        raise AmpmixError(
            f"site {self.site} is never reached: {type(modules['']).__name__} does not call that "
            "submodule in its forward (ampmix.sites(model, batch) lists those that it calls)"
        )


@uncompiled
def _ancestors(path: str) -> list[str]:
    """The paths of the modules that hold the one at `path`; the model itself is ""."""
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts))]


CHECKPOINTED = (
    "site {} lies inside what activation checkpointing runs again, unmixed, in the backward pass: "
    "mix at the output of a checkpointed module, or before or behind it"
)

REENTRANT = (
    "the model uses reentrant activation checkpointing, in which gradients of lam and of "
    "parameters get lost: give use_reentrant=False"
)


@uncompiled
class Passes:
    """Run one batch through a cut model: g once, then f as often as the policy asks.

    Attributes:
        g: the hidden states at the site, then the masks that are to be united.
        output: what the model returned in the first pass of f.
    """

    def __init__(
        self,
        cut: Cut,
        model: nn.Module,
        target: nn.Module | None,
        content: Any,
        recorded: Mapping[nn.Module, deque[Any]],
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        batch: int,
    ) -> None:
        self.cut, self.model, self.target = cut, model, target
        self.recorded, self.call = recorded, call
        self.output: Any = None
        self.leaves, self.spec = flattened(content)
        if target is None:
            logits = logits_of(content)
            self.places = [i for i, leaf in enumerate(self.leaves) if leaf is logits]
        else:
            self.places = _places(cut.site, self.leaves, batch)
        hidden = [self.leaves[i] for i in self.places]
        self.inputs = Inputs(cut.masks, cut.padding_masks, model, args, kwargs, hidden)
        self.hidden = len(hidden)
        self.g: tuple[Tensor, ...] = (*hidden, *self.inputs.present)

    def f(self, *parts: Tensor) -> Any:
        """The model's output, given what is at the site and the united masks."""
        hidden, united = parts[: self.hidden], parts[self.hidden :]
        if self.target is None:
            output = self._rebuilt(hidden, self.leaves)
        else:
            args, kwargs = self.inputs.with_masks(united)
            output = self._run_from(hidden, partial(self.call, *args, **kwargs))
        if self.output is None:
            self.output = output
        return output

    def _run_from(self, hidden: Sequence[Tensor], run: Callable[[], Any]) -> Any:
        """Run the model with `hidden` at the site, and what came before from memory."""
        left = {module: deque(outputs) for module, outputs in self.recorded.items()}
        times, site = 0, self.cut.site

        @uncompiled
        def handler(module: nn.Module, call: Any, args: Any, kwargs: Any) -> Any:
            nonlocal times
            if module is self.target:
                times += 1
                if times > 1:
                    raise AmpmixError(
                        f"site {site} is called more than once in a forward pass, so that it is no "
                        "place to cut at: choose one that is called once (ampmix.sites lists them)"
                    )
                if site.side == "output":
                    return self._rebuilt(hidden, self.leaves)
                arguments, spec = flattened((args, kwargs))
                args, kwargs = rebuilt(self._put(hidden, arguments), spec)
            elif times == 0 and left[module] and not runs_again(hooks):
                return left[module].popleft()
            with as_they_were([module]):
                return call(*args, **kwargs)

        assert self.target is not None
        hooks = saved_tensor_hooks()
        again = statistics_kept if self.output is not None else _nothing
        with intercepted([*left, self.target], handler), again(self.model):
            output = run()
        if times == 0:
            raise AmpmixError(f"site {site} was reached in one pass and not in the next")
        return output

    def _rebuilt(self, hidden: Sequence[Tensor], leaves: Sequence[Any]) -> Any:
        return rebuilt(self._put(hidden, leaves), self.spec)

    def _put(self, hidden: Sequence[Tensor], leaves: Sequence[Any]) -> list[Any]:
        filled = list(leaves)
        for place, value in zip(self.places, hidden, strict=True):
            filled[place] = value
        return filled


@contextmanager
@uncompiled
def _nothing(model: nn.Module) -> Iterator[None]:
    yield


@uncompiled
def _places(site: Site, leaves: Sequence[Any], batch: int) -> list[int]:
    """Return the positions of the hidden states at the site: floating point, with a gradient.

    If none has a gradient, all before the site being frozen: all of an output, the first of an
    input (masks that a model has made for its layers come after it).
    """
    floating = [
        i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    places = [i for i in floating if leaves[i].requires_grad] or (
        floating[:1] if site.side == "input" else floating
    )
    if not places:
        kinds = {str(x.dtype).removeprefix("torch.") for x in leaves if isinstance(x, Tensor)}
        raise AmpmixError(
            f"site {site} has no floating-point tensor to mix, but "
            f"{', '.join(sorted(kinds)) or 'no tensor at all'}: mix behind the embedding of ids"
        )
    for i in places:
        shape = list(leaves[i].shape)
        if not shape or shape[0] != batch:
            raise AmpmixError(
                f"site {site} has a tensor of shape {shape}, which does not begin with the batch's "
                f"{batch} examples: mix at a site that does (ampmix.sites lists shapes)"
            )
    return places
