"""A classifier as an ONNX file, for programs that have no PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._support.files import drafting, place_files, sha256_of
from ampmix._torch.evaluation import in_evaluation
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier

OPSET = 18
INPUTS, OUTPUTS = ("ids", "mask"), ("logits", "probabilities")
LARGEST = 2**31 - 2**24  # bytes of weights: what a protobuf message holds, less room for the graph
EXAMPLE_SHAPE = (3, 11)  # of the traced batch: neither 0 nor 1 nor equal, which tracing might keep


class _WithProbabilities(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(ids, mask)
        return logits, logits.softmax(1)


def export_onnx(classifier: Classifier, path: str | Path) -> tuple[Path, ...]:
    """Write `path` and, beside it, what turns texts into its input; returns all paths written.

    The graph takes ``ids`` (int64 ``[batch, length]``, padded on the right) and ``mask`` (bool,
    true at tokens) of any batch and length, and gives ``logits`` and ``probabilities`` (float32
    ``[batch, classes]``).

    A JSON file beside, the second path, holds the ``classes``, in the order of the columns, the id
    that pads (``padding``), the ids of a text without words (``empty``), and how texts are read
    (``reader``): of words tokenizer, cut-off and vocabulary, where the vocabulary's first word has
    id 2 and unknown words have 1. Its ``file``, the third path, is one for the library
    ``tokenizers``: ``Tokenizer.from_file(...).encode_batch(texts)`` gives ids and attention masks
    as the graph takes them, cut and padded; only a text without words has none.
    ``examples/run_onnx.py`` shows it. Of pairs of words (``tfidf-logreg``), and where unknown words
    are left out, there is no such file.

    Each file is there whole or not at all, the JSON file first, with the SHA-256 of the others
    (``files``): where an export over an earlier one was cut short, they do not match.

    Raises AmpmixError without the packages of the extra ``onnx``, if `path` has no folder, or for a
    model too large for one file.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise AmpmixError(f"cannot write {str(path)!r}: there is no folder {path.parent}")
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise AmpmixError(f"ONNX needs {error.name}: pip install 'ampmix[onnx]'") from None
    size = sum(part.nbytes for part in classifier.model.state_dict().values())
    if size > LARGEST:
        raise AmpmixError(
            f"{classifier.backbone.name} has {size / 2**30:.1f} GiB of weights, and an ONNX file "
            "holds 2: train a smaller model"
        )
    beside = path.with_suffix(".json")
    if beside == path:
        raise AmpmixError(f"{str(path)!r} is where the vocabulary goes: end the name in .onnx")
    with drafting(path.absolute().parent) as folder:
        draft = folder / path.name
        _export(classifier, draft)
        for value in onnx.load(draft).graph.input:
            if not all(dimension.dim_param for dimension in value.type.tensor_type.shape.dim):
                raise AmpmixError(
                    f"{classifier.backbone.name} cannot be exported: tracing fixed the shape of "
                    f"{value.name}; another version of torch may help"
                )
        reader, files = classifier.reader.exported(path.stem)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
        listed = {name: sha256_of(folder / name) for name in (path.name, *files)}
        told = {**_reading(classifier), "reader": reader, "files": listed}
        text = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
        (folder / beside.name).write_text(text, encoding="utf-8")
        place_files(folder, (beside.name, *files, path.name), path.absolute().parent)
    return (path, beside, *(path.with_name(name) for name in files))


def _reading(classifier: Classifier) -> dict[str, Any]:
    """Return what other programs need to turn texts into ids and logits into classes."""
    nothing = classifier.reader.encode([""])
    return {
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "classes": classifier.classes,
        "padding": nothing.padding,
        "empty": nothing.tokens.tolist(),
    }


def _export(classifier: Classifier, path: Path) -> None:
    """Trace the model on an example and write it, weights and all, into one file."""
    model = in_evaluation(classifier.model)
    ids = torch.ones(EXAMPLE_SHAPE, dtype=torch.int64)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    shape = {0: batch, 1: length}
    try:
        with _quiet():
            torch.onnx.export(
                _WithProbabilities(model.exportable()).eval(),
                (ids, ids.bool()),
                path,
                input_names=INPUTS,
                output_names=OUTPUTS,
                dynamic_shapes=dict.fromkeys(INPUTS, shape),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise AmpmixError(f"{classifier.backbone.name} cannot be exported: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what is not installed and of its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
