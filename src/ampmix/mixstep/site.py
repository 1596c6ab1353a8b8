"""Sites: the submodule at whose input or output a model is cut, and its names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ampmix.errors import AmpmixError

ALIASES = ("word", "sent")


@dataclass(frozen=True)
class Site:
    """The output or the input of the submodule at ``path``, where a model is cut.

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
    config = getattr(model, "config", None)
    if alias == "word":
        if getattr(config, "is_encoder_decoder", False):
            raise AmpmixError(
                f"site is 'word', but {type(model).__name__} embeds the words of a text in its "
                "encoder and again in its decoder, so that at no place all of them can be mixed: "
                "give 'sent', or the path of a submodule (ampmix.sites(model, batch) lists them)"
            )
        try:
            embeddings = getattr(model, "get_input_embeddings", lambda: None)()
        except (NotImplementedError, AttributeError):  # all of transformers' models have the method
            return None
        paths = [path for path, module in modules.items() if module is embeddings]
        return Site(paths[0], "output", alias) if paths else None
    labels = getattr(config, "num_labels", None)
    if labels is None:
        return None
    # PEFT's model holds the one that it adapts
    adapted = hasattr(model, "peft_config") and hasattr(model, "get_base_model")
    inner: Any = model.get_base_model() if adapted else model  # type: ignore[operator]
    last = last_linear(inner, int(labels))
    if last is None:
        return None
    head = inner.get_submodule(last)
    return Site(next(path for path, m in modules.items() if m is head), "input", alias)


def last_linear(model: Any, classes: int) -> str | None:
    """The path of the last linear layer outside ``base_model`` with an output for each class."""
    body = {id(part) for part in getattr(model, "base_model", nn.Module()).modules()}
    paths: list[str] = [
        path
        for path, part in model.named_modules()
        if isinstance(part, nn.Linear) and part.out_features == classes and id(part) not in body
    ]
    return paths[-1] if paths else None
