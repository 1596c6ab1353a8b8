"""Figure 2 as numbers, picture and page: the mean over pairs, and every pair to be looked at."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ampmix._support.wording import counted
from ampmix.data.tables.spreadsheet import guarded
from ampmix.report import charts
from ampmix.report.document import Chart, Document, ReportTable, Section

IN_PAGE = 200  # pairs; all of them are in the CSV file
LONGEST = 2000  # letters of a text in the page


def path_json(found: Any) -> dict[str, Any]:
    """Return the content of ``path.json``; losses in nats."""
    mean = {
        name: [float(value) for value in losses.mean(0)]
        for name, losses in zip(found.names, found.losses, strict=True)
    }
    pairs = [
        {
            "texts": [found.texts[i] for i in pair],
            "labels": [found.labels[i] for i in pair],
            "losses": {
                name: [float(value) for value in losses[p]]
                for name, losses in zip(found.names, found.losses, strict=True)
            },
        }
        for p, pair in enumerate(found.pairs)
    ]
    return {
        "site": ", ".join(dict.fromkeys(found.sites)),
        "seed": found.seed,
        "notes": list(found.notes),
        "lam": [float(lam) for lam in found.lams],
        "mean": mean,
        "pairs": pairs,
    }


def as_csv(content: Mapping[str, Any]) -> str:
    """Return CSV with a line per pair, model and coefficient; pair ``mean`` is over all pairs."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["pair", "model", "lam", "loss"])
    every = [("mean", content["mean"])]
    every += [(str(i), pair["losses"]) for i, pair in enumerate(content["pairs"], start=1)]
    for name, losses in every:
        for model, values in losses.items():
            for lam, value in zip(content["lam"], values, strict=True):
                writer.writerow([name, guarded(model), repr(round(lam, 12)), repr(value)])
    return written.getvalue()


def path_document(content: Mapping[str, Any]) -> Document:
    """The mean over pairs and what the models differ by."""
    names, lams = list(content["mean"]), content["lam"]
    averages = {name: float(np.mean(values)) for name, values in content["mean"].items()}
    told = "; ".join(f"{name}: {value:.3f}" for name, value in averages.items())
    lead = [
        f"{counted(len(_once(content)), 'pair')} of test texts, each from both ends, mixed at "
        f"{content['site']}; lam is the weight of the first text. Mean loss over pairs and lam, in "
        f"nats: {told}.",
        *_differences(content),
        *(f"Note: {note}." for note in content["notes"]),
    ]
    rows = _rows(lams, content["mean"])
    numbers = tuple(
        (f"{lam:.3g}", *(f"{content['mean'][name][k]:.4f}" for name in names))
        for k, lam in enumerate(lams)
    )
    chart = Chart(
        "path-mean",
        "Mean over all pairs",
        f"Mean loss of each model as lam goes from 0 to 1. Over all lam: {told}.",
        charts.along_lam(rows, names),
        ReportTable(("lam", *names), numbers, "Mean loss over pairs, in nats."),
    )
    sections = Section("All pairs (Figure 2(c))", (chart,)), *_single(content)
    return Document("The loss between two texts", tuple(lead), sections)


def _once(content: Mapping[str, Any]) -> list[Any]:
    """The pairs without those that are earlier ones from the other end: the first half."""
    pairs: list[Any] = content["pairs"]
    return pairs[: (len(pairs) + 1) // 2]


def _single(content: Mapping[str, Any]) -> list[Section]:
    """Single pairs, as Figures 2(a) and 2(b) show two."""
    names, made = list(content["mean"]), []
    for letter, pair in zip("ab", _once(content), strict=False):
        rows = _rows(content["lam"], pair["losses"])
        first, second = pair["labels"]
        alt = f"Loss of each model between a text of class {first} (lam = 1) and one of {second}."
        made.append(
            Chart(f"path-{letter}", f"One pair ({letter})", alt, charts.along_lam(rows, names))
        )
    return [Section("Single pairs (Figure 2(a) and 2(b))", tuple(made))] if made else []


def _rows(lams: Sequence[float], losses: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {"policy": name, "step": round(lam, 6), "mean": round(value, 5)}
        for name, values in losses.items()
        for lam, value in zip(lams, values, strict=True)
    ]


def _differences(content: Mapping[str, Any]) -> list[str]:
    """Each model against the first, pair by pair, with a t interval over pairs."""
    # a pair from its other end has the same mean over lam: it is no second pair
    names, pairs = list(content["mean"]), _once(content)
    if len(names) < 2 or len(pairs) < 2:
        return []
    said = []
    for name in names[1:]:
        values = [
            np.mean(pair["losses"][name]) - np.mean(pair["losses"][names[0]]) for pair in pairs
        ]
        if np.ptp(values) == 0:  # one model twice: no variance to go by
            said.append(f"{name} minus {names[0]}: {values[0]:+.3g} nats in every pair.")
            continue
        reach = stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / len(values) ** 0.5
        middle = float(np.mean(values))
        said.append(
            f"{name} minus {names[0]}: {middle:+.3g} nats [{middle - reach:+.3g}, "
            f"{middle + reach:+.3g}], 95 % for new pairs of texts and these very models: other "
            "seeds may say otherwise."
        )
    return said


def chooser(content: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the data of the part of the page in which a pair is chosen and read."""
    shown = content["pairs"][:IN_PAGE]
    names, lams = list(content["mean"]), content["lam"]
    rows = _rows(lams, shown[0]["losses"])
    left = len(content["pairs"]) - len(shown)
    others = counted(left, "pair is", "pairs are")
    held = [
        {
            "texts": [text[:LONGEST] + "…" * (len(text) > LONGEST) for text in pair["texts"]],
            "labels": pair["labels"],
            "losses": [[round(v, 4) for v in pair["losses"][name]] for name in names],
        }
        for pair in shown
    ]
    return {
        "rest": f" The other {others} in path.csv and path.json." if left else "",
        "spec": charts.along_lam(rows, names),
        "data": {"names": names, "lam": [round(lam, 6) for lam in lams], "pairs": held},
    }


@lru_cache(maxsize=1)
def script() -> str:
    """The page's script, which shows the chosen pair."""
    return (resources.files("ampmix.report") / "assets" / "path.js").read_text(encoding="utf-8")
