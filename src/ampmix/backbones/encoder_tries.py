"""Which runs of an encoder's layers give what the whole body does: each is tried once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import traced
from ampmix._torch.evaluation import in_evaluation
from ampmix.backbones.encoder_layers import Layers, Point, find_layers, probe
from ampmix.backbones.encoder_pooling import pooled
from ampmix.backbones.first_token import KINDS
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.backbones.encoder import Encoder

TOLERANCE = 1e-3
"""How far two ways to the same features may differ, relative to the largest of them."""


class TriedLayers:
    """The layers of a body, and which runs of them were tried on a small batch and agree.

    A body is given to each method, as it may be replaced, copied or moved.
    """

    def __init__(self, config: Encoder) -> None:
        self._config = config
        self._layers: Layers | None = None
        self._apart: frozenset[int] = frozenset()
        self._reads_first: bool | None = None

    def apart(self, body: Any, at: int) -> Layers:
        """The layers, of which those above layer `at` can be run by themselves.

        Raises:
            AmpmixError: they cannot.
        """
        if self._layers is not None and at in self._apart:
            return self._layers
        with torch.no_grad():
            layers = self._found(body)
            if layers is None or not self._agree_apart(layers, body, at):
                way_out = "mix at site word or sent, without train_layers"
                raise self._unfit(body, f"run apart after layer {at}", way_out)
        self._apart |= {at}
        return layers

    def each(self, body: Any) -> Layers:
        """The layers, what each of which reads can be seen.

        Raises:
            AmpmixError: it cannot.
        """
        layers = self._found(body)
        if layers is None:
            raise self._unfit(body, "told apart", "use pooling=mean")
        return layers

    def one_token(self, body: Any) -> bool:
        """Return True if the last layer may be run for the first token alone.

        It may where the head reads no other, and unless the run is traced or compiled.
        """
        if traced():
            return False
        if self._reads_first is None:
            fit = self._config.pooled == "head" and body.config.model_type in KINDS
            self._reads_first = fit and self._agree_for_first(body)
        return self._reads_first

    def _found(self, body: Any) -> Layers | None:
        self._layers = self._layers or find_layers(*_probed(body))
        return self._layers

    def _agree_apart(self, layers: Layers, body: Any, at: int) -> bool:
        still, embedded, mask = _probed(body)
        _, point = layers.run(still, mask, embedded, at)
        assert point is not None
        hidden = point.hidden.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self._agree(body, layers.run(still, mask, Point(at, hidden))[0])

    def _agree_for_first(self, body: Any) -> bool:
        with torch.no_grad():
            layers = self._found(body)
            if layers is None:
                return False
            still, embedded, mask = _probed(body)
            return self._agree(body, layers.run(still, mask, embedded, first_token=True)[0])

    def _agree(self, body: Any, output: Any) -> bool:
        """Return True if a run of the probe gave what the whole body gives."""
        still, embedded, mask = _probed(body)
        whole = still(inputs_embeds=embedded, attention_mask=mask.long())
        wanted, found = (pooled(self._config.pooled, made, mask) for made in (whole, output))
        return bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())

    def _unfit(self, body: Any, lacking: str, way_out: str) -> AmpmixError:
        named = f"{self._config.public_spec} ({body.config.model_type})"
        return AmpmixError(f"the layers of {named} cannot be {lacking}: {way_out}")


def _probed(body: Any) -> tuple[nn.Module, Tensor, Tensor]:
    """A body that drops nothing, and embedded words and mask of a batch to try it on."""
    still, (ids, mask) = in_evaluation(body), probe(body)
    with torch.no_grad():
        return still, still.get_input_embeddings()(ids), mask
