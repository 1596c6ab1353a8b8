"""Models that PEFT has put adapters into, at their short site names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ampmix import AMP, Mixed, MixStep, Mixup

peft = pytest.importorskip("peft")
pytest.importorskip("transformers")

import tiny_families as tiny  # noqa: E402


def adapted(config: Any) -> Any:
    torch.manual_seed(0)
    return peft.get_peft_model(tiny.build("Bert"), config).train()


LORA = {"task_type": "SEQ_CLS", "r": 2, "lora_alpha": 4}


@pytest.mark.parametrize("site", ["word", "sent"])
def test_short_names_are_those_of_the_model_within(site: str) -> None:
    model, seen = adapted(peft.LoraConfig(**LORA)), list[Mixed]()
    inputs = tiny.batch(model)
    step = MixStep(model, AMP(eps=0.1), site=site, on_mixed=seen.append)
    step(**inputs).loss.backward()
    assert bool((seen[0].lam < 1).any())
    grads = [p.grad for n, p in model.named_parameters() if "lora_B" in n and p.requires_grad]
    assert all(grad is not None and bool(grad.abs().sum() > 0) for grad in grads)


@pytest.mark.parametrize("kind", [peft.PrefixTuningConfig, peft.PromptTuningConfig])
@pytest.mark.parametrize("site", ["word", "sent", "base_model.bert.encoder.layer.0"])
def test_prefixes_and_prompts_train_beside_mixed_texts(kind: Any, site: str) -> None:
    model, seen = adapted(kind(task_type="SEQ_CLS", num_virtual_tokens=3)), list[Mixed]()
    inputs = tiny.batch(model)
    MixStep(model, Mixup(), site=site, on_mixed=seen.append)(**inputs).loss.backward()
    assert seen[0].loss.isfinite().all()
    learned = [p.grad for n, p in model.named_parameters() if "prompt_encoder" in n]
    if site == "word":
        assert any(grad is not None and bool(grad.abs().sum() > 0) for grad in learned)
