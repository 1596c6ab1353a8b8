"""Labels from an exported model without PyTorch and ampmix: onnxruntime, tokenizers, NumPy."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def run(path, texts):
    told = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(Path(path).with_name(told["reader"]["file"])))
    tokenizer.no_padding()
    rows = [read.ids or told["empty"] for read in tokenizer.encode_batch(texts)]
    width = max(map(len, rows))
    ids = np.array([row + [told["padding"]] * (width - len(row)) for row in rows])
    mask = np.arange(width) < np.array([[len(row)] for row in rows])
    session = onnxruntime.InferenceSession(path)
    _, probabilities = session.run(None, {"ids": ids, "mask": mask})
    return [told["classes"][i] for i in probabilities.argmax(1)], probabilities


if __name__ == "__main__":
    if len(sys.argv) == 1:  # nothing given: a small model to show it with
        from ampmix.cli.main import main

        tickets = str(Path(__file__).with_name("support-tickets.csv"))
        main(["train", tickets, "--model", "cnn", "--steps", "80", "--lr", "1e-3", "--out", "m"])
        main(["export", "m", "--onnx", "m.onnx"])
        sys.argv += ["m.onnx", "where is my parcel", "I was charged twice"]
    path, *texts = sys.argv[1:]
    for text, label, row in zip(texts, *run(path, texts), strict=True):
        print(f"{row.max():.2f}  {label}: {text}")
