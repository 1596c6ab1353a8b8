"""The layers of an encoder's body, and runs that begin or end between two of them.

Nothing of the body is changed for a run: it is done by a copy of the few modules that hold the
list of layers, which shares everything else with the body and lives for that run alone. Threads
therefore do not see each other's runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.random_state import random_state, set_random_state
from ampmix.backbones.first_token import FirstToken

Take = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Point:
    """Hidden states between two layers: after layer `at`, or before the first if it is 0.

    Attributes:
        at: how many layers are below.
        hidden: ``[B, L, d]``.
        state: PyTorch's random state there, from which what is above draws its dropout; None for
            whatever it is then.
    """

    at: int
    hidden: Tensor
    state: Any = None


@dataclass(frozen=True)
class Layers:
    """Place of a body's layers, and what each of them returns.

    Attributes:
        path: of the list of layers.
        forms: of each layer 0 if it returns hidden states, else the length of the tuple that
            begins with them.
    """

    path: str
    forms: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.forms)

    def run(
        self,
        body: nn.Module,
        mask: Tensor,
        begin: Tensor | Point,
        stop: int | None = None,
        *,
        first_token: bool = False,
    ) -> tuple[Any, Point | None]:
        """Run the body from embedded words or from between two layers.

        Args:
            body: the transformers model.
            mask: true where there is a token, ``[B, L]``.
            begin: embedded words ``[B, L, e]``; or a point, whose hidden states the next layer
                then reads, and whatever comes before is skipped.
            stop: how many layers to run up to; the rest is skipped. None for all.
            first_token: run the last layer for the first token of each text alone.

        Returns:
            What the body returns, and the point at `stop` (None without).
        """
        own = list(body.get_submodule(self.path).children())
        layers, found = list[nn.Module](own), list[Point]()
        first = begin.at if isinstance(begin, Point) else 0
        last = len(own) if stop is None else stop
        if first_token:
            layers[-1] = FirstToken(own[-1], self.forms[-1])

        def enter(_: Tensor) -> Tensor:
            assert isinstance(begin, Point)
            if begin.state is not None:  # what was drawn on the way here does not count
                set_random_state(begin.state)
            return begin.hidden

        def leave(hidden: Tensor) -> Tensor:
            found.append(Point(last, hidden, random_state(hidden)))
            return hidden

        for i, layer in enumerate(own):
            if not first <= i < last:
                layers[i] = _Skip(layer, self.forms[i])
        if isinstance(begin, Point):
            if first < len(own):
                layers[first] = _Enter(layers[first], enter)
            else:
                layers[-1] = _Skip(own[-1], self.forms[-1], enter)
        if stop is not None:
            if last < len(own):
                layers[last] = _Enter(layers[last], leave)
            else:
                layers[-1] = _Watch(layers[-1], leave)
        words = _nothing(body, begin.hidden) if isinstance(begin, Point) else begin
        output = _with(body, self.path, layers)(inputs_embeds=words, attention_mask=mask.long())
        return output, found[-1] if found else None

    def read(
        self, body: nn.Module, mask: Tensor, embedded: Tensor, at: Sequence[int]
    ) -> tuple[Any, list[Tensor]]:
        """Run the whole body; return what it returns, and what some of its layers read.

        Args:
            body: the transformers model.
            mask: true where there is a token, ``[B, L]``.
            embedded: words, ``[B, L, e]``.
            at: numbers of layers, from 0 on, in rising order.
        """
        own = list(body.get_submodule(self.path).children())
        layers, found = list[nn.Module](own), list[Tensor]()

        def take(hidden: Tensor) -> Tensor:
            found.append(hidden)
            return hidden

        for i in at:
            layers[i] = _Enter(own[i], take)
        output = _with(body, self.path, layers)(inputs_embeds=embedded, attention_mask=mask.long())
        return output, found


def probe(body: Any) -> tuple[Tensor, Tensor]:
    """Make token ids and mask ``[2, 5]`` of a batch to try a body on, the second text shorter."""
    words = body.get_input_embeddings()
    ids = (torch.arange(5, device=words.weight.device).expand(2, -1) + 3) % words.num_embeddings
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 3:] = False
    return ids, mask


def find_layers(body: Any, embedded: Tensor, mask: Tensor) -> Layers | None:
    """Find the layers of a body by running it on a batch; None if they cannot be told apart.

    They are a list of as many modules of one class as the configuration says, which are called one
    after the other, each once, with hidden states first, and return hidden states, alone or first.
    """
    count = getattr(body.config, "num_hidden_layers", None)
    for path, part in body.named_modules():
        layers = list(part.children())
        alike = len({type(layer) for layer in layers}) == 1
        if isinstance(part, nn.ModuleList) and alike and len(layers) == count:
            calls = _calls(body, path, embedded, mask)
            if [i for i, _ in calls] == list(range(len(layers))) and all(f >= 0 for _, f in calls):
                return Layers(path, tuple(form for _, form in calls))
    return None


def _calls(body: nn.Module, path: str, embedded: Tensor, mask: Tensor) -> list[tuple[int, int]]:
    """List the calls of layers in their order, each with its form; -1 for no hidden states."""
    calls: list[tuple[int, int]] = []

    def note(i: int, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) and output else output
        fits = isinstance(hidden, Tensor) and hidden.shape[:2] == embedded.shape[:2]
        calls.append((i, (len(output) if isinstance(output, tuple) else 0) if fits else -1))

    own = list(body.get_submodule(path).children())
    noting = [_Note(layer, i, note) for i, layer in enumerate(own)]
    with torch.no_grad():
        _with(body, path, noting)(inputs_embeds=embedded, attention_mask=mask.long())
    return calls


def below(layers: Layers, body: nn.Module, at: int, ids: Tensor, mask: Tensor) -> set[str]:
    """Names of the modules and parameters that the hidden states after layer `at` depend on.

    Of modules, those that have done their work by then; all inside one of them has, too.
    """
    done: list[str] = []
    over: list[bool] = []
    names = {module: name for name, module in body.named_modules()}

    def note(module: nn.Module, *_: Any) -> None:
        if not over and module in names:
            done.append(names[module])

    hooks = [module.register_forward_hook(note) for module in names]

    def stop(hidden: Tensor) -> Tensor:
        over.append(True)
        return hidden

    own = list(body.get_submodule(layers.path).children())
    watched: list[nn.Module] = list(own)
    if at < len(own):
        watched[at] = _Enter(own[at], stop)
    try:
        with torch.enable_grad():
            embedded = body.get_input_embeddings()(ids)  # type: ignore[operator]
            _with(body, layers.path, watched)(inputs_embeds=embedded, attention_mask=mask.long())
            _, point = layers.run(body, mask, embedded, at)
            assert point is not None
            named = [(n, p) for n, p in body.named_parameters() if p.requires_grad]
            grads = torch.autograd.grad(
                point.hidden.sum(), [p for _, p in named], allow_unused=True
            )
    finally:
        for hook in hooks:
            hook.remove()
    used = {name for (name, _), grad in zip(named, grads, strict=True) if grad is not None}
    return used | set(done)


class _Stand(nn.Module):
    """Stands in for a layer and has its attributes, which the body may ask for."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


