"""sites(): where a model can be mixed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.trees import leaves
from ampmix.errors import AmpmixError
from ampmix.mixstep.autograd_graph import graph_behind, nodes_of, passed_by
from ampmix.mixstep.batch_inputs import MASKS
from ampmix.mixstep.intercept import intercepted
from ampmix.mixstep.model_parts import logits_of, own_module
from ampmix.mixstep.site import ALIASES, find_site


@dataclass(frozen=True)
class SiteRow:
    """A place that can be mixed.

    Attributes:
        path: what :class:`ampmix.MixStep` takes as ``site``.
        shape: of the hidden states there, for the batch given.
        whole: whether all that the model knows of a text passes here; else part of it goes around,
            as in a branch beside a residual connection, and stays unmixed.
        meaning: a word on what is mixed.
        alias: the short name of the site, ``word``, or of its input, ``sent``; "" for none.
        same_as: the path of the largest module that gives the very same tensor when evaluating,
            which is this one's own if there is no larger one.
    """

    path: str
    shape: tuple[int, ...]
    whole: bool
    meaning: str
    alias: str
    same_as: str


class SiteTable(tuple[SiteRow, ...]):
    """Rows in the order of the forward pass.

    Printed, it is a table of the rows that are ``whole`` and not the same as a larger module's.
    """

    __slots__ = ()

    def __str__(self) -> str:
        shown = [row for row in self if row.whole and (row.alias or row.same_as == row.path)]
        cells = [("site", "shape", "what is mixed")]
        for row in shown:
            name = {"word": " ('word')", "sent": " (its input: 'sent')"}.get(row.alias, "")
            cells.append((row.path, "x".join(map(str, row.shape)), row.meaning + name))
        widths = [max(len(line[i]) for line in cells) for i in range(2)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in cells]
        if len(shown) < len(self):
            lines.append(f"({len(self) - len(shown)} more: parts of these, and branches beside a")
            lines.append("residual connection, which part of the input goes around)")
        return "\n".join(lines)


def sites(model: nn.Module, batch: Mapping[str, Any] | Tensor, **options: str) -> SiteTable:
    """The submodules whose output can be mixed, with shapes and a word on what each means.

    Runs the model once on the batch, in evaluation mode, with a graph; nothing of it is changed.
    Listed are the submodules that are called once and give a floating-point tensor that begins with
    the batch's examples and reaches the logits. ``PATH:input`` can be mixed too: what the submodule
    is given.

    Args:
        model: any module.
        batch: what it takes by name, a few examples; or its one tensor.
        options: ``labels`` and ``logits``, as for :class:`ampmix.MixStep`.

    Raises:
        AmpmixError: if the model gives no logits.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> print(sites(net, torch.randn(2, 4)))
    site  shape  what is mixed
    0     2x8    a vector an example
    1     2x8    a vector an example
    2     2x3    the logits
    """
    own = own_module(model)
    inputs = dict(batch) if isinstance(batch, Mapping) else {}
    inputs.pop(options.get("labels", "labels"), None)
    args = () if isinstance(batch, Mapping) else (batch,)
    calls: dict[nn.Module, list[Any]] = {}

    def handler(module: nn.Module, call: Any, args: Any, kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        calls.setdefault(module, []).append(output)
        return output

    modules = dict(own.named_modules())
    leaves = [p for p in own.parameters() if p.is_floating_point()]
    with ExitStack() as stack:
        stack.enter_context(_evaluating(own))
        stack.enter_context(torch.enable_grad())
        for frozen in [p for p in leaves if not p.requires_grad]:
            frozen.requires_grad_(True)
            stack.callback(frozen.requires_grad_, False)
        stack.enter_context(intercepted([m for path, m in modules.items() if path], handler))
        logits = logits_of(own(*args, **inputs), options.get("logits", "logits"))
    if logits.dim() == 0:
        raise AmpmixError("the model gives one number for the batch where logits are needed")
    aliases, tokens = _aliases(own), _tokens(inputs)
    rows, largest = [], dict[frozenset[Any], str]()
    for path, module in modules.items():  # from large to small
        hidden = _hidden(calls.get(module, []), logits)
        if not hidden:
            continue
        nodes = nodes_of(hidden)
        seen = graph_behind([logits.grad_fn], stop=nodes)
        if nodes & seen:
            same = largest.setdefault(frozenset(nodes), path)
            whole = not passed_by(nodes, seen, _earlier(module, calls))
            meaning = _meaning(hidden[0], logits, tokens)
            shape = tuple(hidden[0].shape)
            rows.append(SiteRow(path, shape, whole, meaning, aliases.get(path, ""), same))
    order = {module: i for i, module in enumerate(calls)}
    return SiteTable(sorted(rows, key=lambda row: order[modules[row.path]]))


def _earlier(module: nn.Module, calls: Mapping[nn.Module, list[Any]]) -> set[Any]:
    """The nodes of what modules gave before this one did."""
    before = itertools.takewhile(lambda call: call[0] is not module, calls.items())
    return nodes_of(outputs for _, outputs in before)


def _hidden(outputs: list[Any], logits: Tensor) -> list[Tensor]:
    """Outputs of a submodule that can be mixed; none unless it ran once and has a batch axis."""
    hidden = [
        leaf
        for leaf in leaves(outputs[:1])
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.requires_grad
    ]
    once = len(outputs) == 1 and all(x.shape[:1] == logits.shape[:1] for x in hidden)
    return hidden if once else []


def _meaning(x: Tensor, logits: Tensor, tokens: int | None) -> str:
    if x.shape == logits.shape:
        return "the logits"
    if x.dim() == 2:
        return "a vector an example"
    if x.dim() == 3 and (tokens is None or tokens in x.shape[1:]):
        return "a vector a token"
    return "feature maps" if x.dim() == 4 else "a tensor an example"


def _tokens(inputs: Mapping[str, Any]) -> int | None:
    """Number of tokens a text in the batch's attention mask, or None without a mask."""
    for name in MASKS:
        if isinstance(mask := inputs.get(name), Tensor) and mask.dim() == 2:
            return int(mask.shape[1])
    return None


def _aliases(model: nn.Module) -> dict[str, str]:
    """Short site names (``word``, ``sent``) by the path of the submodule."""
    found = {}
    for alias in ALIASES:
        with suppress(AmpmixError):
            found[find_site(model, alias).path] = alias
    return found


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each module in its own again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
