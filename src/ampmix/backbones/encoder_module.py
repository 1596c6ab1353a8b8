"""The module of an encoder: a transformers model, its last layer, and how it is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._torch.random_state import seeded, with_random_state
from ampmix.backbones.base import Cut, CutModule
from ampmix.backbones.encoder_cache import Cache
from ampmix.backbones.encoder_heads import EncodeAndClassify, LayersAndClassify
from ampmix.backbones.encoder_layers import Point, below, probe
from ampmix.backbones.encoder_pooling import means, pooled
from ampmix.backbones.encoder_tries import TriedLayers
from ampmix.backbones.feature_cache import (
    Floats,
    at_once,
    batches,
    cached,
    distinct_rows,
    features_of,
)
from ampmix.backbones.heads import Classify
from ampmix.backbones.hf_loading import bare_body, explained, put, whole_model
from ampmix.backbones.hf_reader import HFReader
from ampmix.backbones.linear_start import linear_head
from ampmix.backbones.weights import HEAD
from ampmix.errors import AmpmixError
from ampmix.mixstep.site import last_linear
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

if TYPE_CHECKING:
    from ampmix.backbones.encoder import Encoder

TOKEN = np.dtype(np.int32).itemsize  # bytes of a token


class EncoderModule(CutModule):
    """A transformers model without its last linear layer (``body``), and that layer (``output``).

    The body's dropout draws from PyTorch's global generator: a cut draws a seed, and every pass of
    its f runs under that seed, so that all passes of a step see the same masks and nobody's random
    state is touched.

    ``encoded`` holds what the frozen part makes of texts while the rest trains.
    """

    config: Encoder

    def __init__(
        self, config: Encoder, folder: str, classes: int, *, trained: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        model = folder if trained else config.model  # what messages name
        if config.pooled != "head":
            self.body, self.path = bare_body(model, folder), ""
            means = len(self._read) + 1 if config.pooled == "layers" else 1
            self.output = nn.Linear(means * self.body.config.hidden_size, classes)
            nn.init.normal_(self.output.weight, std=0.02)
            nn.init.zeros_(self.output.bias)
            if trained:
                self._load_head(Path(folder))
        else:
            self.body = whole_model(model, folder, classes, trained)
            self.path = _head_path(self.body, classes, model)
            self.output = self.body.get_submodule(self.path)
            put(self.body, self.path, nn.Identity())
        self.encoded = Cache()
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        self._layers = TriedLayers(config)
        self._below: tuple[str, ...] = ()
        self.eval()
        if config.freeze:
            self.body.requires_grad_(False)
        elif config.train_layers:
            self._freeze_below()

    def train(self, mode: bool = True) -> EncoderModule:
        """Set the mode; parts that are frozen stay in evaluation mode, and drop nothing."""
        super().train(mode)
        if self.config.freeze:
            self.body.eval()
        for name in self._below:
            self.body.get_submodule(name).eval()
        return self

    def check_site(self, site: str | None) -> None:
        """See :meth:`ampmix.backbones.base.CutModule.check_site`; no files are read for it."""
        self.config.check_site_of(site, self._count)

    @property
    def _count(self) -> int:
        return int(getattr(self.body.config, "num_hidden_layers", 0))

    @property
    def _first(self) -> int:
        """Number of layers below those that train."""
        return self._count - self.config.train_layers

    @property
    def _read(self) -> list[int]:
        """Numbers of layers before which ``pooling=layers`` reads: 0 and after each third."""
        return sorted({self._count * thirds // 3 for thirds in range(3)})

    # --- passes ------------------------------------------------------------------------------

    def features(self, embedded: Tensor, mask: Tensor, seed: int | None = None) -> Tensor:
        """Compute the input of the last layer, ``[B, d]``, from embedded words ``[B, L, d]``."""
        with seeded(seed, embedded.device):
            if self.config.pooled == "layers":
                layers = self._layers.each(self.body)
                made, states = layers.read(self.body, mask, embedded, self._read)
                return means([*states, made.last_hidden_state], mask)
            if self._layers.one_token(self.body):
                layers = self._layers.each(self.body)
                made, _ = layers.run(self.body, mask, embedded, first_token=True)
            else:
                made = self.body(inputs_embeds=embedded, attention_mask=mask.long())
        return pooled(self.config.pooled, made, mask)

    def features_above(self, point: Point, mask: Tensor, seed: int | None = None) -> Tensor:
        """Compute the input of the last layer, ``[B, d]``, from between two layers."""
        with seeded(seed, mask.device), with_random_state(point.state):
            layers, one = self._layers.apart(self.body, point.at), self._layers.one_token(self.body)
            made, _ = layers.run(self.body, mask, point, first_token=one)
        return pooled(self.config.pooled, made, mask)

    def _cut(self, ids: Tensor, mask: Tensor, site: str, generator: torch.Generator | None) -> Cut:
        like = self.output.weight.new_empty(()).expand(ids.shape[0], self.output.in_features)
        classify = Classify.of(self.output, like, self.config.dropout, self.training, generator)
        if self.config.freeze:
            return classify, (self._sentence(ids, mask),)
        draw = partial(_seed, generator) if self.training else None
        seed = draw() if draw else None
        if site == "sent":
            return classify, (self._sentence(ids, mask, seed),)
        if site in ("word", "embedding"):
            words = self.body.get_input_embeddings()(ids)
            return EncodeAndClassify(self, classify, seed, draw), (words, mask)
        point = self._point(ids, mask, int(site.removeprefix("layer.")), seed)
        # padding counts as zero: what a layer makes of it depends on the batch's longest text
        hidden = point.hidden.masked_fill(~mask.unsqueeze(-1), 0.0)
        head = LayersAndClassify(self, classify, point.at, point.state, seed, draw)
        return head, (hidden, mask)

    def _sentence(
        self, ids: Tensor, mask: Tensor, seed: int | None = None, keep: bool = False
    ) -> Tensor:
        """Features of texts, ``[B, d]``; what is frozen is kept in memory if `keep` or training."""

        def features(ids: Tensor, mask: Tensor) -> Tensor:
            return self.features(self.body.get_input_embeddings()(ids), mask, seed)

        if keep or self._keeps:
            if self.config.freeze:
                return torch.stack(self.encoded.of(ids, mask, features))
            if self.config.train_layers:
                point = Point(self._first, self._frozen(ids, mask, keep))
                return self.features_above(point, mask, seed)
        return features(ids, mask)

    def _point(self, ids: Tensor, mask: Tensor, at: int, seed: int | None) -> Point:
        """Hidden states after layer `at`, and the random state that the layers above begin with."""
        frozen = self.config.train_layers > 0
        begin = Point(self._first, self._frozen(ids, mask)) if frozen else None
        if begin and begin.at == at:
            return begin
        layers = self._layers.apart(self.body, at)
        words = begin or self.body.get_input_embeddings()(ids)
        one = at == self._count and self._layers.one_token(self.body)
        with seeded(seed, ids.device):
            _, point = layers.run(self.body, mask, words, at, first_token=one)
        assert point is not None
        unread = mask.shape[1] - point.hidden.shape[1]  # what the head does not read is zero
        hidden = F.pad(point.hidden, (0, 0, 0, unread))
        return replace(point, hidden=hidden, state=point.state if seed is not None else None)

    # --- what is frozen ----------------------------------------------------------------------

    @property
    def _keeps(self) -> bool:
        """True while it trains, until weights are loaded."""
        return self.training or len(self.encoded) > 0

    def _frozen(self, ids: Tensor, mask: Tensor, keep: bool = False) -> Tensor:
        """Hidden states of the frozen layers, ``[B, L, d]``, zero at padding."""
        if not (keep or self._keeps):
            return self._lower(ids, mask)

        def rows(ids: Tensor, mask: Tensor) -> list[Tensor]:
            kept = zip(self._lower(ids, mask), mask, strict=True)
            return [hidden[own].to(self.output.weight.dtype) for hidden, own in kept]

        made = torch.cat(self.encoded.of(ids, mask, rows))
        hidden = made.new_zeros(*mask.shape, made.shape[-1])
        hidden[mask] = made
        return hidden

    @property
    def at_once(self) -> int:
        """See :attr:`ampmix.backbones.base.CutModule.at_once`."""
        return at_once(self.output.weight.device)

    def _lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            embedded = self.body.get_input_embeddings()(ids)
            layers = self._layers.apart(self.body, self._first)
            _, point = layers.run(self.body, mask, embedded, self._first)
        assert point is not None
        return point.hidden

    def encode_all(self, part: Encoded, device: torch.device, keep: bool = False) -> Tensor:
        """Return what the last layer reads of all texts without dropout, ``[n, d]``.

        Args:
            part: the texts.
            device: where the module is.
            keep: what is frozen, for training; it is in any case while the module trains.
        """
        order, found = np.argsort(part.lengths, kind="stable"), []
        for start in range(0, len(order), self.at_once):
            ids, mask, _ = part.batch(order[start : start + self.at_once])
            rows = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
            found.append(self._sentence(*rows, keep=keep))
        features = torch.cat(found)
        where = torch.from_numpy(order).to(device)
        return torch.empty_like(features).index_copy_(0, where, features)

    def read_ahead(self, parts: Sequence[Encoded], device: torch.device) -> None:
        """See :meth:`ampmix.backbones.base.CutModule.read_ahead`: texts of like length together."""
        rows, width = distinct_rows(parts), int(self.body.config.hidden_size)
        if not rows:
            return
        if self.config.freeze:
            self._keep(rows, features_of(self, rows, parts[0].padding, device), None)
            return
        sizes = [len(row) // TOKEN for row in rows]
        kept = sum(sizes) * width * self.output.weight.element_size()
        if not self.config.train_layers or kept > self.encoded.limit:
            return  # it would be made again anyway

        def compute() -> Floats:
            made = [
                self._lower(ids, mask)[mask].cpu().numpy()
                for ids, mask in batches(rows, parts[0].padding, device)
            ]
            return np.concatenate(made)

        found = cached(self, f"layer {self._first}", rows, (sum(sizes), width), compute)
        self._keep(rows, found, sizes)

    def _keep(self, rows: Sequence[bytes], found: Floats, sizes: list[int] | None) -> None:
        """Keep what was made of texts: a row each, or as many as `sizes` says."""
        made = torch.from_numpy(found).to(self.output.weight.device)
        self.encoded.fill(rows, made if sizes is None else made.split_with_sizes(sizes))

    def forget(self) -> None:
        """See :meth:`ampmix.backbones.base.CutModule.forget`."""
        self.encoded.clear()

    def begin(self, train: Encoded, device: torch.device) -> None:
        """Fit the last layer to the training texts as they are encoded now, if it starts so."""
        if self.config.start != "linear" or len(set(train.labels.tolist())) < 2:
            return
        with torch.no_grad():
            features = self.encode_all(train, device, keep=True).double().cpu().numpy()
            weight, bias = linear_head(features, train.labels, self.output.out_features)
            self.output.weight.copy_(torch.from_numpy(weight))
            self.output.bias.copy_(torch.from_numpy(bias))

    def _freeze_below(self) -> None:
        """Freeze all that the hidden states depend on which the layers that train begin with."""
        self.config.check_site_of(f"layer.{self._first}", self._count)
        layers = self._layers.apart(self.body, self._first)
        names = below(layers, self.body, self._first, *probe(self.body))
        modules = dict(self.body.named_modules())
        self._below = tuple(sorted(name for name in names if name in modules))
        for name, parameter in self.body.named_parameters():
            if name in names:
                parameter.requires_grad_(False)

    # --- files -------------------------------------------------------------------------------

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
            save_file(head, folder / HEAD)
        return {"reader": reader.as_json()}

    def _load_head(self, folder: Path) -> None:
        from safetensors.torch import load_file

        self.output.load_state_dict(load_file(folder / HEAD))


def _forget(module: EncoderModule, _: Any) -> None:
    """Drop the features of other weights; no closure, so that modules can be pickled and copied."""
    module.forget()


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
