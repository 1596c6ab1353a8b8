"""What a backbone is: a description that builds a module which can be cut into g and f."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ampmix._support import components
from ampmix._torch.generators import Ragged
from ampmix.backbones.weights import WEIGHTS, check_shapes, header_of
from ampmix.errors import unknown
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader, WordReader
from ampmix.text.vectors import Coverage

Cut = tuple[Callable[..., Tensor], tuple[Tensor, ...]]
"""``f, g``: what a policy is handed. ``f(*g)`` is the model's output."""


class CutModule(nn.Module, ABC):
    """A classifier of padded token ids that can be cut at its sites.

    ``forward(ids, mask)`` is ``f(*g)`` of any cut, so that a cut cannot drift from the model.
    """

    config: Backbone

    def cut(
        self,
        ids: Tensor,
        mask: Tensor,
        site: str | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Cut:
        """The model as f(g) on a batch.

        Dropout masks are drawn here, once, so that f is a deterministic function: every pass of a
        training step sees the same.

        Args:
            ids: token ids ``[B, L]``, padded with 0.
            mask: true where there is a token, ``[B, L]``.
            site: one of the backbone's ``sites``; None for the cheapest.
            generator: source of dropout masks.

        Returns:
            f and g; g is a tuple of hidden states and boolean masks.

        Raises:
            AmpmixError: for an unknown site.
        """
        self.config.check_site(site)
        return self._cut(ids, mask, site or self.config.sites[-1], generator)

    def save(self, folder: Path, reader: Reader, classes: tuple[str, ...]) -> dict[str, Any]:
        """Write the weights to a model folder; return what its ``config.json`` must hold."""
        from safetensors.torch import save_file

        state = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        return {"reader": reader.as_json()}

    @abstractmethod
    def _cut(
        self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None
    ) -> Cut: ...

    def stacked_cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """:meth:`cut` of S training models at once, each on a batch of its own.

        Only modules whose description names weights to stack (:attr:`Backbone.stacked`) have it.

        Args:
            weights: those weights of all S models by name, ``[S, ...]``; the first axis of one
                model may end in rows that only fill up.
            inputs: token ids ``[S, B, L]``, or ``[S, B, d]`` of what :meth:`constant` gives.
            mask: true where there is a token, ``[S, B, L]``.
            site: one of the backbone's ``sites``; None for the cheapest.
            dropout: the sources of dropout masks, and how many rows of each batch are examples.

        Returns:
            f and g, with S as their leading axis.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be stacked")

    def constant(self, part: Encoded, device: torch.device) -> Tensor | None:
        """What no step of training changes of texts, ``[n, d]``, if that is all the rest reads."""
        return None

    @property
    def head(self) -> nn.Linear:
        """The last layer, which gives the logits; called ``output`` unless a backbone says else."""
        output: nn.Linear = self.get_submodule("output")  # type: ignore[assignment]
        return output

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]``."""
        f, g = self.cut(ids, mask)
        return f(*g)

    def exportable(self) -> nn.Module:
        """A module with the same ``forward``, made of operations that ONNX has."""
        return self


@dataclass(frozen=True)
class Backbone(ABC):
    """A frozen description of an architecture; :meth:`build` makes the module."""

    name: ClassVar[str]
    sites: ClassVar[tuple[str, ...]]
    reads_folder: ClassVar[bool] = False
    """Whether loading looks for more files than ampmix itself writes, as transformers does."""
    printed_as: ClassVar[str] = ""
    """What the paper's tables call it with default settings, if they do."""

    @property
    def reference_name(self) -> str:
        """What the paper's tables call it, or "" if they do not have it."""
        default = all(getattr(self, f.name) == f.default for f in fields(self))
        return self.printed_as if default else ""

    @property
    def identity(self) -> str:
        """What determines it, as a run's specification has it: files by content, not by name."""
        return components.spec(self)

    @property
    def told(self) -> str:
        """Its spec string as strangers may see it: in model folders, summaries, trackers."""
        return components.spec(self)

    def coverage(self, texts: tuple[str, ...], tokenizer: str) -> Coverage | None:
        """How many words of the texts have a pretrained vector; None if it uses no vectors."""
        return None

    @property
    def stacked(self) -> tuple[str, ...]:
        """The weights that S seeds trained at once have an axis for, among them all that train.

        Empty unless its modules have :meth:`CutModule.stacked_cut`: seeds then train one by one.
        """
        return ()

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None or one of ``sites``."""
        if site is not None and site not in self.sites:
            raise unknown(f"site of backbone {self.name}", site, self.sites)

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """Settings of :class:`ampmix.training.config.TrainConfig` that suit this backbone
        better.
        """
        return {}

    def reader(self, texts: Sequence[str], tokenizer: str, max_length: int) -> Reader:
        """How this backbone reads texts, made from those of the training part."""
        return WordReader.of_texts(texts, tokenizer, max_length)

    @abstractmethod
    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """A module with initial weights drawn from `generator` alone."""

    def shapes(self, words: int, classes: int) -> dict[str, tuple[int, ...]]:
        """The weights of a module that :meth:`build` makes, by name, without making it.

        Args:
            words: token ids that the reader has.
            classes: of the module.
        """
        raise NotImplementedError(f"{self.name} loads its weights by itself")

    def load(self, folder: Path, config: Mapping[str, Any]) -> tuple[CutModule, Reader]:
        """The module and reader that :meth:`CutModule.save` wrote; `config` is ``config.json``.

        Nothing is allocated before the header of the weights agrees with the configuration, and
        nothing but the folder is read.
        """
        from safetensors.torch import load_file

        if vectors := getattr(self, "vectors", ""):
            raise ValueError(
                f"it names the vectors {vectors[:80]!r}, and a saved model has its own"
            )
        reader = WordReader.of_json(config["reader"])
        expected = self.shapes(len(reader), len(config["classes"]))
        check_shapes(header_of(folder / WEIGHTS), expected)
        model = self.build(reader, len(config["classes"]), torch.Generator())
        model.load_state_dict(load_file(folder / WEIGHTS))
        return model, reader
