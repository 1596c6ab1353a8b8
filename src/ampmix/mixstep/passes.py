"""The passes of a batch through a model that is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.saved_tensors import saved_tensor_hooks
from ampmix._torch.trees import leaves, rebuilt
from ampmix.errors import AmpmixError
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs
from ampmix.mixstep.intercept import (
    as_they_were,
    called_by_checkpoint,
    intercepted,
    runs_again,
)
from ampmix.mixstep.memory import Memory
from ampmix.mixstep.model_parts import logits_of, statistics_kept
from ampmix.mixstep.places import Learned, places_of
from ampmix.mixstep.site import Site


class _Reached(Exception):
    """The site was reached, with what is there; the pass for g ends here."""


Call = Callable[..., Any]


@uncompiled
@dataclass(frozen=True, eq=False)
class Arrival:
    """The state of a model that was run up to a site.

    Attributes:
        target: the site's submodule; None for the whole model.
        content: what is at the site; what the model returned if it was skipped.
        memory: what modules gave on the way.
        missed: whether the model skipped the site.
    """

    target: nn.Module | None
    content: Any
    memory: Memory
    missed: bool = False


@uncompiled
@dataclass(eq=False)
class Cut:
    """A model cut at a site. :meth:`begin` gives g of a batch, and what runs f on it.

    Args:
        site: see :func:`find_site`.
        masks: names of inputs that are true where there is a token.
        padding_masks: names of inputs that are true where there is none.
        batch_dim: the axis of the hidden states that counts examples; None to find it.
    """

    site: Site
    masks: Sequence[str] = MASKS
    padding_masks: Sequence[str] = PADDING_MASKS
    batch_dim: int | None = None
    learned: Learned = field(default_factory=Learned, repr=False)
    before: list[str] | None = field(default=None, repr=False)
    """Paths of the modules that end before the site, known once it was reached."""

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
        inputs = Inputs(self.masks, self.padding_masks, model, args, kwargs, batch)
        return Passes(self, self.reach(call, inputs), call, inputs)

    def reach(self, call: Call, inputs: Inputs) -> Arrival:
        """Run a model up to the site; see :meth:`begin`."""
        modules = dict(inputs.model.named_modules())
        target = None if self.site.path == "" else self._target(modules)
        memory = Memory(self.learned, {module: path for path, module in modules.items()})
        run = partial(call, *inputs.args, **inputs.kwargs)
        if target is None:
            return Arrival(None, run(), memory)
        content, reached = self._run_to(target, modules, memory, run)
        return Arrival(target, content, memory, missed=not reached)

    def _target(self, modules: Mapping[str, nn.Module]) -> nn.Module:
        target = modules[self.site.path]
        if isinstance(target, torch.jit.ScriptModule):
            raise AmpmixError(f"site {self.site} is a scripted module: mix at another one")
        return target

    def _run_to(
        self,
        target: nn.Module,
        modules: Mapping[str, nn.Module],
        memory: Memory,
        run: Callable[[], Any],
    ) -> tuple[Any, bool]:
        """Run until the site is reached; what is there, and that it was. Others' outputs on the
        way go to `memory`.

        A layer that is skipped at random (LayerDrop) is not reached in every batch: then what the
        model returned, and False.
        """
        around = {id(modules[path]) for path in _ancestors(self.site.path)}
        known = modules if self.before is None else {path: modules[path] for path in self.before}
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
                memory.entered()
                raise _Reached((args, kwargs))
            if inside and module is not target:
                return call(*args, **kwargs)
            outer, inside = inside, True
            memory.entered()
            with as_they_were([module] if seen_before else module.modules()):
                output = call(*args, **kwargs)
            inside = outer
            if module is target:
                raise _Reached(output)
            memory.keep(module, output)
            return output

        hooks, grad = saved_tensor_hooks(), torch.is_grad_enabled()
        seen_before = self.before is not None
        try:
            with intercepted(watched.values(), handler):
                output = run()
        except _Reached as reached:
            if self.before is None:
                self.before = [path for path, m in modules.items() if m in memory.outputs]
            return reached.args[0], True
        if seen_before:
            return output, False
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
        g: the hidden states at the site, examples first, then the masks that are to be united.
        missed: whether the model skipped the site, so that there is no g.
        content: see :class:`Arrival`.
        output: what the model returned in the first pass of f that a policy can still go back
            through.
    """

    def __init__(self, cut: Cut, arrival: Arrival, call: Call, inputs: Inputs) -> None:
        self.cut, self.model, self.call, self.inputs = cut, inputs.model, call, inputs
        self.target, self.content, self.memory = arrival.target, arrival.content, arrival.memory
        self.missed, self.runs, self._spent = arrival.missed, 0, True
        self.output: Any = None
        if self.missed:
            return
        found = leaves(self.content)
        if self.target is None:
            logits = logits_of(self.content)
            self.places = {i: 0 for i, leaf in enumerate(found) if leaf is logits}
        else:
            self.places = places_of(cut.site, found, inputs.batch, cut.learned, cut.batch_dim)
        hidden = []
        for i, axis in self.places.items():  # no comprehension: it would be compiled
            hidden.append(found[i] if axis == 0 else found[i].movedim(axis, 0))
        tokens = self.target is not None and any(x.dim() > 2 for x in hidden)
        masks = {path: m for path, m in inputs.masks.items() if path not in cut.learned.aside}
        self.united = list(masks) if tokens else []
        self.hidden = len(hidden)
        for path in self.united:
            hidden.append(masks[path].present)
        self.g: tuple[Tensor, ...] = tuple(hidden)

    def f(self, *parts: Tensor) -> Any:
        """The model's output, given what is at the site and the united masks."""
        hidden, united = parts[: self.hidden], parts[self.hidden :]
        if self.target is None:
            output = self._filled(hidden, self.content)
        else:
            args, kwargs = self.inputs.with_masks(dict(zip(self.united, united, strict=True)))
            output = self._run_from(hidden, partial(self.call, *args, **kwargs))
        self.runs += 1
        return output

    def note(self, output: Any, logits: Tensor) -> None:
        """Take what a pass returned for the output, unless there is one with a graph."""
        if not self._spent:
            return
        self.output, self._spent = output, not logits.requires_grad
        if logits.requires_grad:
            logits.register_hook(self._note_backward)  # type: ignore[no-untyped-call]

    def _note_backward(self, grad: Tensor) -> None:
        self._spent = True

    def _run_from(self, hidden: Sequence[Tensor], run: Callable[[], Any]) -> Any:
        """Run the model with `hidden` at the site, and what came before from memory."""
        replay, hooks = self.memory.replay(), saved_tensor_hooks()
        times, site = 0, self.cut.site

        @uncompiled
        def handler(module: nn.Module, call: Any, args: Any, kwargs: Any) -> Any:
            nonlocal times

            @uncompiled
            def again() -> Any:
                with as_they_were(module.modules()):
                    return call(*args, **kwargs)

            if module is self.target:
                times += 1
                if times > 1:
                    raise AmpmixError(
                        f"site {site} is called more than once in a forward pass, so that it is no "
                        "place to cut at: choose one that is called once (ampmix.sites lists them)"
                    )
                if site.side == "output":
                    content = self._filled(hidden, self.content)
                    if made := self.cut.learned.site_made:
                        content = replay.made_again(module, again, content, made)
                    replay.arrived()
                    return content
                args, kwargs = self._filled(hidden, (args, kwargs))
                replay.arrived()
            elif times == 0 and replay.left[module] and not runs_again(hooks):
                return replay.answer(module, again)
            with as_they_were([module]):
                return call(*args, **kwargs)

        assert self.target is not None
        kept = statistics_kept if self.runs else _nothing
        with intercepted([*replay.left, self.target], handler), kept(self.model):
            output = run()
        if times == 0:
            raise AmpmixError(f"site {site} was reached in one pass and not in the next")
        return output

    def _filled(self, hidden: Sequence[Tensor], content: Any) -> Any:
        """Return what is at the site, copied, with other hidden states."""
        found = leaves(content)
        for i, leaf in enumerate(found):
            if i not in self.places and isinstance(leaf, Tensor):
                found[i] = leaf.clone()
        for (place, axis), value in zip(self.places.items(), hidden, strict=True):
            found[place] = value if axis == 0 else value.movedim(0, axis)
        return rebuilt(found, content)


@contextmanager
@uncompiled
def _nothing(model: nn.Module) -> Iterator[None]:
    yield
