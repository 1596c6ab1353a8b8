"""Search an autograd graph: which tensors depend on which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ampmix._torch.compiling import uncompiled
from ampmix._torch.trees import leaves


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
        for leaf in leaves(list(things))
        if isinstance(leaf, Tensor) and leaf.requires_grad
    }


@uncompiled
def depending(ends: Iterable[Any], roots: set[Any]) -> set[Any]:
    """The nodes behind `ends`, and among them, that are one of `roots` or have one behind them."""
    found: dict[Any, bool] = {}
    todo = [(node, False) for node in ends if node is not None]
    while todo:
        node, known = todo.pop()
        if known:
            after = (behind for behind, _ in node.next_functions if behind is not None)
            found[node] = node in roots or any(found[behind] for behind in after)
        elif node not in found:
            found[node] = False
            todo.append((node, True))
            todo += [(behind, False) for behind, _ in node.next_functions if behind is not None]
    return {node for node, holds in found.items() if holds}


@uncompiled
def passed_by(site: set[Any], seen: set[Any], earlier: set[Any], texts: Any = None) -> bool:
    """Return True if something computed before a site reaches the end without passing it.

    Args:
        site: the nodes of the site's hidden states.
        seen: the nodes behind the end, ``graph_behind([end], stop=site)``.
        earlier: nodes of the outputs of modules that ran before the site was reached.
        texts: the nodes that hold something of a text. What is computed of parameters alone, as
            relative positions are, then does not count. None: all but parameters does.
    """
    before = ((graph_behind(site) | earlier) - site) & seen
    if texts is not None:
        return bool(before & texts)
    return any("AccumulateGrad" not in type(node).__name__ for node in before)
