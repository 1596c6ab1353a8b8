"""What a user or a study file of a stranger writes: spec strings, TOML."""

from __future__ import annotations

import contextlib

from ampmix.errors import AmpmixError
from ampmix.studies import study as study_module
from fuzz.target import Target, scratch, written

KINDS = (
    ("ampmix.policies", "policy"),
    ("ampmix.backbones", "backbone"),
    ("ampmix.datasets", "data set"),
)


def spec(data: bytes) -> None:
    """A spec string, and a list of them; what is written of one that was read reads as the same."""
    from ampmix._support import components

    package, kind = KINDS[(data[0] if data else 0) % 3]
    text = data[1:].decode("utf-8", "replace")
    with contextlib.suppress(AmpmixError):
        for one in components.parse_list(text, package, kind):
            components.spec(one)
    found = components.parse(text, package, kind)
    again = components.parse(components.spec(found), package, kind)
    assert components.spec(again) == components.spec(found)


def study(data: bytes) -> None:
    """A study file, up to where texts would be read."""
    from ampmix.studies import file as study_file

    file = study_file.read(written("study.toml", data), smoke=len(data) % 2 == 0)
    for cell in file.cells[:2]:
        try:
            study_module.build(study_file.StudyFile(file.name, file.models, (cell,)))
        except AmpmixError:
            continue


def reference(data: bytes) -> None:
    """The paper's numbers, from a damaged installation."""
    from ampmix.analysis import paper

    paper.read(written("reference.toml", data))


def _study_seeds() -> list[bytes]:
    (scratch() / "films.csv").write_text("text,label\n" + "a day,x\nb day,y\n" * 6)
    small = """name = "small"
models = "best"
datasets = ["films.csv", {file = "films.csv", text = "text", label = "label"}]
backbones = ["cnn[embedding_dim=8|4,feature_maps=4]"]
vectors = ""
policies = ["none", "amp[eps=0.1|0.2,site=sent]"]
fractions = [1.0, 0.5]
seeds = 2
folds = 3
[training]
steps = [4, 8]
lr = 0.01
class_weights = "balanced"
[smoke]
seeds = 1
[[grid]]
policies = "mixup"
[[grid]]
backbones = ["bilstm[hidden_size=4]"]
smoke = {seeds = 1}
"""
    few = 'datasets = "films.csv"\npolicies = ["none", "mixup"]\nseeds = 2\n'
    return [small.encode(), few.encode(), b""]


def _spec_seeds() -> list[bytes]:
    from ampmix._support import components

    made = [b"\x00amp[eps=0.1,site=sent],none", b"\x01cnn[filter_sizes=3+4+5,dropout=0.1]"]
    made += [b"\x02hf[path=ag_news]", b"\x01encoder[model=/no/such,freeze=true]", b"\x00"]
    for i, (package, _) in enumerate(KINDS):
        made += [bytes([i]) + name.encode() for name in components.find(package)]
    return made


def _reference_seeds() -> list[bytes]:
    table = b'[[table2]]\ndataset = "trec"\nerror = 1.5\nstd = 0.1\n'
    return [table, b"[[table1]]\nvocabulary = 9592\n", b"table2 = [{a = 1}]\n"]


WORDS = (
    b"[", b"]", b"=", b"|", b"+", b",", b"nan", b"inf", b"-1", b"1e400", b"true", b"eps=",
    b"site=", b"alpha=", b"dropout=", b"[[grid]]\n", b"[smoke]\n", b"[training]\n", b"steps=",
    b"lr=", b"folds=", b"datasets=", b"policies=", b"seeds=", b"fractions=", b"1979-05-27",
    b'"""', b"{file=", b"0x7fffffffffffffff",
)  # fmt: skip
TARGETS = (
    Target("spec", spec, _spec_seeds, WORDS, longest=512),
    Target("study", study, _study_seeds, WORDS, share=0.3),
    Target("reference", reference, _reference_seeds, WORDS, share=0.5),
)
