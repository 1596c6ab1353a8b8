"""Outputs of a frozen part of an encoder for texts, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from ampmix._support.cache import cache_folder
from ampmix._support.files import whole
from ampmix.backbones.hf_loading import content_of, located
from ampmix.text.encoded import Encoded

if TYPE_CHECKING:
    from ampmix.backbones.encoder_module import EncoderModule

AT_ONCE = {"cpu": 32}  # texts that an encoder reads at once: more do not fit into a CPU's cache
MANY = 256  # elsewhere
LARGEST = 2 * 2**30  # bytes of all files: beyond them the oldest go
Floats = npt.NDArray[np.float32]
_log = logging.getLogger(__name__)


def features(module: EncoderModule, parts: Sequence[Encoded], device: torch.device) -> list[Floats]:
    """Features of every text of some parts, a float32 ``[n, d]`` a part.

    Args:
        module: a frozen encoder, as it was built.
        parts: texts, as its reader encodes them.
        device: where to compute.
    """
    rows = [part.tokens[a:b].tobytes() for part in parts for a, b in _bounds(part)]
    distinct = distinct_rows(parts)
    found = features_of(module, distinct, parts[0].padding, device)
    place = {row: i for i, row in enumerate(distinct)}
    everything = found[[place[row] for row in rows]]
    return np.split(everything, np.cumsum([len(part) for part in parts])[:-1])


def features_of(
    module: EncoderModule, rows: Sequence[bytes], padding: int, device: torch.device
) -> Floats:
    """Features of distinct texts, ``[n, d]``; `rows` are from :func:`distinct_rows`."""
    words = module.body.get_input_embeddings()

    def compute() -> Floats:
        module.eval()
        made = [
            module.features(words(ids), mask).cpu().numpy()
            for ids, mask in batches(rows, padding, device)
        ]
        return np.concatenate(made)

    shape = len(rows), module.output.in_features
    return cached(module, f"features {module.config.pooled}", rows, shape, compute)


def distinct_rows(parts: Sequence[Encoded]) -> list[bytes]:
    """The distinct texts of some parts, as the bytes of their tokens, by length, then content."""
    rows = {part.tokens[a:b].tobytes() for part in parts for a, b in _bounds(part)}
    return sorted(rows, key=lambda row: (len(row), row))


def _bounds(part: Encoded) -> list[tuple[int, int]]:
    ends = part.offsets.tolist()
    return list(itertools.pairwise(ends))


def batches(
    rows: Sequence[bytes], padding: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield padded ids and masks of distinct texts, in their order, without a graph."""
    tokens = [np.frombuffer(row, np.int32).astype(np.int64) for row in rows]
    part, size = Encoded.of_ids(tokens, None, 2**31 - 1, padding), at_once(device)
    with torch.no_grad():
        for start in range(0, len(part), size):
            ids, mask, _ = part.batch(range(start, min(start + size, len(part))))
            yield torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def at_once(device: torch.device) -> int:
    """Number of texts that an encoder reads at once on a device."""
    return AT_ONCE.get(device.type, MANY)


def cached(
    module: EncoderModule,
    what: str,
    rows: Sequence[bytes],
    shape: tuple[int, int],
    compute: Callable[[], Floats],
) -> Floats:
    """Read what an encoder makes of texts from the cache, or compute and write it.

    All distinct texts are computed in one order, so that the same texts have the same numbers to
    the bit, in whatever parts they come. The file is named by the encoder's content, what is
    computed, the texts' tokens and the version of PyTorch; the folds of one cross-validation share
    it. Where the cache cannot be written, and for numbers that are no float32, it is computed each
    time.

    Args:
        module: the encoder, as it was built.
        what: a name for what is computed.
        rows: the texts, from :func:`distinct_rows`.
        shape: of the numbers.
        compute: makes them.
    """
    if module.output.weight.dtype != torch.float32:
        return compute()
    path = cache_folder() / "features" / f"{_key(module, what, rows)}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # of several workers one computes
            if (found := _read(path, shape)) is not None:
                _log.info("features of %d texts are read from %s", len(rows), path)
                return found
            began = time.monotonic()
            found = compute()
            _write(path, found)
            took = time.monotonic() - began
            _log.info("features of %d texts took %.1f s; kept in %s", len(rows), took, path)
            return found
    except (OSError, NotImplementedError) as error:
        _log.info("features are not kept: %s", error)
        return compute()


def _key(module: EncoderModule, what: str, rows: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    place = Path(located(module.config.model)).expanduser()
    encoder = content_of(place) if place.is_dir() else module.config.model
    told = ["3", encoder, what, torch.__version__, module.output.weight.device.type]
    for one in (*(part.encode() for part in told), *rows):
        digest.update(len(one).to_bytes(8, "little") + one)
    return digest.hexdigest()[:32]


def _read(path: Path, shape: tuple[int, int]) -> Floats | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if found.shape != shape or found.dtype != np.float32:
        return None
    os.utime(path)  # the oldest go first
    kept: Floats = found
    return kept


def _write(path: Path, found: Floats) -> None:
    if found.nbytes > LARGEST:
        return
    with whole(path) as draft:
        np.save(draft, found, allow_pickle=False)
    files = sorted(path.parent.glob("*.npy"), key=lambda one: -one.stat().st_mtime)
    total = 0
    for one in files:
        total += one.stat().st_size
        if total > LARGEST:
            one.unlink(missing_ok=True)
