"""The model card: what a model folder says of itself to whoever finds it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.wording import counted, quoted_range
from ampmix.analysis.abstention import abstention_sentence
from ampmix.errors import printable
from ampmix.models.card_metadata import metadata
from ampmix.records.provenance import versions

CARD = "README.md"

_TITLES = {
    "dataset": "data set",
    "data_hash": "SHA-256 of the data (texts, labels, classes, tokenizer)",
    "fraction": "share of the labels kept of each class",
    "n_train": "texts trained on",
    "n_dev": "texts for development",
    "n_test": "texts for testing",
    "n_unlabelled": "texts without labels trained on",
    "unlabelled_hash": "SHA-256 of these",
    "seed": "seed",
    "run": "run record",
}
_RESULTS = {
    "dev_error": "development error",
    "test_error": "test error",
    "best_step": "step chosen",
    "stopped": "step at which training ended early",
}

_HEAD = """\
---
{metadata}---

# {title}

Assigns a text to one of {count} classes. Trained with ampmix.

## Use

```python
from ampmix import Classifier

classifier = Classifier.load("path/to/this/folder")
classifier.predict(["a text"])  # the most probable class of each text
classifier.predict_proba(["a text"])  # a probability for each class, in the order below
```

On the command line, with the column that holds the texts:

```console
ampmix predict path/to/this/folder texts.csv --text COLUMN --out labelled.csv
```
"""


def card(config: Mapping[str, Any]) -> str:
    """The model card, in Markdown, of what ``config.json`` of the model folder holds.

    It tells nothing of the machine but versions: no paths, no user name, no time.

    >>> print(card({"backbone": "cnn", "classes": ["bad", "good"]}).split("---")[2].splitlines()[2])
    # cnn
    """
    about, files, classes = config.get("about", {}), config.get("files", {}), config["classes"]
    title = f"{config['backbone']} on {about['dataset']}" if "dataset" in about else None
    title, count = title or config["backbone"], len(classes)
    head = _HEAD.format(metadata=metadata(config, title), title=_line(title), count=count)
    model = {
        "backbone": config["backbone"],
        "policy": about.get("policy"),
        "temperature": about.get("temperature"),
    }
    settings = {**model, **about.get("training", {})}
    sections = {
        "Classes": _classes(classes, about.get("n_each")),
        "Results": [*_items(_RESULTS, about, error=True), *_advice(about)],
        "Data": _items(_TITLES, about),
        "Settings": _items({key: key for key in settings}, settings),
        "Files": [f"- {_code(name)}: SHA-256 {_code(sha)}" for name, sha in files.items()],
        "Versions": [f"- {name} {version}" for name, version in versions().items()],
    }
    if expected := _expected(about):
        sections["Results"] = [expected, "", *sections["Results"]]
    told = [f"\n## {name}\n\n" + "\n".join(lines) for name, lines in sections.items() if lines]
    return head + "\n".join(told) + "\n"


def _expected(about: Mapping[str, Any]) -> str:
    """Say what error to expect of a model that was trained on every label, "" of others."""
    known = about.get("expected")
    if not isinstance(known, Mapping) or not isinstance(known.get("error"), float):
        return ""
    bounds = quoted_range(known.get("interval"))
    where = (
        "cross-validation of the same recipe, whose texts were held out in turn"
        if known.get("measured") == "cross-validation"
        else "the same recipe on the test set"
    )
    told = (
        f"Expect {known['error']:.1f} %{bounds} of new texts to be misclassified: measured by "
        f"{where}. The model itself was trained on all {about.get('n_train', 0):,} texts, so that "
        "none is left to measure it on."
    )
    surest = abstention_sentence(about.get("abstention") or [])
    return f"{told} {surest}" if surest else told


def _classes(names: Sequence[str], texts: Any) -> list[str]:
    """The classes in their order, with the texts of each that were trained on where known."""
    known = texts if isinstance(texts, list) and len(texts) == len(names) else [None] * len(names)
    return [
        f"{i}. {_code(name)}" + ("" if count is None else f", {counted(count, 'text')}")
        for i, (name, count) in enumerate(zip(names, known, strict=True))
    ]


def _advice(about: Mapping[str, Any]) -> list[str]:
    selection = about.get("training", {}).get("selection")
    if selection == "oracle_test":
        return ["", "The step was chosen by the test error, which is therefore too low."]
    if "dev_error" not in about or selection == "last":
        return []
    return [
        "",
        "The step was chosen by the development error, which is therefore too low on the whole.",
    ]


def _items(titles: Mapping[str, str], facts: Mapping[str, Any], error: bool = False) -> list[str]:
    """A list item for each fact that there is; errors, which are fractions, in percent."""
    known = [(title, facts.get(key), key) for key, title in titles.items()]
    return [
        f"- {title}: {f'{value:.2%}' if error and key.endswith('error') else _code(value)}"
        for title, value, key in known
        if value is not None
    ]


def _line(text: str) -> str:
    """Text as one line that Markdown takes literally."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", printable(" ".join(text.split())))


def _code(value: Any) -> str:
    """A value as code; names with control characters or outer blanks as JSON strings."""
    text = value if isinstance(value, str) else json.dumps(value)
    if not text.isprintable() or text != text.strip() or not text:
        text = printable(json.dumps(text, ensure_ascii=False), lines=False)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
