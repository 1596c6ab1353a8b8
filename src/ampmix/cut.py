"""g and f of any nn.Module: a model cut at a site, which is a submodule's output or its input.

A model runs as one piece, so that nothing of it need be rewritten to cut it. The first pass is
stopped at the site: what arrives there is g. A pass of f runs the model again from the beginning,
with every module that ended before the site answering from memory and the site answering with the
mixed hidden states; only what a forward method computes between its modules is computed anew. So
masks, positions and whatever else bypasses the site are what the model itself makes of its input,
and modules that ran for g (their dropout, their BatchNorm) run once.

Modules are intercepted where they are called, not in their ``forward``: outside of hooks and of
activation checkpointing. For the time of a pass they get a subclass of their own class, so that
``isinstance``, names and attributes stay true, and nothing is left of it afterwards.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ampmix.compiling import uncompiled
from ampmix.errors import AmpmixError

MASKS = ("attention_mask", "mask", "input_mask")
"""Inputs that are true (or 1) where there is a token."""

PADDING_MASKS = ("src_key_padding_mask", "key_padding_mask", "padding_mask", "pad_mask")
"""Inputs that are true (or 1) where there is none."""

IDS = ("input_ids",)
"""Inputs in which some models look for padding."""

ALIASES = ("word", "sent")


@dataclass(frozen=True)
class Site:
    """Where a model is cut: at the output or the input of the submodule at ``path``.

    ``path`` "" is the whole model; its output is the logits. ``alias`` is the name it was found by.
    """

    path: str
    side: str = "output"
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.path}:input" if self.side == "input" else self.path


def find_site(model: nn.Module, text: str) -> Site:
    """The site that `text` names: ``path``, ``path:input``, ``path:output``, or an alias.

    ``word`` is the output of ``model.get_input_embeddings()``, and ``sent`` what the last linear
    layer outside ``model.base_model`` reads, as transformers' models have them.

    Raises:
        AmpmixError: if there is no such submodule, with near names.
    """
    path, colon, side = text.partition(":")
    modules = dict(model.named_modules())
    if colon and side not in ("input", "output"):
        raise AmpmixError(f"site is {text!r}: after the colon stands input or output")
    if path in modules and path:
        return Site(path, side or "output")
    if text in ALIASES and (found := _alias(model, modules, text)) is not None:
        return found
    if text in ALIASES:
        raise AmpmixError(
            f"site is {text!r}, but {type(model).__name__} does not say where that is: give the "
            "path of a submodule (ampmix.sites(model, batch) lists those that can be mixed)"
        )
    near = difflib.get_close_matches(path, [name for name in modules if name], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "ampmix.sites(model, batch) lists all"
    raise AmpmixError(f"site is {text!r}: {type(model).__name__} has no such submodule; {hint}")


def _alias(model: nn.Module, modules: Mapping[str, nn.Module], alias: str) -> Site | None:
    if alias == "word":
        embeddings = getattr(model, "get_input_embeddings", lambda: None)()
        paths = [path for path, module in modules.items() if module is embeddings]
        return Site(paths[0], "output", alias) if paths else None
    labels = getattr(getattr(model, "config", None), "num_labels", None)
    last = None if labels is None else last_linear(model, int(labels))
    return None if last is None else Site(last, "input", alias)


def last_linear(model: Any, classes: int) -> str | None:
    """The path of the last linear layer outside ``base_model`` with an output for each class."""
    body = {id(part) for part in model.base_model.modules()}
    paths: list[str] = [
        path
        for path, part in model.named_modules()
        if isinstance(part, nn.Linear) and part.out_features == classes and id(part) not in body
    ]
    return paths[-1] if paths else None


# ------------------------------------------------------------------- intercepting modules

_HANDLER = "_ampmix_handler"


class _Intercepted:
    """Put before a module's class: its calls go to the handler in its dictionary."""

    @uncompiled
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = super().__call__  # type: ignore[misc]
        return self.__dict__[_HANDLER](self, call, args, kwargs)


@cache
def _intercepted(cls: Any) -> Any:
    """The subclass, one for each class, so that compiled code meets the same one again."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    made = type(cls.__name__, (_Intercepted, cls), dict(names))
    for added in set(vars(made)) - set(names) - {"__doc__", "__abstractmethods__", "_abc_impl"}:
        if added in vars(cls) or hasattr(cls, added):
            # __init_subclass__ of transformers' layers wraps forward in another checkpoint
            delattr(made, added)
    return made


Handler = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
@uncompiled
def intercepted(modules: Iterable[nn.Module], handler: Handler) -> Iterator[None]:
    """Calls of `modules` go to ``handler(module, call, args, kwargs)`` in the meantime."""
    changed: list[tuple[nn.Module, type]] = []
    try:
        for module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # its class cannot be changed: it runs, each time
            changed.append((module, type(module)))
            module.__dict__[_HANDLER] = handler
            _become(module, _intercepted(type(module)))  # type: ignore[arg-type]
        yield
    finally:
        for module, cls in changed:
            _become(module, cls)
            module.__dict__.pop(_HANDLER, None)


@contextmanager
@uncompiled
def _as_they_were(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Intercept no calls of `modules` in the meantime.

    What is compiled then is for their own classes, and fits whether they are intercepted or not.
    """
    changed = [(module, type(module)) for module in modules if isinstance(module, _Intercepted)]
    try:
        for module, cls in changed:
            _become(module, cls.__bases__[1])
        yield
    finally:
        for module, cls in changed:
            _become(module, cls)


