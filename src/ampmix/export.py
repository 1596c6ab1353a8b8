"""A classifier as an ONNX file, for programs that have no PyTorch."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ampmix.classifier import Classifier
from ampmix.errors import AmpmixError

OPSET = 18
INPUTS, OUTPUTS = ("ids", "mask"), ("logits", "probabilities")
EXAMPLE_SHAPE = (3, 11)  # of the traced batch: neither 0 nor 1 nor equal, which tracing might keep


class _WithProbabilities(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(ids, mask)
        return logits, logits.softmax(1)


def export_onnx(classifier: Classifier, path: str | Path) -> Path:
    """Write `path` and, beside it, what turns texts into its input; returns the latter's path.

    The graph takes ``ids`` (int64 ``[batch, length]``, padded on the right) and ``mask`` (bool,
    true at tokens) of any batch and length, and gives ``logits`` and ``probabilities`` (float32
    ``[batch, classes]``). The JSON file beside holds the classes, in the order of the columns, the
    id that pads, and how texts are read: tokenizer, cut-off and vocabulary.

    Raises AmpmixError without the packages of the extra ``onnx``, or if `path` has no folder.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise AmpmixError(f"cannot write {str(path)!r}: there is no folder {path.parent}")
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise AmpmixError(f"ONNX needs {error.name}: pip install 'ampmix[onnx]'") from None
    beside = path.with_suffix(".json")
    if beside == path:
        raise AmpmixError(f"{str(path)!r} is where the vocabulary goes: end the name in .onnx")
    reading = {
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "classes": classifier.classes,
        "padding": classifier.reader.encode([""], [0]).padding,
        "reader": classifier.reader.as_json(),
    }
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".onnx-") as folder:
        draft = Path(folder) / "model.onnx"
        _export(classifier, draft)
        for value in onnx.load(draft).graph.input:
            if not all(dimension.dim_param for dimension in value.type.tensor_type.shape.dim):
                raise AmpmixError(
                    f"{classifier.backbone.name} cannot be exported: tracing fixed the shape of "
                    f"{value.name}; another version of torch may help"
                )
        (Path(folder) / "reading.json").write_text(
            json.dumps(reading, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        (Path(folder) / "reading.json").replace(beside)
        draft.replace(path)
    return beside


def _export(classifier: Classifier, path: Path) -> None:
    """Trace the model on an example and write it, weights and all, into one file."""
    model, training = classifier.model, classifier.model.training
    ids = torch.ones(EXAMPLE_SHAPE, dtype=torch.int64)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    shape = {0: batch, 1: length}
    try:
        with _quiet():
            torch.onnx.export(
                _WithProbabilities(model.eval().exportable()).eval(),
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
    finally:
        model.train(training)


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
