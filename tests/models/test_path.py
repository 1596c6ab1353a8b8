"""`ampmix path`: losses along mixtures against a loop over single pairs, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.models.loss_path import compare_paths, frozen_pairs, grid, loss_paths
from ampmix.report.loss_path import path_document, path_json

TEXTS = ["what is it", "who was the man with the hat", "why", "where is the red house", "when"]
LABELS = ["ask", "tell", "ask", "tell", "ask"]
BACKBONES = [TextCNN(embedding_dim=5, feature_maps=3), BiLSTMAttention(embedding_dim=5)]


def model(backbone: Any = BACKBONES[0], seed: int = 0, **changes: Any) -> Classifier:
    classes = changes.get("classes", ("ask", "tell"))
    reader = backbone.reader(changes.get("texts", TEXTS), "words", 50)
    built = backbone.build(reader, len(classes), torch.Generator().manual_seed(seed))
    return Classifier(backbone, built.eval(), reader, classes)


@pytest.mark.parametrize("n", [2, 3, 10, 11])
def test_pairs_are_a_list_beside_itself_reversed(n: int) -> None:
    pairs = frozen_pairs(n, seed=3)
    assert sorted(pairs[:, 0]) == sorted(pairs[:, 1]) == list(range(n))
    assert (pairs[:, 1] == pairs[::-1, 0]).all()
    assert (frozen_pairs(n, seed=3) == pairs).all()
    fewer = frozen_pairs(n, 1, seed=3)
    assert fewer.tolist() == [pairs[0].tolist(), pairs[0, ::-1].tolist()]


@pytest.mark.parametrize("site", ["word", "sent"])
@pytest.mark.parametrize("pairs", [None, 1, 2])
def test_the_mean_is_symmetric_with_equal_ends(pairs: int | None, site: str) -> None:
    """As Figure 2(c): the loss at 0 and at 1 is the mean loss of the texts."""
    found = compare_paths([("a", model())], TEXTS, LABELS, pairs=pairs, points=5, site=site)
    mean = found.losses[0].mean(0)
    assert mean == pytest.approx(mean[::-1], abs=1e-6)
    if pairs is None:
        scores = torch.from_numpy(model().predict_proba(TEXTS)).log()
        alone = F.nll_loss(scores, torch.tensor([model().classes.index(y) for y in LABELS]))
        assert mean[[0, -1]] == pytest.approx(float(alone), abs=1e-5)


def naive(classifier: Classifier, a: int, b: int, lam: float) -> float:
    """The loss of one pair alone, from embeddings mixed by hand where texts are as long."""
    ids = classifier.reader.encode([TEXTS[a], TEXTS[b]], [0, 0])
    tokens, mask, _ = map(torch.from_numpy, ids.batch([0, 1]))
    f, g = classifier.model.cut(tokens, mask, "embedding")
    floats = [x for x in g if x.is_floating_point()]
    mixed = [lam * x[:1] + (1 - lam) * x[1:] if x.is_floating_point() else x[:1] | x[1:] for x in g]
    assert len(floats) == 1
    scores = f(*mixed).log_softmax(1)[0]
    places = [classifier.classes.index(LABELS[i]) for i in (a, b)]
    return float(-(lam * scores[places[0]] + (1 - lam) * scores[places[1]]))


def test_losses_are_those_of_single_pairs() -> None:
    classifier, pairs, lams = model(), frozen_pairs(5), grid(5)
    labels = [classifier.classes.index(label) for label in LABELS]
    with torch.no_grad():
        expected = [[naive(classifier, a, b, lam) for lam in lams] for a, b in pairs]
    found = loss_paths(classifier, TEXTS, labels, pairs, lams)
    assert found == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name)
@pytest.mark.parametrize("site", ["word", "sent"])
def test_the_ends_are_the_losses_of_the_texts(backbone: Any, site: str) -> None:
    classifier, pairs = model(backbone), frozen_pairs(5)
    labels = [classifier.classes.index(label) for label in LABELS]
    found = loss_paths(classifier, TEXTS, labels, pairs, grid(3), site)
    probabilities = torch.from_numpy(classifier.predict_proba(TEXTS))
    alone = F.nll_loss(probabilities.log(), torch.tensor(labels), reduction="none").numpy()
    if site == "sent" or backbone.name == "cnn":  # else attention is over the union of the masks
        assert found[:, 2] == pytest.approx(alone[pairs[:, 0]], abs=1e-5)
        assert found[:, 0] == pytest.approx(alone[pairs[:, 1]], abs=1e-5)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [model().classes.index(label) for label in LABELS]
    once = loss_paths(model(), TEXTS, labels, frozen_pairs(5), grid(3))
    monkeypatch.setattr("ampmix.models.loss_path.BATCH", 1)
    again = loss_paths(model(), TEXTS, labels, frozen_pairs(5), grid(3))
    assert again == pytest.approx(once, abs=1e-6)


def test_other_classes_are_refused_and_other_words_noted() -> None:
    with pytest.raises(AmpmixError, match=r"b has classes x, y and a has ask, tell"):
        compare_paths([("a", model()), ("b", model(classes=("x", "y")))], TEXTS, LABELS)
    found = compare_paths([("a", model()), ("b", model(texts=TEXTS[:1]))], TEXTS, LABELS)
    assert "different vocabularies" in found.notes[0]
    turned = compare_paths([("a", model()), ("b", model(classes=("tell", "ask")))], TEXTS, LABELS)
    assert not turned.notes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pairs": 3}, "pairs is 3: of 5 texts there are 1 to 2"),
        ({"points": 1}, "points is 1"),
        ({"site": "nowhere"}, "site of backbone cnn"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(AmpmixError, match=told):
        compare_paths([("a", model())], TEXTS, LABELS, **changes)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(AmpmixError, match=r"the labels shout are not among"):
        compare_paths([("a", model())], TEXTS, [*LABELS[:4], "shout"])


def write(folder: Path) -> list[str]:
    """Two models and a file of texts; the arguments of the command."""
    for seed in (0, 1):
        model(seed=seed).save(folder / f"m{seed}", {"policy": "amp", "seed": seed})
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    models = [str(folder / f"m{seed}") for seed in (0, 1)]
    return ["path", *models, "--data", str(folder / "test.csv"), "--out", str(folder / "out")]


def test_command_writes_the_same_numbers_everywhere(tmp_path: Path) -> None:
    assert main([*write(tmp_path), "--points", "3"]) == 0
    out = tmp_path / "out"
    content = json.loads((out / "path.json").read_text())
    assert list(content["mean"]) == ["amp, seed 0", "amp, seed 1"]
    with (out / "path.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 3 * (1 + 5)
    for line in lines:
        pair = line["pair"]
        source = content["mean"] if pair == "mean" else content["pairs"][int(pair) - 1]["losses"]
        k = content["lam"].index(float(line["lam"]))
        assert float(line["loss"]) == source[line["model"]][k]
    for name, mean in content["mean"].items():
        each = np.array([pair["losses"][name] for pair in content["pairs"]])
        assert mean == pytest.approx(each.mean(0).tolist())
    assert str(tmp_path) not in (out / "path.html").read_text()


def test_data_sets_without_a_test_part_are_refused(tmp_path: Path, capsys: Any) -> None:
    arguments = write(tmp_path)
    arguments[arguments.index("--data") + 1] = "nothing"
    assert main(arguments) == 2
    assert "nothing" in capsys.readouterr().err


def trained(policy: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    return {"policy": policy, "seed": seed, "data_hash": "d", "fraction": 1.0} | more


@pytest.mark.parametrize(
    ("policies", "site", "expected"),
    [
        (("mixup[site=sent]", "amp[site=sent]"), None, ("sent", "sent")),
        (("mixup", "amp"), None, ("word", "word")),
        (("none", "amp[site=sent]"), None, ("sent", "sent")),
        (("none", "none"), None, ("word", "word")),
        (("nowhere:Mine", "amp[site=sent]"), None, ("sent", "sent")),
        (("mixup[site=sent]", "amp[site=sent]"), "word", ("word", "word")),
        (("mixup", "amp[site=sent]"), None, ("word", "sent")),
    ],
)
def test_models_are_mixed_where_they_were_trained(
    policies: tuple[str, str], site: str | None, expected: tuple[str, str]
) -> None:
    made = (model(), model(seed=1))
    models = [
        (name, replace(one, about=trained(policy)))
        for name, one, policy in zip("ab", made, policies, strict=True)
    ]
    found = compare_paths(models, TEXTS, LABELS, site=site)
    assert found.sites == expected
    for (_, one), own, losses in zip(models, expected, found.losses, strict=True):
        places = [one.classes.index(label) for label in LABELS]
        assert (losses == loss_paths(one, TEXTS, places, found.pairs, found.lams, own)).all()
    assert any("mixed at" in note for note in found.notes) == (len(set(expected)) > 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "another seed,"),
        ({"data_hash": "e"}, "another data,"),
        ({"seed": 1, "fraction": 0.5}, "another seed and another share of the labels,"),
        ({}, ""),
    ],
)
def test_models_of_other_seeds_or_texts_are_noted(changes: dict[str, Any], said: str) -> None:
    models = [
        ("a", replace(model(), about=trained("mixup"))),
        ("b", replace(model(), about=trained("amp", **changes))),
    ]
    found = compare_paths(models, TEXTS, LABELS)
    assert [said in note for note in found.notes] == [True] * bool(said)


def test_the_command_takes_the_site_and_notes_other_seeds(tmp_path: Path, capsys: Any) -> None:
    arguments = write(tmp_path)
    for seed in (0, 1):
        about = {"policy": "amp[site=sent]", "seed": seed}
        model(seed=seed).save(tmp_path / f"m{seed}", about)
    assert main([*arguments, "--points", "3", "--figures", "svg"]) == 0
    content = json.loads((tmp_path / "out" / "path.json").read_text())
    assert content["site"] == "sent"
    assert "another seed" in capsys.readouterr().err
    drawn = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {"path-mean.svg", "path-a.svg", "path-b.svg"}  # Figures 2(c), 2(a) and 2(b)


def test_a_pair_from_its_other_end_is_no_second_pair(tmp_path: Path) -> None:
    assert main([*write(tmp_path), "--points", "3"]) == 0
    content = json.loads((tmp_path / "out" / "path.json").read_text())
    told = (tmp_path / "out" / "path.md").read_text()
    names = list(content["mean"])
    values = [
        np.mean(pair["losses"][names[1]]) - np.mean(pair["losses"][names[0]])
        for pair in content["pairs"][:3]
    ]
    reach = 4.302653 * np.std(values, ddof=1) / 3**0.5  # Student's t, two degrees of freedom
    low = re.search(r"nats \\\[(\S+),", told)
    assert low and float(low[1]) == pytest.approx(np.mean(values) - reach, rel=0.01)


def test_one_model_twice_proves_nothing() -> None:
    found = compare_paths([("a", model()), ("b", model())], TEXTS, LABELS)
    lead = path_document(path_json(found)).lead
    assert any("b minus a: +0 nats in every pair" in sentence for sentence in lead)


def test_the_folder_of_a_comparison_stands_for_its_model(tmp_path: Path) -> None:
    arguments = write(tmp_path)
    for seed in (0, 1):
        about = {"policy": "amp[site=sent]", "seed": seed}
        shutil.rmtree(tmp_path / f"m{seed}")
        model(seed=seed).save(tmp_path / f"m{seed}" / "model", about)
    assert main([*arguments, "--points", "3"]) == 0
    content = json.loads((tmp_path / "out" / "path.json").read_text())
    assert content["site"] == "sent" and "amp[site=sent], seed 0" in json.dumps(content)
