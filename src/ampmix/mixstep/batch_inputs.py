"""Inputs of a model: masks, which are united for mixed pairs, and rows in another order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.trees import Path, mapped_by_path

MASKS = ("attention_mask", "mask", "input_mask")
"""Inputs that are true (or 1) where there is a token."""

PADDING_MASKS = ("src_key_padding_mask", "key_padding_mask", "padding_mask", "pad_mask")
"""Inputs that are true (or 1) where there is none."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

IDS = ("input_ids",)
"""Inputs in which some models look for padding."""


@uncompiled
@dataclass(frozen=True, eq=False)
class Mask:
    """An input that says where tokens are.

    Attributes:
        value: the input itself, ``[B, ...]``.
        form: ``token`` (true or 1 at tokens), ``padding`` (true or 1 elsewhere), ``additive`` (0 at
            tokens, negative elsewhere) or ``ids`` (`padding` where there is none).
    """

    value: Tensor
    form: str
    padding: int = 0

    @property
    @uncompiled
    def present(self) -> Tensor:
        """True where there is a token."""
        if self.form == "additive":
            return self.value >= 0
        return self.value == 0 if self.form == "padding" else self.value != self.padding

    def saying(self, present: Tensor) -> Tensor:
        """A mask of the same form that says that tokens are where `present` is true."""
        like = self.value
        if self.form == "additive":
            lowest = torch.finfo(like.dtype).min
            return like.new_zeros(present.shape).masked_fill(~present, lowest)
        if self.form == "ids":
            return _filled(like, self.present, present).where(present, self.padding)
        return (~present if self.form == "padding" else present).to(like.dtype)


@uncompiled
class Inputs:
    """Inputs of one call of a model.

    Masks are found by name, at any depth and whatever their number of tokens: an input called
    `mask` in a dictionary in a tuple is one. What has no name of its own (``*args``, the items of a
    tuple) is named by its position.

    Args:
        masks: names of inputs that are true where there is a token.
        padding_masks: names of inputs that are true where there is none.
        model: whose parameters name the positional ones.
        args: of the call.
        kwargs: likewise.
        batch: how many examples there are.
    """

    def __init__(
        self,
        masks: Sequence[str],
        padding_masks: Sequence[str],
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        batch: int,
    ) -> None:
        self.names = (masks, padding_masks)
        self.model, self.args, self.kwargs, self.batch = model, tuple(args), dict(kwargs), batch
        self.positions = _positional_names(model, len(args))
        self.tensors: dict[Path, Tensor] = {}
        self._changed(self._look)
        self.masks = {
            path: Mask(value, form, padding_id(model) if form == "ids" else 0)
            for path, value in self.tensors.items()
            if (form := self._form(path, value))
        }

    def _look(self, path: Path, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            self.tensors[path] = leaf
        return leaf

    def _form(self, path: Path, value: Tensor) -> str:
        """The form of a mask, "" for what is none."""
        masks, padding_masks = self.names
        names = {path[-1], ".".join(path)}
        if value.dim() < 2 or len(value) != self.batch or not names & {*masks, *padding_masks}:
            return ""
        if value.is_floating_point() and bool((value <= 0).all()):
            return "additive"
        if names & set(padding_masks):
            return "padding"
        whole = not value.is_floating_point() and value.dtype != torch.bool
        return "ids" if whole and path[-1] not in MASKS and bool((value > 1).any()) else "token"

    def _changed(self, change: Callable[[Path, Any], Any]) -> Arguments:
        """The arguments, with a function of each leaf in its place."""
        named = zip(self.positions, self.args, strict=True)
        args = tuple(mapped_by_path(change, value, (name,)) for name, value in named)
        return args, {n: mapped_by_path(change, value, (n,)) for n, value in self.kwargs.items()}

    def new(self, change: Callable[[Path, Any], Any]) -> Inputs:
        """The inputs of another call, with a function of each leaf in its place."""
        args, kwargs = self._changed(change)
        return Inputs(*self.names, self.model, args, kwargs, self.batch)

    def with_masks(self, united: Mapping[Path, Tensor]) -> Arguments:
        """The arguments, in which tokens are where these say, by the path of the mask.

        Ids are looked at for padding alone (the embeddings are there already), so where the partner
        alone has a token, a token of the text's own stands in for it.
        """
        if not united:
            return self.args, self.kwargs
        present = {}
        for path in united:
            present[path] = self.masks[path].present

        @uncompiled
        def change(path: Path, leaf: Any) -> Any:
            if path in united:
                return self.masks[path].saying(united[path])
            if path and path[-1] in IDS and isinstance(leaf, Tensor) and leaf.dim() == 2:
                for other in sorted(united, key=lambda other: other[:-1] != path[:-1]):
                    if present[other].shape == leaf.shape:
                        return _filled(leaf, present[other], united[other])
            return leaf

        return self._changed(change)

    def reordered(self, order: Tensor, axis: int = 0, but: Sequence[Path] = ()) -> Inputs:
        """The inputs with the examples in another order.

        Args:
            order: indices ``[B]``.
            axis: of the inputs, that which counts examples.
            but: paths of inputs to leave as they are.
        """

        @uncompiled
        def change(path: Path, leaf: Any) -> Any:
            if path in but or not isinstance(leaf, Tensor) or not _counts(leaf, axis, self.batch):
                return leaf
            return leaf.index_select(axis, order.to(leaf.device))

        def rows(value: Any) -> Any:
            """Lists of texts, which are no tensors yet."""
            texts = isinstance(value, list | tuple) and all(isinstance(x, str) for x in value)
            if not texts or len(value) != self.batch:
                return value
            return type(value)(value[i] for i in order.tolist())

        found = self.new(change)
        found.args = tuple(rows(value) for value in found.args)
        found.kwargs = {name: rows(value) for name, value in found.kwargs.items()}
        return found


@uncompiled
def padding_id(model: nn.Module) -> int:
    """The id that fills up short texts, as a model of transformers knows it; 0 by default."""
    found = getattr(getattr(model, "config", None), "pad_token_id", None)
    return found if isinstance(found, int) else 0


@uncompiled
def _counts(leaf: Tensor, axis: int, batch: int) -> bool:
    """Return True if an axis of an input counts the examples; of a vector it is the only one."""
    axis = axis if leaf.dim() > axis else 0
    return leaf.dim() > axis and leaf.shape[axis] == batch


@uncompiled
def _filled(ids: Tensor, own: Tensor, all_tokens: Tensor) -> Tensor:
    """Ids with each text's first token where it has none and `all_tokens` says it has."""
    if ids.dim() != 2:
        return torch.where(all_tokens & ~own, 1, ids).to(ids.dtype)
    first = ids.gather(1, own.int().argmax(1, keepdim=True))
    return torch.where(all_tokens & ~own, first, ids)


@uncompiled
def _positional_names(model: nn.Module, count: int) -> list[str]:
    """Names of the first `count` parameters of a forward; their numbers if they have none."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return (names + [str(i) for i in range(len(names), count)])[:count]
