"""MixupTrainer's model card names the policy and the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampmix import AMP, NoMixup

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")


@pytest.mark.parametrize(
    ("policy", "site", "said"),
    [
        (AMP(eps=0.1), None, "`amp[eps=0.1]` at site `word`"),
        (AMP(), "bert.encoder.layer.1", "`amp` at site `bert.encoder.layer.1`"),
        (NoMixup(), None, "`none`."),
    ],
)
def test_the_card_names_policy_and_site(
    policy: Any, site: Any, said: str, folders: Any, tmp_path: Path
) -> None:
    from ampmix import MixupTrainer

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folders["bert"])
    arguments = transformers.TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    trainer = MixupTrainer(model, arguments, policy=policy, site=site)
    trainer.create_model_card(model_name="toy")
    card = (tmp_path / "README.md").read_text()
    assert f"## Mixing\n\nTrained by ampmix: {said}" in card and "toy" in card