@uncompiled
def _become(module: nn.Module, cls: type) -> None:
    object.__setattr__(module, "__class__", cls)  # compiled modules pass on what is set on them


@contextmanager
@uncompiled
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch's statistics, but leave the running ones as they are.

    They are updated with weight 0 rather than not at all: an activation checkpoint must save as
    many tensors as it does when it runs again in the backward pass, outside of here.
    """
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    tracking = [
        (module, module.momentum, module.num_batches_tracked)
        for module in model.modules()
        if isinstance(module, kinds) and module.track_running_stats and module.training
    ]
    counts = [None if count is None else count.clone() for _, _, count in tracking]
    for module, *_ in tracking:
        module.momentum = 0.0
    try:
        yield
    finally:
        for (module, momentum, counter), count in zip(tracking, counts, strict=True):
            module.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)


# ----------------------------------------------------------------------- passes of a batch


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
            if _runs_again(hooks, whole=not at_input):
                if module is target:
                    raise AmpmixError(CHECKPOINTED.format(self.site))
                return call(*args, **kwargs)
            without = grad and not torch.is_grad_enabled()
            if module is target and without and _called_by_checkpoint():
                raise AmpmixError(REENTRANT)
            if at_input:
                raise _Reached((args, kwargs))
            if inside and module is not target:
                return call(*args, **kwargs)
            outer, inside = inside, True
            with _as_they_were([module] if seen_before else module.modules()):
                output = call(*args, **kwargs)
            inside = outer
            if module is target:
                raise _Reached(output)
            recorded[module].append(output)
            return output

        hooks, grad = _saved_tensor_hooks(), torch.is_grad_enabled()
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


@uncompiled
def _saved_tensor_hooks() -> Any:
    find = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return None if find is None else find(True)


@uncompiled
def _runs_again(outside: Any, whole: bool = True) -> bool:
    """Whether what runs here will run again in the backward pass, where nothing is intercepted.

    So does what an activation checkpoint holds. But if that is this very module, nothing but its
    output leaves the checkpoint: then it is not, when `whole`, counted among those.
    """
    if _saved_tensor_hooks() == outside:
        return False
    return not (whole and _called_by_checkpoint())


@uncompiled
def _called_by_checkpoint() -> bool:
    """Whether the module that is being called is itself what a checkpoint was given."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in _OURS:
        frame = frame.f_back
    return bool(frame.f_globals["__name__"] == "torch.utils.checkpoint")


_OURS = (__name__, "torch._compile", "torch._dynamo.external_utils", "torch._dynamo.eval_frame")

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
    """One batch on its way through a model that is cut: g, and f as often as wanted.

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
        self.leaves, self.spec = tree_flatten(content)
        if target is None:
            logits = logits_of(content)
            self.places = [i for i, leaf in enumerate(self.leaves) if leaf is logits]
        else:
            self.places = _places(cut.site, self.leaves, batch)
        hidden = [self.leaves[i] for i in self.places]
        self.inputs = _Inputs(cut, model, args, kwargs, hidden)
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
                arguments, spec = tree_flatten((args, kwargs))
                args, kwargs = tree_unflatten(self._put(hidden, arguments), spec)
            elif times == 0 and left[module] and not _runs_again(hooks):
                return left[module].popleft()
            with _as_they_were([module]):
                return call(*args, **kwargs)

        assert self.target is not None
        hooks = _saved_tensor_hooks()
        again = statistics_kept if self.output is not None else _nothing
        with intercepted([*left, self.target], handler), again(self.model):
            output = run()
        if times == 0:
            raise AmpmixError(f"site {site} was reached in one pass and not in the next")
        return output

    def _rebuilt(self, hidden: Sequence[Tensor], leaves: Sequence[Any]) -> Any:
        return tree_unflatten(self._put(hidden, leaves), self.spec)

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
    """Which of the things at the site are hidden states: floating point, with a gradient.

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


