"""The last layer of an encoder whose head reads the first token alone, run for that token.

What the layer makes of other tokens nobody reads: their queries, attention, feed-forward network
and gradients are left out. Keys and values are computed of all: of the ``12 d^2`` multiplications
of a token, ``2 d^2`` are left. What comes out is the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

KINDS = frozenset(
    {"bert", "camembert", "data2vec-text", "electra", "ernie", "roberta", "xlm-roberta"}
)
"""Types of models, as their configurations name them, whose layers are built like BERT's."""


class FirstToken(nn.Module):
    """A layer built like BERT's that returns the hidden states of the first token, ``[B, 1, d]``.

    With queries ``q = W_q h_1`` alone, ``y = softmax(q K^T / sqrt(n)) V``, then the residuals,
    LayerNorms and the feed-forward network of that token.

    Args:
        layer: whose weights and dropout it uses.
        form: 0 if the layer returns hidden states, else the length of the tuple it returns.
    """

    def __init__(self, layer: nn.Module, form: int) -> None:
        super().__init__()
        self.layer, self.form = layer, form

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
    ) -> Any:
        """Return ``[B, 1, d]`` of hidden states ``[B, L, d]``, in the layer's own form."""
        layer: Any = self.layer
        own = layer.attention.self
        first = hidden_states[:, :1]

        def heads(linear: nn.Module, x: Tensor) -> Tensor:
            size = own.attention_head_size
            return linear(x).view(*x.shape[:2], -1, size).transpose(1, 2)  # type: ignore[no-any-return]

        attended = F.scaled_dot_product_attention(
            heads(own.query, first),
            heads(own.key, hidden_states),
            heads(own.value, hidden_states),
            attn_mask=None if attention_mask is None else attention_mask[..., :1, :],
            dropout_p=own.dropout.p if own.training else 0.0,
        )
        attended = attended.transpose(1, 2).flatten(2)
        made = layer.feed_forward_chunk(layer.attention.output(attended, first))
        return (made, *[None] * (self.form - 1)) if self.form else made
