"""A stranger's model folder: its configuration, its weights, both with matching checksums."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.target import Target, scratch

SPLIT = b"\n=====\n"  # between configuration and weights


def model(data: bytes) -> None:
    """Byte 0: whether the configuration is sealed, and the weights are their header alone."""
    from ampmix import Classifier

    flags, rest = data[0] if data else 0, data[1:]
    config, _, weights = rest.partition(SPLIT)
    folder = scratch() / "model"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(_framed(weights) if flags & 2 else weights)
    (folder / "config.json").write_bytes(_sealed(config) if flags & 1 else config)
    found = Classifier.load(folder)
    assert len(found.predict(["a fine day", ""])) == 2


def _sealed(config: bytes) -> bytes:
    """With the checksum that it should have."""
    from ampmix._support.json_files import content_sha256

    try:
        content = json.loads(config)
        content.pop("sha256", None)
        content.pop("files", None)
        content["sha256"] = content_sha256(content)
        return json.dumps(content).encode("utf-8", "surrogatepass")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return config


def _framed(header: bytes) -> bytes:
    """A safetensors file of that header and room for a few numbers."""
    return struct.pack("<Q", len(header)) + header + bytes(2048)


def encoder(data: bytes) -> None:
    """An encoder's folder, whose configuration transformers reads too; which file is byte 0's."""
    from ampmix import Classifier

    files = _encoder_files()
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    name = names[(data[0] if data else 0) % 3]
    folder = scratch() / "encoder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for other, content in files.items():
        (folder / other).write_bytes(content)
    (folder / name).write_bytes(_sealed(data[1:]) if name == "config.json" else data[1:])
    if name != "config.json":
        (folder / "config.json").write_bytes(_sealed(files["config.json"]))
    assert len(Classifier.load(folder).predict(["a cat"])) == 1


def _saved(spec: str) -> Path:
    """A folder that ampmix wrote, with few weights."""
    import torch

    from ampmix._support import components
    from ampmix.models.classifier import Classifier

    folder = scratch() / f"good-{spec[:3]}"
    backbone = components.parse(spec, "ampmix.backbones", "backbone")
    reader = backbone.reader(["a fine day", "a bad day"], "words", 16)
    module = backbone.build(reader, 2, torch.Generator().manual_seed(0))
    Classifier(backbone, module, reader, ("bad", "good")).save(folder)
    return folder


@cache
def _encoder_files() -> dict[str, bytes]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
    import tiny_encoders

    tiny = scratch() / "tiny"
    tiny_encoders.save("bert", tiny)
    folder = _saved(f"encoder[model={tiny}]")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _seeds() -> list[bytes]:
    made = []
    for spec in ("cnn[embedding_dim=4,feature_maps=2]", "bilstm[embedding_dim=4,hidden_size=4]"):
        folder = _saved(spec)
        config = (folder / "config.json").read_bytes()
        weights = (folder / "model.safetensors").read_bytes()
        header = weights[8 : 8 + struct.unpack("<Q", weights[:8])[0]]
        made += [b"\x00" + config + SPLIT + weights, b"\x01" + config + SPLIT + weights]
        made.append(b"\x03" + config + SPLIT + header)
    return made


def _encoder_seeds() -> list[bytes]:
    files: dict[str, Any] = _encoder_files()
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    return [bytes([i]) + files[name] for i, name in enumerate(names)]


WORDS = (
    b"null", b"[]", b"{}", b"-1", b"1e9", b"99999999999", b'"F64"', b'"I8"', b'"BF16"',
    b'"shape":[0]', b'"data_offsets":[0,0]', b"vectors=/etc/passwd", b"embedding_dim=999999999",
    b'"../config.json"', b'"\\ud800"', b'"classes": ', b'"vocabulary": ', b'"max_length": ',
    b'"files": ', b"feature_maps=1000000", b'"auto_map": ', b'"quantization_config": ',
    b'"architectures": ',
)  # fmt: skip
TARGETS = (
    Target("model", model, _seeds, WORDS, share=0.1, longest=8192),
    Target("encoder", encoder, _encoder_seeds, WORDS, share=0.001, longest=8192),
)
