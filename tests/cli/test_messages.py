"""Options that messages name: each is one of the command that says it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from ampmix.cli.main import build_parser, main

SOURCE = Path(__file__).parents[2] / "src/ampmix"
NAMED = re.compile(r"(?<![\\w-])--[a-z][a-z-]+")
OTHERS = {"--local-dir", "--prefix", "--no-optional-locks", "--porcelain", "--head"}
OTHERS |= {"--untracked-files", "--error-unmatch"}
"""Options of git, hf and ray; ``--prefix`` is one of predict too."""


def commands() -> dict[str, Any]:
    (action,) = (a for a in build_parser()._actions if a.dest == "command")
    found: dict[str, Any] = dict(action.choices or {})
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_options_named_in_strings_exist(path: Path) -> None:
    known = {option for parser in commands().values() for option in parser.options}
    known |= set(build_parser().options) | OTHERS
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    named = {option for text in texts if isinstance(text, str) for option in NAMED.findall(text)}
    assert named <= known


@pytest.mark.parametrize("path", sorted((SOURCE / "models").rglob("*.py")), ids=lambda p: p.stem)
def test_what_several_commands_say_names_no_option(path: Path) -> None:
    """Models are read by path, predict, evaluate and export, which have few options in common."""
    common = set.intersection(
        *(set(commands()[name].options) for name in ("path", "predict", "evaluate", "export"))
    )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    raised = [n for n in ast.walk(tree) if isinstance(n, ast.Raise)]
    assert set(NAMED.findall(" ".join(map(ast.unparse, raised)))) <= common


REQUIRED = {"path": ["m", "--data", "x.csv"], "predict": ["m", "x.csv"], "evaluate": ["m", "x.csv"]}
REQUIRED |= {"report": ["runs"], "export": ["m"], "study": ["s.toml"], "list": []}


@pytest.mark.parametrize("command", sorted(commands()))
def test_advice_names_options_of_the_command(
    command: str, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    known = set(commands()[command].options)
    given = [command, *REQUIRED.get(command, ["x.csv"])]
    module = __import__(f"ampmix.cli.commands.{command}", fromlist=["run"])

    def no_memory(_: Any) -> int:
        raise MemoryError

    for arguments in ([*given, "--debug", "surplus"], given):
        monkeypatch.setattr(module, "run", no_memory)
        assert main(arguments) == 2
        said = capsys.readouterr().err
        said = said.rpartition("ampmix: ")[2]
        assert said and set(NAMED.findall(said)) <= known, said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--site", "nowhere"], "site of backbone"),
        (["--pairs", "99"], "pairs is 99"),
        (["--text", "nothing"], "nothing"),
        (["--data", "subj", "--text", "t"], "--text"),
        (["--data", "absent.csv"], "absent.csv"),
    ],
)
def test_path_advises_what_it_has(
    change: list[str], said: str, tmp_path: Path, capsys: Any
) -> None:
    import torch

    from ampmix.backbones.text_cnn import TextCNN
    from ampmix.models.classifier import Classifier

    texts = ["what is it", "who was it", "why"]
    backbone = TextCNN(embedding_dim=4, feature_maps=2)
    reader = backbone.reader(texts, "words", 9)
    built = backbone.build(reader, 2, torch.Generator().manual_seed(0)).eval()
    Classifier(backbone, built, reader, ("a", "b")).save(tmp_path / "m")
    (tmp_path / "x.csv").write_text("text,label\nwhat is it,a\nwho was it,b\nwhy,a\n")
    given = ["path", str(tmp_path / "m"), "--data", str(tmp_path / "x.csv")]
    assert main([*given, "--out", str(tmp_path / "out"), *change]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert set(NAMED.findall(told)) <= set(commands()["path"].options)


@pytest.mark.parametrize(
    "name", ["distilbert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2", "./models/bert"]
)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_model_of_the_hub_is_an_encoder(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main([command, "trec", "--backbone", name, *out]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"a model of the hub or in a folder is encoder[model={name}]\n"), said


def test_a_frozen_encoder_advises_no_option() -> None:
    from ampmix.backbones.encoder import Encoder
    from ampmix.errors import AmpmixError

    with pytest.raises(AmpmixError, match="mix at site sent") as caught:
        Encoder(freeze=True).check_site("word")
    assert not NAMED.findall(str(caught.value))
