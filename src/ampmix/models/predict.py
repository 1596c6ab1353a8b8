"""Many texts through a classifier: in constant memory, on all cores, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch

from ampmix._torch.evaluation import in_evaluation
from ampmix.backbones.base import CutModule
from ampmix.models.classifier import Classifier, logits_of
from ampmix.models.faster import SAMPLE, Faster, Floats
from ampmix.text.coverage import ReadingCoverage, coverage_of
from ampmix.text.encoded import Encoded

ROWS, CHARACTERS = 2048, 2**22  # of a chunk, whichever is reached first
BATCH, TOKENS = 64, 2**13  # texts of a batch (more leave the processor's cache), and their tokens

T = TypeVar("T")


@dataclass(frozen=True)
class Predicted(Generic[T]):
    """A chunk: its items, their class probabilities ``[n, classes]``, and how they were read.

    Of the first chunk in another precision than float32, `compared` texts were predicted in both,
    and `changed` of them got another class.
    """

    items: list[T]
    probabilities: Floats
    truncated: int
    coverage: ReadingCoverage
    compared: int = 0
    changed: int = 0


def predict_chunks(
    classifier: Classifier,
    items: Iterable[T],
    text_of: Callable[[T], str],
    threads: int = 1,
    precision: str = "float32",
) -> Generator[Predicted[T], None, None]:
    """Predict items chunk by chunk, in order; memory does not grow with their number.

    Every thread predicts a chunk of its own with one thread of PyTorch: on small batches that does
    more than several threads on one, and the result does not depend on how many there are. At most
    ``threads + 1`` chunks are under way.

    Args:
        classifier: the model.
        items: what to predict, such as rows of a table.
        text_of: an item's text.
        threads: chunks predicted at once.
        precision: of matrix products, ``float32``, ``bfloat16`` or ``int8``. Below float32 texts
            are read again in it where two classes are close
            (:class:`ampmix.models.faster.Faster`, whose sample are the first texts).

    Raises:
        AmpmixError: as ``Faster``.
    """
    model = in_evaluation(classifier.model)
    exact = partial(probabilities_of, model)

    def predict(chunk: list[T], read: Callable[[Encoded], Floats], first: bool) -> Predicted[T]:
        encoded = classifier.reader.encode([text_of(item) for item in chunk])
        probabilities = read(encoded)
        coverage = coverage_of(classifier.reader, encoded)
        compared = changed = 0
        if first and read is not exact:
            others = range(SAMPLE, min(2 * SAMPLE, len(chunk)))
            compared = len(others)
            if compared:
                wanted = exact(encoded.take(others)).argmax(1)
                changed = int((probabilities[others].argmax(1) != wanted).sum())
        return Predicted(chunk, probabilities, encoded.truncated, coverage, compared, changed)

    def reading(chunk: list[T]) -> Callable[[Encoded], Floats]:
        """Return what reads all chunks, by the first one."""
        if precision == "float32" or len(chunk) <= SAMPLE:
            return exact
        sample = classifier.reader.encode([text_of(item) for item in chunk[:SAMPLE]])
        return Faster(model, precision, probabilities_of, sample)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    pending: deque[Future[Predicted[T]]] = deque()
    try:
        read: Callable[[Encoded], Floats] | None = None
        for chunk in _chunks(items, text_of):
            first, read = read is None, read or reading(chunk)
            pending.append(pool.submit(predict, chunk, read, first))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)


def probabilities_of(model: CutModule, encoded: Encoded) -> Floats:
    """Class probabilities of encoded texts, ``[n, classes]``, in batches that a cache holds."""
    size = min(BATCH, model.at_once, max(1, TOKENS // int(encoded.lengths.max())))
    return np.asarray(logits_of(model, encoded, batch_size=size).softmax(1).numpy())


def _chunks(items: Iterable[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    chunk: list[T] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += len(text_of(item))
        if len(chunk) == ROWS or characters >= CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
