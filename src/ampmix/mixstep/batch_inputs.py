"""Inputs of a model, whose attention masks are united for mixed pairs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled

MASKS = ("attention_mask", "mask", "input_mask")
"""Inputs that are true (or 1) where there is a token."""

PADDING_MASKS = ("src_key_padding_mask", "key_padding_mask", "padding_mask", "pad_mask")
"""Inputs that are true (or 1) where there is none."""

IDS = ("input_ids",)
"""Inputs in which some models look for padding."""


@uncompiled
class Inputs:
    """Inputs of one call of a model, whose attention masks are united for mixed pairs.

    A mask counts if what is mixed still has its axis of tokens: then two texts mixed have the
    tokens of both. Ids are looked at for padding alone (the embeddings are there already), so where
    the partner alone has a token, a token of the text's own stands in for it.
    """

    def __init__(
        self,
        masks: Sequence[str],
        padding_masks: Sequence[str],
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
            if name in masks or name in padding_masks:
                self.masks[name] = value, name in padding_masks
        self.present = [_present(value, padding) for value, padding in self.masks.values()]

    def _named(self) -> Iterator[tuple[str, Any]]:
        for name, value in [*zip(self.names, self.args, strict=True), *self.kwargs.items()]:
            if isinstance(value, Mapping):
                yield from value.items()
            else:
                yield name, value

    def with_masks(self, united: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Replace the masks of the inputs by these, true where there is a token."""
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
    """Names of the first `count` parameters of a model's forward; "" where it has no name."""
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
