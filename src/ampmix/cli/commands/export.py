"""Export MODEL to ONNX, for programs without PyTorch."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix export` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument("--onnx", required=True, metavar="FILE", help="ONNX file to write")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix.models.classifier import Classifier
    from ampmix.models.export import export_onnx

    written, *beside = export_onnx(Classifier.load(arguments.model), arguments.onnx)
    output = arguments.output
    names = ", ".join(map(str, beside))
    output.remark(f"Written: {written}; {names} (classes, how texts are read).")
    output.document({"onnx": written, "beside": beside})
    return 0