class _Skip(_Stand):
    """Returns the hidden states that it is given, or others, in the form of the layer's output."""

    def __init__(self, layer: nn.Module, form: int, take: Take | None = None) -> None:
        super().__init__(layer)
        self.form, self.take = form, take

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        hidden = self.take(hidden) if self.take else hidden
        return (hidden, *[None] * (self.form - 1)) if self.form else hidden


class _Enter(_Stand):
    """A layer that reads what `take` makes of its hidden states."""

    def __init__(self, layer: nn.Module, take: Take) -> None:
        super().__init__(layer)
        self.take = take

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            return self.layer(self.take(args[0]), *args[1:], **kwargs)
        return self.layer(**kwargs | {"hidden_states": self.take(kwargs["hidden_states"])})


class _Watch(_Stand):
    """A layer that shows its hidden states to `take`."""

    def __init__(self, layer: nn.Module, take: Take) -> None:
        super().__init__(layer)
        self.take = take

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.layer(*args, **kwargs)
        self.take(output[0] if isinstance(output, tuple) else output)
        return output


class _Note(_Stand):
    """A layer that tells its number and output."""

    def __init__(self, layer: nn.Module, i: int, note: Callable[[int, Any], None]) -> None:
        super().__init__(layer)
        self.i, self.note = i, note

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.layer(*args, **kwargs)
        self.note(self.i, output)
        return output


def _with(body: nn.Module, path: str, layers: Sequence[nn.Module]) -> nn.Module:
    """The body with other layers in the list at `path`: its own modules but for what holds them."""
    whole = node = _shell(body)
    for name in path.split("."):
        node._modules[name] = child = _shell(node.get_submodule(name))
        node = child
    node.__dict__["_modules"] = {str(i): layer for i, layer in enumerate(layers)}
    return whole


def _shell(module: nn.Module) -> nn.Module:
    """A module with all that another one holds, to which other submodules can be given."""
    made: nn.Module = object.__new__(type(module))
    made.__dict__.update(module.__dict__, _modules=dict(module._modules))
    return made


def _nothing(body: Any, like: Tensor) -> Tensor:
    """Embedded words for a run that does not read them."""
    width = body.get_input_embeddings().embedding_dim
    return like.new_zeros(()).expand(*like.shape[:2], width)