@uncompiled
class _Inputs:
    """What a model is called with, and the masks in it that mixing unites.

    A mask counts if what is mixed still has its axis of tokens: then two texts mixed have the
    tokens of both. Ids are looked at for padding alone (the embeddings are there already), so where
    the partner alone has a token, a token of the text's own stands in for it.
    """

    def __init__(
        self,
        cut: Cut,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        hidden: Sequence[Tensor],
    ) -> None:
        self.args, self.kwargs = args, kwargs
        self.names = _positional_names(model, len(args))
        lengths = {size for x in hidden if x.dim() > 2 for size in x.shape[1:]}
        self.masks: dict[str, tuple[Tensor, bool]] = {}
        for name, value in self._named():
            if not isinstance(value, Tensor) or value.dim() < 2 or value.shape[-1] not in lengths:
                continue
            if len(value) != len(hidden[0]):
                continue
            if name in cut.masks or name in cut.padding_masks:
                self.masks[name] = value, name in cut.padding_masks
        self.present = [_present(value, padding) for value, padding in self.masks.values()]

    def _named(self) -> Iterator[tuple[str, Any]]:
        for name, value in [*zip(self.names, self.args, strict=True), *self.kwargs.items()]:
            if isinstance(value, Mapping):
                yield from value.items()
            else:
                yield name, value

    def with_masks(self, united: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same inputs with these masks, true where there is a token, in place of their own."""
        if not united:
            return self.args, self.kwargs
        replaced: dict[str, Tensor] = {}
        for (name, (value, padding)), present in zip(self.masks.items(), united, strict=True):
            replaced[name] = _as_mask(present, value, padding)
        own, all_tokens = self.present[0], united[0]
        for name, value in self._named():
            if name in IDS and isinstance(value, Tensor) and value.shape == own.shape:
                first = value.gather(1, own.int().argmax(1, keepdim=True))
                replaced[name] = torch.where(all_tokens & ~own, first, value)

        @uncompiled
        def new(name: str, value: Any) -> Any:
            if isinstance(value, Mapping) and any(key in replaced for key in value):
                return {key: replaced.get(key, old) for key, old in value.items()}
            return replaced.get(name, value)

        args = tuple(new(name, old) for name, old in zip(self.names, self.args, strict=True))
        return args, {name: new(name, old) for name, old in self.kwargs.items()}


@uncompiled
def _positional_names(model: nn.Module, count: int) -> list[str]:
    """What a model's forward calls its first `count` arguments; "" where it does not say."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return (names + [""] * count)[:count]


@uncompiled
def _present(mask: Tensor, padding: bool) -> Tensor:
    """A mask as true where there is a token; additive ones are 0 there and negative elsewhere."""
    if mask.is_floating_point() and mask.dim() > 2:
        return mask >= 0
    return mask == 0 if padding else mask != 0


@uncompiled
def _as_mask(present: Tensor, like: Tensor, padding: bool) -> Tensor:
    """The inverse of :func:`_present`, in the form that `like` has."""
    if like.is_floating_point() and like.dim() > 2:
        return torch.where(present, 0.0, torch.finfo(like.dtype).min).to(like.dtype)
    return (~present if padding else present).to(like.dtype)


@uncompiled
def logits_of(output: Any, name: str = "logits") -> Tensor:
    """The logits in what a model returned.

    Raises:
        AmpmixError: if there are none to be found.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get(name)
    elif hasattr(output, name):
        found = getattr(output, name)
    elif isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise AmpmixError(
            f"the model returns a {type(output).__name__} in which there are no {name}: it must "
            f"return them, alone, first in a tuple, or as {name} (another name: logits=NAME)"
        )
    return found


@uncompiled
def own_module(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` has wrapped, or the module itself."""
    own: nn.Module = model._modules.get("_orig_mod") or model
    return own


# --------------------------------------------------------------------- what depends on what


@uncompiled
def graph_behind(start: Iterable[Any], stop: Any = ()) -> set[Any]:
    """The nodes of an autograd graph behind `start`, not looking behind those in `stop`."""
    seen, todo = set(), [node for node in start if node is not None]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node not in stop:
            todo += [behind for behind, _ in node.next_functions if behind is not None]
    return seen


@uncompiled
def nodes_of(things: Iterable[Any]) -> set[Any]:
    """The autograd nodes of the tensors among `things` that have a gradient."""
    return {
        get_gradient_edge(leaf).node
        for leaf in tree_leaves(list(things))
        if isinstance(leaf, Tensor) and leaf.requires_grad
    }


@uncompiled
def passed_by(site: set[Any], seen: set[Any], earlier: set[Any]) -> bool:
    """Whether anything computed before a site reaches an end around it.

    Args:
        site: the nodes of the site's hidden states.
        seen: the nodes behind the end, ``graph_behind([end], stop=site)``.
        earlier: nodes of what modules gave before the site was reached.
    """
    before = (graph_behind(site) | earlier) - site
    return any("AccumulateGrad" not in type(node).__name__ for node in before & seen)
