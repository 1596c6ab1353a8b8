"""The base classes of backbones: descriptions, modules that can be cut into g and f, stacking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ampmix._support import components
from ampmix._support.attempts import attempt
from ampmix._torch.generators import Ragged
from ampmix.backbones.weights import WEIGHTS, check_shapes, header_of
from ampmix.data.dataset import Split
from ampmix.errors import unknown
from ampmix.text.coverage import coverage_notes
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
        """Return the model as f(g) on a batch.

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
        self.check_site(site)
        site = site or next(reversed(self.config.sites), "")
        return self._cut(ids, mask, site, generator)

    @property
    def at_once(self) -> int:
        """Number of texts that are read at once where nothing is trained."""
        return 256

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None or a site of this module."""
        self.config.check_site(site)

    def save(self, folder: Path, reader: Reader, classes: tuple[str, ...]) -> dict[str, Any]:
        """Write the weights to a model folder; return what its ``config.json`` must hold."""
        from safetensors.torch import save_file

        state = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        return {"reader": reader.as_json()}

    def begin(self, train: Encoded, device: torch.device) -> None:
        """Set the weights that start from the training texts; by default none do.

        Args:
            train: the training part.
            device: where the module is.
        """

    @abstractmethod
    def _cut(
        self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None
    ) -> Cut: ...

    @property
    def head(self) -> nn.Linear:
        """The last layer, which gives the logits; called ``output`` unless a backbone says else."""
        output: nn.Linear = self.get_submodule("output")  # type: ignore[assignment]
        return output

    def read_ahead(self, parts: Sequence[Encoded], device: torch.device) -> None:
        """Compute what stays the same of these texts while the module trains, before it does."""

    def forget(self) -> None:
        """Drop what was kept of texts while the module trained."""

    def logit_parameters(self) -> list[nn.Parameter]:
        """Return the parameters in which the logits are linear, such as the last layer's."""
        return list(self.head.parameters())

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]``."""
        f, g = self.cut(ids, mask)
        return f(*g)

    def exportable(self) -> nn.Module:
        """A module with the same ``forward``, made of operations that ONNX has."""
        return self


class Stacking(ABC):
    """Computes S models of one architecture as one: their weights have a leading axis of seeds.

    An optional acceleration for GPUs (``docs/decisions/0013-replicas.md``); one for each backbone
    in :mod:`ampmix.backbones.stacked`.
    """

    pays_for_one: ClassVar[bool] = True
    """True if one model alone is to be trained so on a GPU, where its steps are then recorded."""

    @property
    @abstractmethod
    def weights(self) -> tuple[str, ...]:
        """Names of the weights with that axis: at least all that train."""

    @abstractmethod
    def cut(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        mask: Tensor,
        site: str | None,
        dropout: Ragged,
    ) -> Cut:
        """Return f and g of S training models at once, each on a batch of its own.

        Args:
            weights: those weights of all S models by name, ``[S, ...]``; the first axis of one
                model may end in rows that only fill up.
            inputs: token ids ``[S, B, L]``, or features ``[S, B, d]`` from :meth:`constant`.
            mask: true where there is a token, ``[S, B, L]``.
            site: one of the backbone's ``sites``; None for the cheapest.
            dropout: the sources of dropout masks, and how many rows of each batch are examples.

        Returns:
            As :meth:`CutModule.cut`, with S as the leading axis.
        """

    def constant(self, model: CutModule, part: Encoded, device: torch.device) -> Tensor | None:
        """Return features that stay fixed during training, ``[n, d]``, or None.

        A frozen encoder computes them once; training then reads these instead of token ids.
        """
        return None


@dataclass(frozen=True)
class Backbone(ABC):
    """Describes an architecture; :meth:`build` makes the module.

    What a backbone can do beyond that, it declares by the class variables and :attr:`stacking`.
    """

    name: ClassVar[str]
    sites: ClassVar[tuple[str, ...]]
    """Sites of every model of the class, the cheapest last; :attr:`all_sites` may be others."""
    reads_folder: ClassVar[bool] = False
    """True if loading looks for more files than ampmix itself writes, as transformers does."""
    takes_vectors: ClassVar[bool] = False
    """True if it has an option ``vectors``, a file of pretrained word vectors."""
    described: ClassVar[str] = ""
    """In words, as a sentence names it, such as ``the CNN``; "" for its spec string."""
    printed_as: ClassVar[str] = ""
    """Name of its default settings in the paper's tables; "" if they lack it."""
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Values of options that are one of several names; contract tests try each."""
    version: ClassVar[int] = 1
    """Raised where a spec string comes to mean another model: records of before are of others."""
    tiny: ClassVar[Mapping[str, Any]] = {}
    """Options with which it trains in a second: contract tests run a backbone with these."""

    @property
    def reference_name(self) -> str:
        """Name in the paper's tables, or "" if they lack it."""
        default = all(getattr(self, f.name) == f.default for f in fields(self))
        return self.printed_as if default else ""

    @property
    def title(self) -> str:
        """The model as a sentence names it: what its own class says, or its spec string."""
        own: str = vars(type(self)).get("described", "")
        return own or attempt(lambda: self.public_spec, self.name, "a spec string")

    @property
    def identity(self) -> str:
        """Spec string for a run's specification: files by content, not by name."""
        return components.spec(self)

    @property
    def public_spec(self) -> str:
        """Spec string without private paths, for model folders, summaries and trackers."""
        return components.spec(self)

    @property
    def base_model(self) -> str | None:
        """Hub name of the pretrained model that training begins with, None without one."""
        return None

    def coverage(self, texts: tuple[str, ...], tokenizer: str) -> Coverage | None:
        """Count the words of the texts that have a pretrained vector; None without vectors."""
        return None

    def notes(self, split: Split, max_length: int) -> list[str]:
        """Return sentences for people on how the backbone will read a split, before it trains."""
        parts = {
            "training texts": split.train.texts,
            "development texts": split.dev.texts,
            "test texts": split.test.texts,
        }
        reader = self.reader(split.train.texts, split.tokenizer, max_length)
        return coverage_notes(reader, list(parts.items()))

    @property
    def stacking(self) -> Stacking | None:
        """The form with an axis of seeds, or None: its seeds are then trained one by one."""
        return None

    @property
    def all_sites(self) -> tuple[str, ...]:
        """The sites of this very model, which its options or files may decide."""
        return self.sites

    @property
    def default_site(self) -> str:
        """The site for policies whose own default this model does not have; "" for none."""
        return ""

    @property
    def drops(self) -> bool:
        """True if the model has dropout, as one without an option ``dropout`` may."""
        return getattr(self, "dropout", None) != 0

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None or one of :attr:`all_sites`."""
        if site is not None and site not in self.all_sites:
            raise unknown(f"site of backbone {self.name}", site, self.all_sites)

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """Settings of :class:`ampmix.TrainConfig` that suit this backbone better."""
        return {}

    @property
    def reads_pool(self) -> bool:
        """True if reading all texts of a data set once is cheaper than those of each split."""
        return False

    def steps_for(self, texts: int) -> int:
        """Steps that suit this backbone and so many training texts, 0 for no opinion.

        By default those of :attr:`training_defaults`, whatever the texts.
        """
        return int(self.training_defaults.get("steps", 0))

    def reader(self, texts: Sequence[str], tokenizer: str, max_length: int) -> Reader:
        """Make the reader, with the vocabulary of the training part where there is one."""
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
        if self.takes_vectors and (vectors := getattr(self, "vectors", "")):
            raise ValueError(
                f"it names the vectors {vectors[:80]!r}, and a saved model has its own"
            )
        return self._loaded(WordReader.of_json(config["reader"]), folder, config)

    def _loaded(
        self, reader: Reader, folder: Path, config: Mapping[str, Any]
    ) -> tuple[CutModule, Reader]:
        """The module for a reader with the weights in a folder, whose header is read first."""
        from safetensors.torch import load_file

        expected = self.shapes(len(reader), len(config["classes"]))
        check_shapes(header_of(folder / WEIGHTS), expected)
        model = self.build(reader, len(config["classes"]), torch.Generator())
        model.load_state_dict(load_file(folder / WEIGHTS))
        return model, reader
