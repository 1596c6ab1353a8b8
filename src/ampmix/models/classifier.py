"""A trained model as people use it: texts in, labels and probabilities out, a folder on disk."""

from __future__ import annotations

import html
import itertools
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ampmix._support import components
from ampmix._support.attempts import attempt
from ampmix._support.files import as_of_the_system, drafting, put, sha256_of
from ampmix._support.json_files import content_sha256
from ampmix._support.redact import without_paths
from ampmix._support.wording import counted
from ampmix._torch.evaluation import in_evaluation
from ampmix.backbones.base import Backbone, CutModule
from ampmix.backbones.weights import BAG, HEAD, WEIGHTS
from ampmix.data.groups import seen_among
from ampmix.data.tables.columns import Preferred
from ampmix.data.texts import texts_of
from ampmix.errors import AmpmixError
from ampmix.models.model_card import CARD, card
from ampmix.text.coverage import coverage_of
from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

_log = logging.getLogger(__name__)
FORMAT = 1
CONFIG = "config.json"
SHOWN_CLASSES, LONGEST_REPR = 6, 500
LARGEST_CONFIG = 2**28  # bytes, of which a vocabulary of some millions of words takes a tenth
HARMLESS = {".md", ".png", ".svg", ".csv", ".onnx"}  # may lie beside an encoder
FILES = {WEIGHTS, HEAD, BAG, CONFIG, CARD, "tokenizer.json", "tokenizer_config.json"}


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained text classifier.

    A folder holds ``model.safetensors`` (weights), ``config.json`` (architecture, classes,
    tokenizer, vocabulary, what is told of its training, and the SHA-256 of the other files and of
    itself) and ``README.md``, the model card; nothing in it is executed on loading.

    >>> classifier = Classifier.load("runs/support-tickets/model")      # doctest: +SKIP
    >>> classifier.predict(["my parcel never arrived"])                 # doctest: +SKIP
    ['delivery']
    """

    backbone: Backbone
    model: CutModule
    reader: Reader
    classes: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def column(self, name: str) -> Preferred | None:
        """The column of texts or labels (``text``, ``label``) that the model was trained on."""
        known = self.about.get("columns") or {}
        return Preferred(known[name]) if name in known else None

    def trained_on(self, texts: Sequence[str]) -> int:
        """Number of these texts that the model was trained on, by their hashes; 0 if unknown."""
        return seen_among(self.about.get("trained_on"), texts)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.classes[:SHOWN_CLASSES]))
        more = len(self.classes) - SHOWN_CLASSES
        dots = f", ... ({more} more)" if more > 0 else ""
        spec = attempt(lambda: self.backbone.public_spec, self.backbone.name, "a spec string")
        return f"Classifier({spec}, classes=({shown}{dots}))"[:LONGEST_REPR]

    def _repr_html_(self) -> str:
        """The model, and the error to expect of it where that is known, for a notebook."""
        known = self.about.get("expected")
        error = known.get("error") if isinstance(known, Mapping) else None
        expect = f"<p>Expect an error of {error:.1f} %.</p>" if isinstance(error, float) else ""
        return f"<p><code>{html.escape(repr(self))}</code></p>{expect}"

    def predict_proba(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """Class probabilities, ``[n, classes]``, columns in the order of ``classes``.

        Args:
            texts: strings ``[n]``, in anything that :func:`ampmix.data.texts.texts_of` reads: a
                list, an array, a column of a data frame. A text that holds nothing the
                model knows, such as an empty one, gets a class, with a warning.

        Raises:
            AmpmixError: for what is no list of texts, or a text that is missing.
        """
        read = texts_of(texts, empty=True, name="texts")
        if not read:
            return np.empty((0, len(self.classes)), dtype=np.float32)
        encoded = self.reader.encode(read)
        if blind := coverage_of(self.reader, encoded).blind:
            hold = counted(blind, "text holds", "texts hold")
            warnings.warn(
                f"{hold} nothing that the model knows: the predicted class says nothing about them",
                stacklevel=2,
            )
        probabilities = logits_of(self.model, encoded).softmax(1).numpy()
        return np.asarray(probabilities, dtype=np.float32)

    def predict(self, texts: Iterable[str]) -> list[str]:
        """The most probable class of each text; arguments and errors as :meth:`predict_proba`."""
        return [self.classes[i] for i in self.predict_proba(texts).argmax(1)]

    def stream_proba(
        self, texts: Iterable[str], chunk: int = 4096
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Class probabilities ``[classes]`` of each text, in order, for texts without end.

        Memory grows with `chunk` texts, not with their number. Errors as :meth:`predict_proba`.
        """
        if isinstance(texts, str):  # whose letters are texts, too
            texts_of(texts, name="texts")
        remaining = iter(texts)
        while some := list(itertools.islice(remaining, chunk)):
            yield from self.predict_proba(some)

    def save(self, folder: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the model folder; it appears whole or not at all.

        Args:
            folder: where; an earlier model there is replaced.
            about: facts on its training beside :attr:`about`, kept in the configuration and told
                in the model card.

        Raises:
            AmpmixError: if `folder` holds something else than a model.
            OSError: if it cannot be written; an earlier model is then still there.
        """
        from safetensors import SafetensorError

        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "backbone": without_paths(components.spec(self.model.config)),
            "classes": self.classes,
            "about": {**self.about, **(about or {})},
        }
        check_replaceable(folder)
        with drafting(folder.parent) as draft, as_of_the_system(SafetensorError):
            ready = draft / "ready"
            ready.mkdir(mode=0o755)
            config |= self.model.save(ready, self.reader, self.classes)
            for written in ready.iterdir():
                written.chmod(0o644)
            config["files"] = {
                path.name: sha256_of(path)
                for path in sorted(ready.iterdir())
                if path.name != CONFIG
            }
            told = attempt(lambda: card(config), f"# {config['backbone']}\n", "the model card")
            (ready / CARD).write_text(told, encoding="utf-8")
            if (ready / CONFIG).exists():  # transformers' own, which goes on being one
                config = json.loads((ready / CONFIG).read_text(encoding="utf-8")) | config
                config.pop("sha256", None)  # of the folder that the encoder was loaded from
            config["sha256"] = content_sha256(config)
            text = json.dumps(config, ensure_ascii=False, indent=1)
            (ready / CONFIG).write_text(text + "\n", encoding="utf-8")
            put(ready, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """The classifier in a folder that :meth:`save` wrote, or in a comparison's folder.

        Raises:
            AmpmixError: if the folder is no such folder, a file was altered since it was saved, its
                files do not fit each other, one is a link to somewhere else, or it asks for code.
        """
        from safetensors import SafetensorError

        folder = Path(folder)
        if not (folder / CONFIG).exists() and (folder / "model" / CONFIG).is_file():
            folder = folder / "model"  # the output folder of ampmix compare
        try:
            config = _configuration(folder)
            if config["format"] != FORMAT:
                raise ValueError(f"it has format {config['format']!r}, this ampmix reads {FORMAT}")
            if (own := config.pop("sha256", None)) is not None:  # earlier models have none
                _check_unaltered(folder / CONFIG, own, content_sha256(config))
            backbone = components.parse_model(config["backbone"])  # imports nothing
            _check_files(folder, backbone)
            for name, saved in dict(config.get("files", {})).items():
                if name not in FILES:
                    raise ValueError(f"it lists the file {name[:80]!r}, which no model has")
                _check_unaltered(folder / name, str(saved), sha256_of(folder / name))
            classes = _classes(config["classes"])
            model, reader = backbone.load(folder, config)
            about = config.get("about", {})
            if not isinstance(about, dict):
                raise ValueError("its about is no table")
            _log.info("%s holds %s of %d classes", folder, config["backbone"], len(classes))
            return cls(backbone, model.eval(), reader, classes, about)
        except KeyError as error:
            raise AmpmixError(f"{folder} is not a model folder: {CONFIG} lacks {error}") from error
        except (OSError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError,
                MemoryError, SafetensorError) as error:  # fmt: skip
            reason = " ".join(str(error).split())[:500]
            raise AmpmixError(f"{folder} is not a model folder: {reason}") from error


def _configuration(folder: Path) -> dict[str, Any]:
    _check_inside(folder, CONFIG)
    with (folder / CONFIG).open("rb") as file:
        content = file.read(LARGEST_CONFIG + 1)
    if len(content) > LARGEST_CONFIG:
        raise ValueError(f"its {CONFIG} is larger than {LARGEST_CONFIG >> 20} MiB")
    config = json.loads(content.decode("utf-8"))
    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} holds no table")
    return config


def _check_files(folder: Path, backbone: Backbone) -> None:
    """Files of a model are files, in the folder itself; transformers finds no others."""
    for path in folder.iterdir():
        if path.name in FILES:
            _check_inside(folder, path.name)
        elif backbone.reads_folder and not (path.name.startswith(".") or path.suffix in HARMLESS):
            raise ValueError(
                f"it holds {path.name[:80]!r}, which no model of ampmix has: take that away"
            )


def _check_inside(folder: Path, name: str) -> None:
    path = folder / name
    if path.exists() and not path.is_file():
        raise ValueError(f"its {name} is no file")
    if path.resolve().parent != folder.resolve():
        raise ValueError(f"its {name} is a link to somewhere else: put the file itself there")


def _classes(given: Any) -> tuple[str, ...]:
    names = tuple(given) if isinstance(given, list) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("its classes are no list of names")
    if len(set(names)) < len(names):
        raise ValueError("it names a class twice")
    "".join(names).encode()  # half a surrogate pair is a name that no file can hold
    return names


def check_replaceable(folder: Path) -> None:
    """Raise AmpmixError unless nothing would be lost with `folder` but one of our models."""
    if folder.exists() and not (folder.is_dir() and _only_a_model(folder)):
        raise AmpmixError(f"{folder} holds something else than a model: give another name")


def _only_a_model(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return names <= FILES and names != {CARD}


def _check_unaltered(path: Path, saved: str, found: str) -> None:
    if found != saved:
        raise AmpmixError(
            f"{path} was altered after it was saved (its sha256 begins with {found[:12]}, not "
            f"{saved[:12]}): bring back the original, or train the model anew"
        )


def logits_of(
    model: CutModule,
    part: Encoded,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
) -> Tensor:
    """Logits of every text, ``[n, classes]`` on the CPU, without dropout or mixing.

    Texts of like length go together, so that little is computed on padding, as many at once as suit
    the model (``batch_size`` says otherwise). The model is left as it
    is (:func:`in_evaluation`), so that threads may share it.
    """
    model = in_evaluation(model)
    order = np.argsort(part.lengths, kind="stable")
    size, logits = batch_size or model.at_once, []
    with torch.inference_mode():
        for start in range(0, len(order), size):
            ids, mask, _ = part.batch(order[start : start + size])
            outputs = model(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            logits.append(outputs.float().cpu())
    if not logits:
        return torch.empty(0, 0)
    result = torch.cat(logits)
    return torch.empty_like(result).index_copy_(0, torch.from_numpy(order), result)
