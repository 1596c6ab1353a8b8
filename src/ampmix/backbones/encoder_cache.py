"""Memory for what a frozen part of an encoder makes of texts while the rest trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST = 2**30
"""Bytes that one model keeps: the hidden states of about 700,000 tokens of MiniLM."""


class Cache:
    """Tensors by the content of the texts that they were made of, up to a limit of bytes.

    What does not fit is made anew each time that it is asked for: which texts come again soon
    cannot be told, as every epoch has an order of its own. A copy, also a pickled one, is empty:
    it is soon another model's, and texts stay out of files.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = LARGEST if limit is None else limit
        self._found: dict[bytes, Tensor] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._found)

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self.limit,)

    def __deepcopy__(self, _: Any) -> Cache:
        return Cache(self.limit)

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
        self._bytes = 0

    def of(
        self, ids: Tensor, mask: Tensor, make: Callable[[Tensor, Tensor], Iterable[Tensor]]
    ) -> list[Tensor]:
        """Return what was made of each text.

        Args:
            ids: token ids ``[B, L]``.
            mask: true where there is a token, ``[B, L]``.
            make: of ids and mask of new texts, a tensor for each.
        """
        rows = zip(ids.cpu().numpy(), mask.cpu().numpy(), strict=True)
        keys = [row[kept].tobytes() for row, kept in rows]
        found = {key: self._found.get(key) for key in keys}
        new = [i for i, key in enumerate(keys) if found[key] is None]
        if new:
            with torch.no_grad():
                made = list(make(ids[new], mask[new]))
            found.update(zip((keys[i] for i in new), made, strict=True))
            for i in new:
                self._add(keys[i], found[keys[i]])
        return [tensor for key in keys if (tensor := found[key]) is not None]

    def fill(self, rows: Sequence[bytes], made: Iterable[Tensor]) -> None:
        """Take in what was made of distinct texts.

        Args:
            rows: their tokens, the bytes of int32 each.
            made: of each text.
        """
        for row, own in zip(rows, made, strict=True):
            self._add(np.frombuffer(row, np.int32).astype(np.int64).tobytes(), own)

    def _add(self, key: bytes, tensor: Tensor | None) -> None:
        if tensor is None or key in self._found or self._bytes + tensor.nbytes > self.limit:
            return
        self._found[key] = tensor
        self._bytes += tensor.nbytes
