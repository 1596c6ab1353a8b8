"""`ampmix serve`: the answers are those of `predict`, and nothing that is asked breaks it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forked
from ampmix import Classifier
from ampmix.cli.main import main
from ampmix.integrations.serving import Batches, Limits, app_of
from browser import chromium, errors_of, requests_of
from small_models import WORDS, saved_model

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
CLASSES = ("bad, really", "<b>so</b>", "good")
KIND = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers differ from text to text."""
    return saved_model(tmp_path_factory.mktemp("models"), CLASSES)


def texts_drawn(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(count)]


Ask = Callable[..., Coroutine[Any, Any, tuple[int, Any]]]


def talk(app: Any, script: Callable[[Ask], Coroutine[Any, Any, Any]]) -> Any:
    """Run an app in this process, without a server, as long as a script asks it things."""

    async def ask(
        path: str, body: bytes = b"", method: str = "POST", headers: Any = KIND
    ) -> tuple[int, Any]:
        named = [(k.encode(), v.encode()) for k, v in headers.items()]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
                 "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
                 "root_path": "", "scheme": "http", "headers": named}  # fmt: skip
        parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]
        asked, sent = iter(parts), []

        async def receive() -> Any:
            part = next(asked, None)
            if part is None:
                await asyncio.sleep(60)  # a client that waits for its answer
            return {"type": "http.request", "body": part, "more_body": part is not parts[-1]}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        content = b"".join(one.get("body", b"") for one in sent)
        return sent[0]["status"], json.loads(content) if content[:1] in b"{[" else content

    async def all_of_it() -> Any:
        async with app.router.lifespan_context(app):
            return await script(ask)

    return asyncio.run(all_of_it())


def of(texts: Any) -> bytes:
    return json.dumps({"texts": texts}).encode()


def test_answers_are_those_of_the_model(folder: Path) -> None:
    classifier, texts = Classifier.load(folder), texts_drawn(300)
    app = app_of(classifier, threads=2)

    async def script(ask: Ask) -> list[tuple[int, Any]]:
        return await asyncio.gather(
            *(ask("/predict", of(texts[i : i + 3])) for i in range(0, 300, 3))
        )

    found = talk(app, script)
    assert {status for status, _ in found} == {200}
    assert [label for _, told in found for label in told["labels"]] == classifier.predict(texts)
    rows = np.array([row for _, told in found for row in told["probabilities"]])
    assert np.abs(rows - classifier.predict_proba(texts)).max() < 2e-6
    assert len(set(classifier.predict(texts))) > 1
    assert all(told["classes"] == list(CLASSES) for _, told in found)


def test_texts_without_letters_or_certainty_have_no_label(folder: Path) -> None:
    classifier = Classifier.load(folder)
    texts = ["", " \n", *texts_drawn(40)]
    proba = classifier.predict_proba(texts[2:])
    least = float(np.median(proba.max(1)))
    app = app_of(classifier, min_confidence=least)
    _, told = talk(app, lambda ask: ask("/predict", of(texts)))
    assert told["probabilities"][:2] == [None, None]
    expected = [CLASSES[row.argmax()] if row.max() >= least else None for row in proba]
    assert told["labels"] == [None, None, *expected] and None in expected and set(expected) > {None}
    assert talk(app, lambda ask: ask("/predict", of([])))[1]["labels"] == []


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b"[]", 400, "list of texts"),
        (b"{}", 400, "list of texts"),
        (b'{"texts": "good"}', 400, "list of texts"),
        (b'{"texts": ["good", null]}', 400, "list of texts"),
        (b'{"texts": [1]}', 400, "list of texts"),
        (b'{"texts": ["\\ud800"]}', 400, "surrogate"),
        (of(["good"] * 11), 413, "at most 10 texts"),
        (of(["good " * 40_000]), 413, "at most 100,000 bytes"),
    ],
)
def test_what_is_malformed_is_told(folder: Path, body: bytes, status: int, told: str) -> None:
    app = app_of(Classifier.load(folder), Limits(body=100_000, texts=10))

    async def script(ask: Ask) -> Any:
        return await ask("/predict", body), await ask("/predict", of(["good"]))

    (found, answer), (after, _) = talk(app, script)
    assert found == status and told in answer["error"] and after == 200


