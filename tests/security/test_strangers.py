"""Models, archives and vectors from strangers: nothing is executed, nothing written elsewhere.

An audit hook of the interpreter is the witness: it sees every unpickled class, process, connection,
compiled file and opened path, whoever opens it.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ampmix import Classifier, TextCNN
from ampmix._support import components
from ampmix._support.json_files import content_sha256
from ampmix.errors import AmpmixError
from ampmix.models.classifier import CONFIG
from ampmix.text.reader import WordReader
from ampmix.text.vector_formats import entries

_watching: list[tuple[str, str]] | None = None
_FORBIDDEN = {"pickle.find_class", "subprocess.Popen", "os.system", "os.posix_spawn", "os.exec",
              "socket.connect", "socket.getaddrinfo", "os.fork", "shutil.rmtree"}  # fmt: skip
_WRITING = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link"}


def _audit(event: str, arguments: Any) -> None:
    if _watching is None:
        return
    if event in _FORBIDDEN or event in _WRITING:
        _watching.append((event, str(arguments[:1])))
    elif event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if isinstance(path, str | bytes | os.PathLike) and writes and mode is not None:
            _watching.append(("open to write", os.fsdecode(path)))
        elif isinstance(path, str | bytes | os.PathLike):
            _watching.append(("open to read", os.fsdecode(path)))
    elif event == "compile" and isinstance(arguments[1], str):
        _watching.append(("compile", arguments[1]))


sys.addaudithook(_audit)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[list[tuple[str, str]]]:
    """What happened meanwhile; at the end none of it may have been an execution or a write."""
    global _watching
    (tmp_path / "secret").write_text("the secret 0.5 0.5\n")
    _watching = events = []
    try:
        yield events
    finally:
        _watching = None
    bad = [
        (event, what)
        for event, what in events
        # torch makes a folder for its compiler when it is first asked for shapes alone
        if event in _FORBIDDEN | _WRITING and "torchinductor" not in what
    ]
    assert not bad
    for event, what in events:
        if event == "open to write":
            assert what == os.devnull or "__pycache__" in what, (event, what)
        if event == "compile":
            assert str(tmp_path) not in what, (event, what)
        assert not (event == "open to read" and what == str(tmp_path / "secret"))


class Evil:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A good model."""
    reader = WordReader.of_texts(["a good film", "a bad book"], "words", 16)
    backbone = TextCNN(embedding_dim=4, feature_maps=2)
    module = backbone.build(reader, 2, torch.Generator().manual_seed(0))
    Classifier(backbone, module, reader, ("bad", "good")).save(tmp_path / "model")
    return tmp_path / "model"


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """What the test itself does."""
    global _watching
    events, _watching = _watching, None
    try:
        yield
    finally:
        _watching = events


def reseal(folder: Path, **changes: Any) -> None:
    """Change the configuration, and seal it as `save` does."""
    with unwatched():
        _reseal(folder, changes)


def _reseal(folder: Path, changes: dict[str, Any]) -> None:
    config = {**json.loads((folder / CONFIG).read_text()), **changes}
    config.pop("sha256", None)
    config["sha256"] = content_sha256(config)
    (folder / CONFIG).write_text(json.dumps(config))


def refused(folder: Path, *said: str) -> None:
    with pytest.raises(AmpmixError) as caught:
        Classifier.load(folder)
    assert str(caught.value).count("\n") == 0
    for word in said:
        assert word in str(caught.value)


def test_a_good_model_loads_and_the_watch_sees_its_files(
    model: Path, watched: list[tuple[str, str]]
) -> None:
    assert Classifier.load(model).classes == ("bad", "good")
    assert ("open to read", str(model / CONFIG)) in watched


@pytest.mark.parametrize(
    "name", ["../secret", "/dev/zero", "/etc/passwd", "model.safetensors/../../secret", "evil.py"]
)
def test_a_list_of_files_leads_nowhere_else(name: str, model: Path, watched: Any) -> None:
    reseal(model, files={name: "0" * 64})  # /dev/zero would be read for ever
    refused(model, "lists the file")


@pytest.mark.parametrize("name", ["model.safetensors", CONFIG, "README.md"])
@pytest.mark.parametrize("to", ["outside", "above"])
def test_a_link_out_of_the_folder_is_not_followed(
    name: str, to: str, model: Path, tmp_path: Path, watched: Any
) -> None:
    (model / name).rename(tmp_path / "moved")
    watched.clear()
    (model / name).symlink_to(tmp_path / "moved" if to == "outside" else "../moved")
    watched.clear()
    refused(model, name, "link")


