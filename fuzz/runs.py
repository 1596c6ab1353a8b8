"""Run records of a stranger: read, as a table, in a report. Byte 0 says whether they are sealed."""

from __future__ import annotations

import json
import warnings
from typing import Any
from unittest.mock import patch

from fuzz.target import Target, scratch


def _record(data: bytes) -> tuple[str, bytes]:
    """A file's name and content; an odd first byte gives it the digest that it should have."""
    from ampmix._support.json_files import content_sha256
    from ampmix.records.store import FORMAT, run_id

    if not data or not data[0] % 2:
        return "0" * 16, data[1:]
    try:
        parts = json.loads(data[1:])
        own = [parts.get(key, {}) for key in ("specification", "result", "provenance")]
        digest = content_sha256({"specification": own[0], "result": own[1]})
        content = {"format": FORMAT, "digest": digest, "specification": own[0], "result": own[1]}
        content["provenance"] = own[2]
        return run_id(own[0]), json.dumps(content).encode("utf-8", "surrogatepass")
    except (ValueError, AttributeError, RecursionError):
        return "0" * 16, data[1:]


def records(data: bytes) -> None:
    """As `load_records` reads them, beside a good one."""
    from ampmix import load_records

    folder = _folder(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_records(folder)


def report(data: bytes) -> None:
    """As `ampmix report` tells of them; no text may become markup."""
    from ampmix.analysis.groups import groups_of, read_runs
    from ampmix.report import drawing
    from ampmix.report.markdown import markdown
    from ampmix.report.page import page
    from ampmix.report.runs.document import runs_document
    from ampmix.studies.paper_names import method_of, named

    found = read_runs([_folder(data)])
    groups = [named(group) for group in groups_of(found.records)]
    document = runs_document(found, groups, method_of)
    markdown(document).encode()
    with patch.object(drawing, "library", lambda: ""):  # a megabyte, the same in each page
        assert "<img" not in page(document)


def _folder(data: bytes) -> Any:
    folder = scratch() / "records"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for one in (b"\x01" + json.dumps(_run("none")).encode(), data):
        name, content = _record(one)
        (folder / f"{name}.json").write_bytes(content)
    return folder


def _run(policy: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    specification = {
        "dataset": "films",
        "data_hash": "a" * 64,
        "fraction": 1.0,
        "folds": 2,
        "policy": policy,
        "seed": seed,
        "backbone": "cnn",
        "training": {"steps": 4, "lr": 0.01},
    }
    result = {
        "split_hash": "b" * 64,
        "n_train": 8,
        "n_dev": 2,
        "n_test": 4,
        "test_error": 0.25,
        "test_wrong": "0100",
        "status": "done",
        "test_reads": [4],
        "best_step": 2,
        "dev_error": 0.5,
        "dev_loss": 0.7,
        "truncated": 0,
        "curve": [{"step": 2, "dev_error": 0.5, "dev_loss": 0.7}],
        **more,
    }
    made = {
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "platform": "Linux",
        "git": None,
        "finished": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        "printed_as": ["", "cnn-rand"],
    }
    return {"specification": specification, "result": result, "provenance": made}


def _seeds() -> list[bytes]:
    made = [_run("none", 1), _run("mixup"), _run("amp[eps=0.1]", 1), _run("<img src=x>", 0)]
    failed = _run("mixup", 1)
    failed["result"] = {"status": "failed", "error": "the loss is nan </script><img src=x>"}
    made += [failed, {"specification": {}, "result": {"status": "done"}}]
    sealed = [b"\x01" + json.dumps(one).encode() for one in made]
    return [*sealed, b"\x00" + _record(sealed[0])[1], b"\x00{}", b"\x00"]


WORDS = (
    b"null", b"[]", b"{}", b'""', b"true", b"1e400", b"-1", b"NaN", b"12345678901234567890123",
    b'"<img>"', b'"done"', b'"failed"', b'"0101"', b'"none"', b'"mixup"', b'"seed": ',
    b'"status": ', b'"test_wrong": ', b'"curve": ', b'"fraction": ', b'"\\ud800"',
    b'"printed_as": ', b'"folds": ', b'"policy": ',
)  # fmt: skip
TARGETS = (
    Target("records", records, _seeds, WORDS, share=0.1),
    Target("report", report, _seeds, WORDS, share=0.005),
)
