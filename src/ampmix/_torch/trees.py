"""Tensors in nested dicts, lists and tuples, by PyTorch's own walk through them."""

from __future__ import annotations

from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

leaves = tree_leaves
"""``leaves(things)``: what lies in nested containers, in a list."""
flattened = tree_flatten
"""``flattened(things)``: the leaves, and what the containers around them were."""
rebuilt = tree_unflatten
"""``rebuilt(leaves, spec)``: the containers, with other leaves in them."""
mapped = tree_map
"""``mapped(function, things)``: the containers, with a function of each leaf in its place."""
