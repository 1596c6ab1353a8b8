"""A classifier as an ASGI app: texts in by HTTP, labels and probabilities out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ampmix._support.extras import needed
from ampmix._support.wording import counted
from ampmix._torch.evaluation import in_evaluation
from ampmix.models.classifier import Classifier
from ampmix.models.predict import BATCH, probabilities_of

JSON = "application/json"
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """Bounds of what one request may ask, and of what may wait.

    Attributes:
        body: bytes of a request.
        texts: texts of a request.
        waiting: texts that wait for the model; what comes on top of them gets 503.
        seconds: in which a request must have arrived.
    """

    body: int = 2**20
    texts: int = 1000
    waiting: int = 20_000
    seconds: float = 30.0


def app_of(
    classifier: Classifier,
    limits: Limits | None = None,
    threads: int = 1,
    min_confidence: float = 0.0,
) -> Any:
    """Make the app, which any ASGI server runs.

    ``POST /predict`` takes ``{"texts": [...]}`` and gives ``labels``, ``probabilities`` (columns
    in the order of ``classes``) and ``classes``; a text without letters, or one that the model is
    not sure of, has the label null. ``GET /health`` says that it is there, ``GET /`` is a page to
    try a sentence. What is malformed gets a status from 400 to 499 and a sentence, ``error``.

    Args:
        classifier: the model.
        limits: of requests.
        threads: batches that the model reads at once.
        min_confidence: probability below which the likeliest class is no label.

    Raises:
        AmpmixError: without the extra ``serve``.
    """
    own = limits or Limits()
    starlette = {
        name: needed(f"starlette.{name}", "serve")
        for name in ("applications", "exceptions", "requests", "responses", "routing")
    }
    answer, refuse = starlette["responses"].JSONResponse, starlette["exceptions"].HTTPException
    batches = Batches(classifier, threads)

    async def predict(request: Any) -> Any:
        try:
            body = await asyncio.wait_for(_body(request, own.body), own.seconds)
            texts = texts_in(body, own.texts)
        except (asyncio.TimeoutError, starlette["requests"].ClientDisconnect):
            raise refuse(408, f"the request did not arrive in {own.seconds:g} seconds") from None
        except Refused as error:
            raise refuse(error.status, str(error)) from None
        if batches.waiting + len(texts) > own.waiting:
            raise refuse(503, "too many texts wait already: try again", {"retry-after": "1"})
        told = labelled(texts, await batches.predict(texts), classifier.classes, min_confidence)
        return answer(told)

    async def health(request: Any) -> Any:
        spec = classifier.backbone.public_spec
        return answer({"status": "ok", "model": spec, "waiting": batches.waiting})

    async def page(request: Any) -> Any:
        return starlette["responses"].HTMLResponse(PAGE, headers=HEADERS)

    async def told(request: Any, error: Any) -> Any:
        return answer({"error": error.detail}, error.status_code, error.headers)

    route = starlette["routing"].Route
    return starlette["applications"].Starlette(
        routes=[
            route("/", page),
            route("/health", health),
            route("/predict", predict, methods=["POST"]),
        ],
        exception_handlers={refuse: told},
        lifespan=batches.running,
    )


class Refused(Exception):
    """A request that is answered by a status and a sentence."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


async def _body(request: Any, most: int) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, f"send JSON, with the content-type {JSON}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise Refused(413, f"a request has at most {most:,} bytes: send several")
    return bytes(body)


def texts_in(body: bytes, most: int) -> list[str]:
    """The texts that a request holds.

    Raises:
        Refused: it is no JSON of a list of texts, or of more than `most`.

    >>> texts_in(b'{"texts": ["a film"]}', 10)
    ['a film']
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, 'the request is no JSON: send {"texts": ["a text"]}') from None
    texts = content.get("texts") if isinstance(content, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(400, 'send a list of texts: {"texts": ["a text"]}')
    if len(texts) > most:
        told = counted(len(texts), "text")
        raise Refused(413, f"a request has at most {most:,} texts, this one {told}: send several")
    if any(_HALF.search(text) for text in texts):
        raise Refused(400, "a text holds half of a surrogate pair, which is no letter")
    return texts


_HALF = re.compile("[\ud800-\udfff]")


def labelled(
    texts: Sequence[str],
    probabilities: Probabilities,
    classes: Sequence[str],
    min_confidence: float = 0.0,
) -> dict[str, Any]:
    """The answer on these texts, as JSON values."""
    rows: list[list[float] | None] = []
    labels: list[str | None] = []
    for text, row in zip(texts, probabilities, strict=True):
        known = bool(text.strip())
        sure = known and float(row.max()) >= min_confidence
        rows.append([round(p, 6) for p in row.tolist()] if known else None)
        labels.append(classes[int(row.argmax())] if sure else None)
    return {"labels": labels, "probabilities": rows, "classes": list(classes)}


class Batches:
    """Texts of many requests through one model: what waits together is read together.

    Nothing waits for others to come: while the model is busy, requests pile up, and the next batch
    takes as many of them as fit.

    Args:
        classifier: the model.
        threads: batches under way at once, each with one thread of PyTorch.
    """

    def __init__(self, classifier: Classifier, threads: int = 1) -> None:
        self._classifier, self._threads = classifier, threads
        self._model = in_evaluation(classifier.model)
        self.waiting = 0
        self._queue: asyncio.Queue[tuple[list[str], asyncio.Future[Probabilities]]]

    @asynccontextmanager
    async def running(self, app: Any = None) -> AsyncIterator[None]:
        """Read batches as long as this lasts."""
        self._queue = asyncio.Queue()
        one = partial(torch.set_num_threads, 1)
        with ThreadPoolExecutor(self._threads, "batches", initializer=one) as pool:
            tasks = [asyncio.create_task(self._read(pool)) for _ in range(self._threads)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def predict(self, texts: list[str]) -> Probabilities:
        """Class probabilities ``[n, classes]``."""
        if not texts:
            return np.empty((0, len(self._classifier.classes)), np.float32)
        done: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self.waiting += len(texts)
        self._queue.put_nowait((texts, done))
        return await done

    async def _read(self, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and sum(len(texts) for texts, _ in batch) < BATCH:
                batch.append(self._queue.get_nowait())
            texts = [text for own, _ in batch for text in own]
            try:
                found = await loop.run_in_executor(pool, self._predict, texts)
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                bounds = np.cumsum([len(own) for own, _ in batch])[:-1]
                for (_, done), part in zip(batch, np.split(found, bounds), strict=True):
                    if not done.done():  # whoever asked may have gone
                        done.set_result(part)
            finally:
                self.waiting -= len(texts)

    def _predict(self, texts: list[str]) -> Probabilities:
        return probabilities_of(self._model, self._classifier.reader.encode(texts))


def _page() -> tuple[str, dict[str, str]]:
    """The page, and headers that let it run its own script and nothing else."""
    page = (resources.files("ampmix.integrations") / "try.html").read_text(encoding="utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page, {"content-security-policy": policy, "x-content-type-options": "nosniff"}


PAGE, HEADERS = _page()
