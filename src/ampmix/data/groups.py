"""Group texts that must stay in one part of a split: equal ones, and those of a given group."""

from __future__ import annotations

import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.random_streams import numpy_stream
from ampmix._support.wording import counted
from ampmix.data.dataset import Integers, TextDataset
from ampmix.errors import AmpmixError

SIMILAR = 0.8  # cosine of two texts' character 5-grams from which on they are nearly equal
REMEMBERED = 2**17  # hashes of training texts in a model folder, a megabyte
COMPARED = 4000  # texts compared with each other, evenly spread over a file


def normalised(text: str) -> str:
    """A text without differences of case, blanks and Unicode form.

    >>> normalised(" Where is  MY\\u00a0parcel? ")
    'where is my parcel?'
    """
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(plain.casefold().split())


def hashes_of(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64-bit hashes of the normalised texts, ``[n]``: equal texts have equal ones."""
    digests = (
        blake2b(normalised(text).encode("utf-8", "replace"), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def trained_on(texts: Sequence[str]) -> dict[str, Any]:
    """Return the hashes of training texts as a model folder keeps them.

    Of more than :data:`REMEMBERED` distinct texts, those with the smallest hashes are kept. A hash
    tells nothing of a text to who does not have it; who has a text can ask whether it was there.
    """
    hashes = np.unique(hashes_of(texts))[:REMEMBERED]
    return {"hash": "blake2b-64", "texts": b64encode(hashes.astype("<u8").tobytes()).decode()}


def seen_among(known: Any, texts: Sequence[str]) -> int:
    """Count texts whose hashes are among those that :func:`trained_on` gave; 0 without any.

    Where not all hashes were kept, the count is that of texts that can be told, scaled up.
    """
    try:
        kept = np.frombuffer(b64decode(known["texts"], validate=True), "<u8")
    except (TypeError, KeyError, ValueError):
        return 0
    own = hashes_of(texts)
    if not len(kept) or not len(own):
        return 0
    told = own if len(kept) < REMEMBERED else own[own <= kept.max()]
    return round(int(np.isin(told, kept).sum()) * len(own) / max(len(told), 1))


def text_groups(
    texts: Sequence[str],
    given: Sequence[str] | None = None,
    hashes: npt.NDArray[np.uint64] | None = None,
) -> Integers | None:
    """Return the group of each text, int64 ``[n]``, or None if every text is alone.

    Equal texts (:func:`normalised`) are one group, and so are texts of one given group; groups that
    share a text are joined. A text without a given group ("") is in that of its equals alone. Their
    `hashes` (:func:`hashes_of`) may be known already.

    >>> text_groups(["a film", "A  film", "a book"]).tolist()
    [0, 0, 1]
    >>> text_groups(["a", "b", "c"], given=["x", "x", ""]).tolist()
    [0, 0, 1]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(texts)
    known = hashes_of(texts) if hashes is None else hashes
    _, first, equal = np.unique(known, return_index=True, return_inverse=True)
    if given is None and len(first) == n:
        return None
    links = [first[equal]]  # to the first equal text
    if given is not None:
        named = np.array([name or f"\0{i}" for i, name in enumerate(given)])
        _, first, group = np.unique(named, return_index=True, return_inverse=True)
        links.append(first[group])
    rows = np.tile(np.arange(n), len(links))
    graph = coo_matrix((np.ones(len(rows)), (rows, np.concatenate(links))), shape=(n, n))
    count, groups = connected_components(graph, directed=False)
    return None if count == n else groups.astype(np.int64)


def group_notes(
    texts: Sequence[str], given: Sequence[str] | None, hashes: npt.NDArray[np.uint64]
) -> list[str]:
    """Sentences on texts that stand more than once, or nearly so, in a file, by their hashes."""
    _, firsts, sizes = np.unique(hashes, return_index=True, return_counts=True)
    notes = []
    if (sizes > 1).any():
        again, rows = int((sizes > 1).sum()), int(sizes[sizes > 1].sum())
        notes.append(
            f"{counted(again, 'text stands', 'texts stand')} more than once ({rows:,} rows): equal "
            "texts stay in one part, or the error would be too low"
        )
    if given is not None:
        groups = len(set(given) - {""})
        return [*notes, f"{counted(groups, 'group')}: texts of one group stay in one part"]
    near, example = near_duplicates([texts[i] for i in np.sort(firsts).tolist()])
    if near:
        first, second = (one if len(one) <= 40 else f"{one[:39]}…" for one in example)
        notes.append(
            f"{counted(near, 'text is', 'texts are')} nearly equal to another, such as {first!r} "
            f"and {second!r}: the error is too low where these lie in different parts; --group "
            "COLUMN keeps groups of rows in one part"
        )
    return notes


def near_duplicates(texts: Sequence[str]) -> tuple[int, tuple[str, str]]:
    """Count texts that are nearly equal to another but not equal, with an example.

    Similarity is the cosine of the sets of character 5-grams, above :data:`SIMILAR`. Of more than
    :data:`COMPARED` texts, so many are compared, evenly spread; 5-grams of more than a
    hundred of those are left out then.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    spread = texts[:: -(-len(texts) // COMPARED) or 1]
    some = [text for text in dict.fromkeys(map(normalised, spread)) if len(text) >= 5]
    if len(some) < 2:
        return 0, ("", "")
    grams = CountVectorizer(
        analyzer="char", ngram_range=(5, 5), lowercase=False, binary=True, dtype=np.float32,
        max_df=100 if len(some) > 1000 else 1.0,
    )  # fmt: skip
    try:
        rows = normalize(grams.fit_transform(some))
    except ValueError:  # no gram is left
        return 0, ("", "")
    alike = (rows @ rows.T).tocoo()
    pairs = (alike.data >= SIMILAR) & (alike.row < alike.col)
    if not pairs.any():
        return 0, ("", "")
    i, j = int(alike.row[pairs][0]), int(alike.col[pairs][0])
    return len(set(alike.row[pairs]) | set(alike.col[pairs])), (some[i], some[j])


def group_folds(dataset: TextDataset, folds: int, seed: int) -> Integers:
    """Return the fold of each training text: groups whole, classes and sizes about even.

    Larger groups go first, each to the fold that has fewest texts of the group's classes; then
    single texts are dealt out. (scikit-learn's StratifiedGroupKFold serves the same end; on 20,000
    texts, most of them alone, it takes 15 s.)

    Raises:
        AmpmixError: for fewer groups than folds.
    """
    groups, labels = dataset.groups, dataset.train.labels
    assert groups is not None
    if (count := int(groups.max()) + 1) < folds:
        raise AmpmixError(
            f"data set {dataset.name!r} has {counted(count, 'group')} of texts that stay together, "
            f"and cross-validation with {folds} folds needs at least {folds}: use fewer seeds, "
            "or give a test set"
        )
    shares = 1 / np.bincount(labels, minlength=len(dataset.classes))
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    shuffled = numpy_stream(seed, "group folds").permutation(count)
    order = sorted(shuffled.tolist(), key=lambda group: -len(members[group]))
    filled = np.zeros((folds, len(dataset.classes)))
    fold_of = np.empty(len(labels), dtype=np.int64)
    for group in order:
        own = np.bincount(labels[members[group]], minlength=len(dataset.classes)) * shares
        fold = int(np.lexsort((filled.sum(1), filled @ (own > 0)))[0])
        filled[fold] += own
        fold_of[members[group]] = fold
    fold_of.flags.writeable = False  # it is everybody's
    return fold_of