def test_the_folder_itself_may_be_a_link(model: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(model)
    assert Classifier.load(tmp_path / "latest").predict(["a good film"])


@pytest.mark.parametrize("name", ["model.safetensors", CONFIG])
def test_what_is_no_file_is_not_waited_for(name: str, model: Path, watched: Any) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)  # opening it would wait for a writer
    watched.clear()
    refused(model, "is no file")


@pytest.mark.parametrize("name", ["glove.840B.300d", "../secret", "/etc/passwd"])
def test_vectors_named_by_a_model_are_neither_read_nor_downloaded(
    name: str, model: Path, watched: Any
) -> None:
    reseal(model, backbone=f"cnn[embedding_dim=4,feature_maps=2,vectors={name}]")
    refused(model, "vectors")


@pytest.mark.parametrize(
    "backbone",
    [
        "cnn[embedding_dim=2000000000,feature_maps=2]",
        "cnn[embedding_dim=4,feature_maps=2000000000]",
        "bilstm[embedding_dim=4,hidden_size=2000000]",
        "cnn[embedding_dim=99999999999999999999,feature_maps=2]",
    ],
)
def test_sizes_are_checked_against_the_header_before_anything_is_allocated(
    backbone: str, model: Path, monkeypatch: pytest.MonkeyPatch, watched: Any
) -> None:
    sizes, uniform = [], torch.Tensor.uniform_

    def counted(self: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        sizes.append(0 if self.device.type == "meta" else self.numel())
        return uniform(self, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "uniform_", counted)
    reseal(model, backbone=backbone)
    refused(model)
    assert sum(sizes) == 0


CHANGES: dict[str, dict[str, Any]] = {
    "more classes than weights": {"classes": [str(i) for i in range(1000)]},
    "classes that are a text": {"classes": "ab"},
    "classes that are numbers": {"classes": [1, 2]},
    "one class twice": {"classes": ["a", "a"]},
    "half a letter": {"classes": ["a", "\ud800"]},
    "a vocabulary of numbers": {
        "reader": {"tokenizer": "words", "vocabulary": [1], "max_length": 9}
    },
    "an endless cut-off": {
        "reader": {"tokenizer": "words", "vocabulary": ["a"], "max_length": "9"}
    },
    "a reader that is a list": {"reader": []},
    "a backbone that is a list": {"backbone": []},
    "another format": {"format": [1]},
    "files that are none": {"files": [1]},
}


@pytest.mark.parametrize("case", CHANGES)
def test_configurations_of_another_shape_are_refused(case: str, model: Path, watched: Any) -> None:
    config = {**json.loads((model / CONFIG).read_text()), **CHANGES[case]}
    config.pop("sha256")
    config.pop("files", None) if "files" not in CHANGES[case] else None
    (model / CONFIG).write_text(json.dumps(config))
    watched.clear()
    refused(model)


@pytest.mark.parametrize("content", [b"[" * 10**5, b"[1, 2]", b"\xff\xfe", b"", b"null"])
def test_a_configuration_that_is_none(content: bytes, model: Path) -> None:
    (model / CONFIG).write_bytes(content)
    refused(model)


def _weights(model: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    config = json.loads((model / CONFIG).read_text())
    config.pop("files")
    reseal(model, files={})


def test_a_pickle_in_place_of_the_weights_is_not_unpickled(
    model: Path, tmp_path: Path, watched: Any
) -> None:
    _weights(model, pickle.dumps(Evil(tmp_path / "mark")))
    watched.clear()
    refused(model)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[8,0]}}',
        b"{",
        b"",
    ],
)
def test_a_header_that_lies_is_refused(header: bytes, model: Path) -> None:
    _weights(model, struct.pack("<Q", len(header)) + header + bytes(16))
    refused(model)
    _weights(model, struct.pack("<Q", 2**62) + header)
    refused(model)


def test_a_vectors_file_that_is_a_pickle_is_not_unpickled(tmp_path: Path, watched: Any) -> None:
    made = pickle.dumps(Evil(tmp_path / "mark"))
    files = {"v.pkl": made, "v.gz": gzip.compress(made), "v.npy": b"\x93NUMPY" + made}
    with unwatched():
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
    for name in files:
        with pytest.raises(AmpmixError):
            list(entries(tmp_path / name, {b"the"}))
    assert not (tmp_path / "mark").exists()


