"""sites(): where a model can be mixed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ampmix.errors import AmpmixError
from ampmix.mixstep.autograd_graph import nodes_of
from ampmix.mixstep.batch_inputs import MASKS
from ampmix.mixstep.model_parts import evaluating, own_module
from ampmix.mixstep.site import ALIASES, find_site
from ampmix.mixstep.trial import Trial


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

    Runs the model on the batch, in evaluation mode; nothing of it is changed. Listed are the
    submodules that are called once and give a floating-point tensor that has an axis of the batch's
    examples and reaches the logits. ``whole`` is by trial: where all of a text passes, the logits
    of an example that gets another one's hidden states there are the other one's. ``PATH:input``
    can be mixed too: what the submodule is given.

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
    labels, name = options.get("labels", "labels"), options.get("logits", "logits")
    inputs = dict(batch) if isinstance(batch, Mapping) else {}
    inputs.pop(labels, None)
    args = () if isinstance(batch, Mapping) else (batch,)
    modules = dict(own.named_modules())
    with ExitStack() as stack:
        stack.enter_context(evaluating(own))
        stack.enter_context(torch.enable_grad())
        for frozen in [p for p in own.parameters() if p.is_floating_point()]:
            if not frozen.requires_grad:
                frozen.requires_grad_(True)
                stack.callback(frozen.requires_grad_, False)
        trial = Trial(own, own, args, inputs, name)
        aliases, tokens = _aliases(own), _tokens(inputs)
        rows, largest = [], dict[frozenset[Any], str]()
        for path, module in modules.items():  # from large to small
            hidden = trial.hidden(module) if path else {}
            if not hidden:
                continue
            nodes = nodes_of(hidden.values())
            same = largest.setdefault(frozenset(nodes), path)
            first = next(iter(hidden.values()))
            rows.append(
                SiteRow(
                    path,
                    tuple(first.shape),
                    trial.whole(path, module),
                    _meaning(first, trial.logits, tokens),
                    aliases.get(path, ""),
                    same,
                )
            )
    return SiteTable(sorted(rows, key=lambda row: trial.order[modules[row.path]]))


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
