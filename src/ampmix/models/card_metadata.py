"""Metadata of a model card, as the Hugging Face hub reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ampmix.errors import printable
from ampmix.models.evaluate import LEVEL, bootstrap_interval

TASK = "text-classification"
ALONE = f"library_name: ampmix\npipeline_tag: {TASK}\n"
"""Metadata without the package huggingface_hub, which spells all others."""


def metadata(config: Mapping[str, Any], title: str) -> str:
    """YAML for the head of a model card: tags, base model, language, and the error as a result.

    The result is the error on texts that were held out, with its interval, and the accuracy that
    other tools read. A model that was measured on none has no result.

    Args:
        config: what ``config.json`` of the model folder holds.
        title: the model's name.
    """
    try:
        from huggingface_hub import ModelCardData
    except ImportError:
        return ALONE
    about = config.get("about", {})
    specs = config["backbone"], about.get("policy")
    data = ModelCardData(
        library_name="ampmix",
        pipeline_tag=TASK,
        tags=["ampmix", *(_name(spec) for spec in specs if spec not in (None, "none"))],
        base_model=about.get("base_model"),
        language=about.get("language"),
        model_name=_line(title),
        eval_results=_results(about) or None,
    )
    return f"{data.to_yaml()}\n"


def _results(about: Mapping[str, Any]) -> list[Any]:
    """Error and accuracy on texts that were held out; nothing where there are none."""
    from huggingface_hub import EvalResult

    found = measured(about)
    if found is None or "dataset" not in about:
        return []
    error, interval, split = found
    bounds, spread = "", None
    if interval is not None:
        low, high = interval
        bounds = f", {LEVEL:.0%} interval {low:.1%} to {high:.1%}"
        spread = {"interval": [round(low, 4), round(high, 4)], "level": LEVEL}
    where: dict[str, Any] = {
        "task_type": TASK,
        "task_name": "Text classification",
        "dataset_type": _line(about["dataset"]),
        "dataset_name": _line(about["dataset"]),
        "dataset_split": split,
    }
    return [
        EvalResult(
            metric_type="error",
            metric_value=round(error, 4),
            metric_name=f"Error{bounds}",
            metric_args=spread,
            **where,
        ),
        EvalResult(
            metric_type="accuracy",
            metric_value=round(1 - error, 4),
            metric_name="Accuracy",
            **where,
        ),
    ]


def measured(about: Mapping[str, Any]) -> tuple[float, tuple[float, float] | None, str] | None:
    """Error on held-out texts with its interval, as shares, and which texts those were; else None.

    >>> measured({"test_error": 0.25, "n_test": 100})
    (0.25, (0.17, 0.34), 'test')
    """
    expected = about.get("expected")
    if isinstance(expected, Mapping) and isinstance(expected.get("error"), float):
        bounds = expected.get("interval")
        interval = None if bounds is None else (bounds[0] / 100, bounds[1] / 100)
        split = "test" if expected.get("measured") == "test set" else "cross-validation"
        return expected["error"] / 100, interval, split
    error, texts = about.get("test_error"), about.get("n_test")
    by_it = about.get("training", {}).get("selection") == "oracle_test"
    if not isinstance(error, float) or not math.isfinite(error) or not texts or by_it:
        return None
    return error, bootstrap_interval(round(error * texts), texts), "test"


def _name(spec: str) -> str:
    """The name of a component, without its options."""
    return _line(spec.partition("[")[0])


def _line(text: str) -> str:
    """Text as one line that is no HTML where a reader takes the metadata for Markdown."""
    return printable(" ".join(text.split())).replace("<", "&lt;")