# encoders, whose folders transformers reads too


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body that transformers saved."""
    pytest.importorskip("transformers")
    import tiny_encoders

    folder = tmp_path_factory.mktemp("tiny")
    tiny_encoders.save("bert", folder)
    return folder


@pytest.fixture
def encoder(tiny: Path, tmp_path: Path) -> Path:
    """A saved encoder."""
    from ampmix.backbones.encoder import Encoder

    backbone = Encoder(model=str(tiny))
    reader = backbone.reader([], "words", 16)
    module = backbone.build(reader, 2, torch.Generator().manual_seed(0))
    Classifier(backbone, module, reader, ("bad", "good")).save(tmp_path / "encoder")
    return tmp_path / "encoder"


MARKING = "from pathlib import Path\nPath({mark!r}).touch()\n"


def _auto_map(folder: Path, mark: Path) -> None:
    (folder / "evil.py").write_text(MARKING.format(mark=str(mark)))
    reseal(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})


def _tokenizer_map(folder: Path, mark: Path) -> None:
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    path.write_text(json.dumps(told))
    reseal(folder, files={})


def _pickled(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    reseal(folder, files={})


def _sharded(folder: Path, mark: Path) -> None:
    weights = {"weight_map": {"classifier.weight": "../secret"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(weights))


def _adapter(folder: Path, mark: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')


def _kernels(folder: Path, mark: Path) -> None:
    reseal(folder, attn_implementation="someone/kernels")


def _layers(folder: Path, mark: Path) -> None:
    reseal(folder, num_hidden_layers=10**9)


def _wide(folder: Path, mark: Path) -> None:
    reseal(folder, hidden_size=2**20, intermediate_size=2**20)


def _a_token_more(folder: Path, mark: Path) -> None:
    """One that no embedding belongs to, found by fuzzing."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sep_token": "]SEP["}))
    reseal(folder, files={})


ENCODERS: list[Callable[[Path, Path], None]] = [
    _auto_map, _tokenizer_map, _pickled, _sharded, _adapter, _kernels, _layers, _wide,
    _a_token_more,
]  # fmt: skip


@pytest.mark.parametrize("change", ENCODERS, ids=lambda change: change.__name__.strip("_"))
def test_a_hostile_encoder_is_refused_and_executes_nothing(
    change: Callable[[Path, Path], None],
    encoder: Path,
    tmp_path: Path,
    watched: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    change(encoder, tmp_path / "mark")
    watched.clear()
    refused(encoder)
    assert not (tmp_path / "mark").exists()
    assert "evil" not in sys.modules


def test_a_body_with_code_or_a_pickle_of_its_own_is_not_asked_about(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from ampmix.backbones.encoder import Encoder

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    for case in ("code", "pickle"):
        folder, mark = tmp_path / case, tmp_path / f"mark-{case}"
        shutil.copytree(tiny, folder)
        if case == "code":
            (folder / "evil.py").write_text(MARKING.format(mark=str(mark)))
            config = json.loads((folder / CONFIG).read_text()) | {"model_type": "evil"}
            config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
            (folder / CONFIG).write_text(json.dumps(config))
        else:
            (folder / "model.safetensors").unlink()
            (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
        backbone = Encoder(model=str(folder))
        with pytest.raises(AmpmixError):
            backbone.build(backbone.reader([], "words", 16), 2, torch.Generator())
        assert not mark.exists()


def test_a_saved_encoder_loads_from_a_folder_called_as_a_known_name(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.rename(tmp_path / "minilm")
    monkeypatch.chdir(tmp_path)
    assert len(Classifier.load("minilm").reader) < 100  # MiniLM has 30,522 tokens


@pytest.mark.parametrize(
    "spec",
    [
        "cnn[embedding_dim=5,feature_maps=3,filter_sizes=2+4]",
        "cnn[tuned=false]",
        "bilstm[embedding_dim=5,hidden_size=6]",
    ],
)
def test_shapes_are_those_of_the_module(spec: str) -> None:
    backbone = components.parse(spec, "ampmix.backbones", "backbone")
    reader = WordReader.of_texts(["a good film"], "words", 16)
    built = backbone.build(reader, 4, torch.Generator()).state_dict()
    expected = {name: tuple(value.shape) for name, value in built.items()}
    assert backbone.shapes(len(reader), 4) == expected


def test_what_is_written_names_no_folder_of_the_user(encoder: Path, tiny: Path) -> None:
    for path in encoder.iterdir():
        assert str(tiny).encode() not in path.read_bytes(), path.name
    from ampmix.backbones.encoder import Encoder

    assert str(tiny.parent) not in Encoder(model=str(tiny)).identity
    assert Encoder(model=str(tiny)).identity.startswith("encoder[model=sha256-")
    assert Encoder(model="bert-base-uncased").identity == "encoder[model=bert-base-uncased]"
