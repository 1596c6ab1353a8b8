"""Features of texts under a frozen encoder, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from ampmix._support.cache import cache_folder
from ampmix._support.files import whole
from ampmix.backbones.encoder_module import AT_ONCE, EncoderModule
from ampmix.backbones.hf_loading import content_of, located
from ampmix.text.encoded import Encoded

LARGEST = 2 * 2**30  # bytes of all files: beyond them the oldest go
Floats = npt.NDArray[np.float32]
_log = logging.getLogger(__name__)


def features(module: EncoderModule, parts: Sequence[Encoded], device: torch.device) -> list[Floats]:
    """Features of every text of some parts, a float32 ``[n, d]`` a part.

    All distinct texts are read in one order, by length, so that the same texts have the same
    features to the bit, in whatever parts they come. They are kept in a file of the cache that is
    named by the encoder's content, the texts' tokens and the version of PyTorch; the folds of one
    cross-validation share it. Where the cache cannot be written, they are computed each time.

    Args:
        module: a frozen encoder.
        parts: texts, as its reader encodes them.
        device: where to compute.
    """
    rows = [part.tokens[a:b].tobytes() for part in parts for a, b in _bounds(part)]
    distinct = sorted(set(rows), key=lambda row: (len(row), row))
    found = _kept(module, distinct, parts[0].padding, device)
    place = {row: i for i, row in enumerate(distinct)}
    everything = found[[place[row] for row in rows]]
    return np.split(everything, np.cumsum([len(part) for part in parts])[:-1])


def _bounds(part: Encoded) -> list[tuple[int, int]]:
    ends = part.offsets.tolist()
    return list(itertools.pairwise(ends))


def _kept(
    module: EncoderModule, rows: Sequence[bytes], padding: int, device: torch.device
) -> Floats:
    """Read the features of distinct rows of tokens from the cache, or compute and write them."""
    path = cache_folder() / "features" / f"{_key(module, rows, device)}.npy"
    shape = len(rows), module.output.in_features
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # of several workers one computes
            if (found := _read(path, shape)) is not None:
                return found
            found = _computed(module, rows, padding, device)
            _write(path, found)
            return found
    except (OSError, NotImplementedError) as error:
        _log.info("features are not kept: %s", error)
        return _computed(module, rows, padding, device)


def _key(module: EncoderModule, rows: Sequence[bytes], device: torch.device) -> str:
    config = module.config
    digest = hashlib.sha256()
    place = Path(located(config.model)).expanduser()
    encoder = content_of(place) if place.is_dir() else config.model
    told = ["1", encoder, str(config.mean_pooled), torch.__version__, device.type]
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


def _computed(
    module: EncoderModule, rows: Sequence[bytes], padding: int, device: torch.device
) -> Floats:
    tokens = [np.frombuffer(row, np.int32).astype(np.int64) for row in rows]
    part = Encoded.of_ids(tokens, None, 2**31 - 1, padding)
    module.eval()
    words = module.body.get_input_embeddings()
    made = []
    with torch.no_grad():
        for start in range(0, len(part), AT_ONCE):
            ids, mask, _ = part.batch(range(start, min(start + AT_ONCE, len(part))))
            mask_there = torch.from_numpy(mask).to(device)
            embedded = words(torch.from_numpy(ids).to(device))
            made.append(module.features(embedded, mask_there).cpu().numpy())
    return np.concatenate(made).astype(np.float32, copy=False)
