"""The treebank: trees read by our parser against the sentence files others made of it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampmix.data.dataset import TextDataset
from ampmix.datasets import load
from ampmix.datasets._trees import read_trees
from ampmix.errors import AmpmixError
from ampmix.text.tokenizers import kim_sst

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sst(trec_data: Path, load_once: Any) -> dict[str, TextDataset]:
    names = ("sst1", "sst2", "sst1[phrases=false]", "sst2[phrases=false]")
    return {name: load_once(name) for name in names}


# ------------------------------------------------------------------ the parser

LEAVES = st.text("ab.,'`-\xa0\x85\u2019", min_size=1, max_size=5)
TREES = st.recursive(
    st.tuples(st.integers(0, 4), LEAVES),
    lambda below: st.tuples(st.integers(0, 4), st.lists(below, min_size=1, max_size=3)),
    max_leaves=12,
)


def written(tree: object) -> str:
    label, below = tree
    return f"({label} {below if isinstance(below, str) else ' '.join(map(written, below))})"


def listed(tree: object) -> list[tuple[int, str]]:
    """The phrases by recursion: children first."""
    label, below = tree
    if isinstance(below, str):
        return [(label, below)]
    inner = [listed(child) for child in below]
    own = (label, " ".join(phrases[-1][1] for phrases in inner))
    return [phrase for phrases in inner for phrase in phrases] + [own]


@given(st.lists(TREES, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_every_node_is_a_phrase(trees: list[object], end: str) -> None:
    content = end.join(map(written, trees)) + end
    assert [list(map(tuple, tree)) for tree in read_trees(content, "x")] == list(map(listed, trees))


def test_what_the_treebank_escapes_is_written_as_it_was() -> None:
    line = r"(2 (2 -LRB-) (2 (2 9\/11) (2 (2 \*\*) (2 -RRB-))))"
    assert next(read_trees(line, "x"))[-1] == (2, "( 9/11 ** )")


def test_a_deep_tree_is_no_problem() -> None:
    depth = 20_000
    content = "(1 " * depth + "deep" + ")" * depth
    assert len(next(read_trees(content, "x"))) == depth


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("(2 (2 a) (2 b)", "lacks 1 closing bracket"),
        ("(2 a))", r"has '\)' outside its brackets"),
        ("(2 a) (2 b)", "holds a second tree"),
        ("(5 a)", "has the label '5'"),
        ("(a)", "has the label 'a'"),
        ("(", "has the label 'nothing'"),
        ("(2)", "has a node without words"),
        ("(2 (2 a) b)", "has the word 'b' where"),
        ("(2 a b)", "has the word 'b' where"),
        ("(2 a (2 b))", "has a node beside a word"),
        ("a film", "has 'a' outside"),
        ("", "is empty"),
    ],
)
def test_what_is_no_tree_is_named_with_its_line(line: str, said: str) -> None:
    with pytest.raises(AmpmixError, match=f"trees.txt is no file of .* line 3 {said}"):
        list(read_trees(f"(1 a)\n(2 b)\n{line}\n(3 c)\n", "trees.txt"))


# ------------------------------------------------------------------ the data


def stsa(folder: Path, file: str) -> Counter[tuple[str, tuple[str, ...]]]:
    """Label and tokens of each line of a file of sent-conv, whose brackets are escaped."""
    lines = (folder / "sent-conv" / file).read_text(encoding="utf-8").strip("\n").split("\n")
    escapes = (("-lrb-", "("), ("-rrb-", ")"))
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for line in lines:
        label, text = line.split(" ", 1)
        for escaped, bracket in escapes:
            text = text.replace(escaped, bracket)
        found[label, tuple(re.sub(r"[^a-z0-9(),!?'`]", " ", text).split())] += 1
    return found


@pytest.mark.parametrize(("name", "file"), [("sst1", "fine"), ("sst2", "binary")])
def test_sentences_are_those_of_the_usual_files(
    sst: dict[str, TextDataset], trec_data: Path, name: str, file: str
) -> None:
    dataset = sst[f"{name}[phrases=false]"]
    for part in ("train", "dev", "test"):
        own = getattr(dataset, part)
        ours = Counter(
            (str(label), tuple(kim_sst(text)))
            for text, label in zip(own.texts, own.labels, strict=True)
        )
        assert ours == stsa(trec_data, f"stsa.{file}.{part}")


def test_counts_of_each_class_and_part(sst: dict[str, TextDataset]) -> None:
    def counts(name: str, part: str) -> list[int]:
        return np.bincount(getattr(sst[name], part).labels).tolist()

    fine = {
        "train": [1092, 2218, 1624, 2322, 1288],
        "dev": [139, 289, 229, 279, 165],
        "test": [279, 633, 389, 510, 399],
    }
    for part, expected in fine.items():
        assert counts("sst1[phrases=false]", part) == expected
        low, high = sum(expected[:2]), sum(expected[3:])
        assert counts("sst2[phrases=false]", part) == [low, high]
    assert [sum(fine[part]) for part in fine] == [8544, 1101, 2210]
    for name in ("sst1", "sst2"):
        for part in ("dev", "test"):
            assert counts(name, part) == counts(f"{name}[phrases=false]", part)


def test_phrases_are_the_labelled_nodes_each_once(
    sst: dict[str, TextDataset], trec_data: Path
) -> None:
    raw = (trec_data / "sst-trees" / "train.txt").read_bytes()
    assert len(re.findall(rb"\([0-4] ", raw)) == 318_582
    nodes = [phrase for tree in read_trees(raw.decode(), "x") for phrase in tree]
    assert len(nodes) == 318_582
    label_of: dict[str, set[int]] = {}
    for label, text in nodes:
        label_of.setdefault(text, set()).add(label)
    assert all(len(labels) == 1 for labels in label_of.values()), "no phrase has two labels"
    assert len(label_of) == 159_274
    one, two = sst["sst1"], sst["sst2"]
    assert dict(zip(one.train.texts, map(int, one.train.labels), strict=True)) == {
        text: min(labels) for text, labels in label_of.items()
    }
    assert len(one.train) == 159_274
    polar = {text: min(labels) > 2 for text, labels in label_of.items() if labels != {2}}
    assert dict(zip(two.train.texts, map(bool, two.train.labels), strict=True)) == polar
    assert len(two.train) == len(polar) == 77_616
    for name in ("sst1", "sst2"):
        assert set(sst[f"{name}[phrases=false]"].train.texts) <= set(sst[name].train.texts)


def test_names_titles_and_notes(sst: dict[str, TextDataset]) -> None:
    assert [(d.name, d.title) for d in sst.values()] == [
        ("sst1", "SST-1"),
        ("sst2", "SST-2"),
        ("sst1-sentences", ""),
        ("sst2-sentences", ""),
    ], "a comparison on sentences alone is not shown beside the paper's results"
    assert len({d.fingerprint for d in sst.values()}) == 4
    assert {d.tokenizer for d in sst.values()} == {"kim-sst"}
    for name, part, size in (("sst1", "dev", 1101), ("sst1", "test", 2210), ("sst2", "dev", 872)):
        train = {tuple(kim_sst(text)) for text in sst[name].train.texts}
        count = sum(tuple(kim_sst(text)) in train for text in getattr(sst[name], part).texts)
        assert count > 0
        use = "development" if part == "dev" else "testing"
        assert any(n.startswith(f"{count:,} of {size:,} texts for {use}") for n in sst[name].notes)


def test_an_option_that_is_none_is_refused(trec_data: Path) -> None:
    with pytest.raises(AmpmixError, match="phrases of data set sst2 is 'maybe': .* true or false"):
        load("sst2[phrases=maybe]")