def test_other_ways_and_kinds_are_refused(folder: Path) -> None:
    app = app_of(Classifier.load(folder), Limits(seconds=0.2))

    async def script(ask: Ask) -> list[int]:
        asked = [
            ask("/predict", of(["good"]), headers={"content-type": "text/plain"}),
            ask("/predict", method="GET"),
            ask("/nothing", method="GET"),
            ask("/health", method="GET"),
            ask("/", method="GET"),
        ]
        return [(await one)[0] for one in asked]

    assert talk(app, script) == [415, 405, 404, 200, 200]


def test_a_request_that_never_ends_is_left(folder: Path) -> None:
    app = app_of(Classifier.load(folder), Limits(seconds=0.1))

    async def script(ask: Ask) -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers,
                 "query_string": b"", "root_path": "", "scheme": "http"}  # fmt: skip
        await app(scope, receive, send)
        return int(sent[0]["status"])

    assert talk(app, script) == 408


def test_too_many_waiting_texts_are_refused_and_then_taken(folder: Path) -> None:
    app = app_of(Classifier.load(folder), Limits(waiting=20))

    async def script(ask: Ask) -> tuple[list[int], int]:
        found = await asyncio.gather(*(ask("/predict", of(texts_drawn(10))) for _ in range(9)))
        return [status for status, _ in found], (await ask("/predict", of(["good"])))[0]

    statuses, after = talk(app, script)
    assert statuses.count(200) >= 2 and 503 in statuses and set(statuses) == {200, 503}
    assert after == 200


def test_what_waits_is_read_together_and_an_error_reaches_all(folder: Path) -> None:
    classifier = Classifier.load(folder)
    sizes: list[int] = []

    class Counting(Batches):
        broken = False

        def _predict(self, texts: list[str]) -> Any:
            sizes.append(len(texts))
            if self.broken:
                raise MemoryError("none left")
            return super()._predict(texts)

    async def script() -> list[Any]:
        batches = Counting(classifier)
        async with batches.running():
            await asyncio.gather(*(batches.predict(["good"]) for _ in range(50)))
            assert batches.waiting == 0
            batches.broken = True
            one = (batches.predict(["bad"]) for _ in range(2))
            return list(await asyncio.gather(*one, return_exceptions=True))

    errors = asyncio.run(script())
    assert sum(sizes) == 52 and len(sizes) <= 4
    assert all(isinstance(error, MemoryError) for error in errors)


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[Any, int]]:
    """The command in a process of its own, and its port."""
    source = str(Path(__file__).parents[2] / "src")
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = forked.Popen(
        [sys.executable, "-m", "ampmix", "serve", str(folder), "--port", "0", "--threads", "1"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    yield process, int(line.partition(";")[0].rpartition(":")[2])
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and told == "Interrupted.\n"


def test_the_command_answers_over_http(served: tuple[Any, int], folder: Path) -> None:
    link = http.client.HTTPConnection("127.0.0.1", served[1], timeout=30)
    for texts in (texts_drawn(5), texts_drawn(7, seed=1)):
        link.request("POST", "/predict", of(texts), KIND)
        reply = link.getresponse()
        assert reply.status == 200
        assert json.loads(reply.read())["labels"] == Classifier.load(folder).predict(texts)
    link.request("POST", "/predict", b"{" * 2**21, KIND)
    assert link.getresponse().status == 413
    link.close()
    link.request("GET", "/health")
    assert json.loads(link.getresponse().read())["status"] == "ok"


def test_the_page_tries_a_text(served: tuple[Any, int], tmp_path: Path, folder: Path) -> None:
    with chromium(tmp_path, 400) as browser:
        browser.get(f"http://127.0.0.1:{served[1]}/")
        browser.find_element("id", "text").send_keys("good film <b>")
        browser.find_element("css selector", "button").click()
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(browser, 30).until(lambda b: b.find_elements("css selector", "li"))
        (label,) = Classifier.load(folder).predict(["good film <b>"])
        assert browser.find_element("css selector", "p").text == f"Label: {label}"
        names = browser.find_elements("css selector", "li span:first-child")
        assert {one.text for one in names} == set(CLASSES)
        assert errors_of(browser) == []
        asked = [url for url in requests_of(browser) if url.startswith("http")]
        assert all(f"127.0.0.1:{served[1]}/" in url for url in asked) and len(asked) == 2


def test_a_port_in_use_and_bad_options_are_sentences(
    served: tuple[Any, int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(folder), "--port", str(served[1])]) == 2
    assert "give another --port" in capsys.readouterr().err
    for option, value in (("--port", "70000"), ("--threads", "0"), ("--most-texts", "0"),
                          ("--min-confidence", "2")):  # fmt: skip
        assert main(["serve", str(folder), option, value]) == 2
        assert option[2:] in capsys.readouterr().err
