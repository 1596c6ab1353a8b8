"""Seeds as an axis: a seed in a stack is that seed alone."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ampmix._support.components import spec
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.policies.nonlinear import NonlinearMixup
from ampmix.studies.executors import InProcess, Pool, Task, in_blocks
from ampmix.studies.file import read
from ampmix.studies.plan import Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import build
from ampmix.training.config import TrainConfig
from ampmix.training.fit import _recorded, fit
from ampmix.training.replicas import automatic, fit_many, fitting, footprint
from ampmix.training.stack import Stack, unstackable
from ampmix.training.training_run import Diverged, Fit, TrainingRun
from every_backbone import every_backbone
from every_policy import at_sites, every_policy_and_site
from small_studies import STUDY, contents, write_study, write_texts
from tiny_encoders import TINY

COMMON = "a cat dog rose oak runs grows lies grey red ? apple train music".split()  # noqa: SIM905
CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 3), feature_maps=4)
LSTM = BiLSTMAttention(embedding_dim=6, hidden_size=8)
FROZEN = Encoder(model=TINY, freeze=True, dropout=0.3)
CONFIG = TrainConfig(steps=200, batch_size=11, lr=0.01, eval_every=25, clip=1.0, selection="last")
SEEDS = (3, 0, 7)
POLICIES: list[Any] = [
    NoMixup(),
    Mixup(),
    Mixup(alpha=0.4, site="sent"),
    AMP(),
    AMP(site="sent"),
    AMP(min_op=False),
    AMP(eps=0.1),
    AMP(site="embedding", shared_dropout=False),
    AMP(eps=3.0, direction="sign"),
]


def split(texts: int, own: int, seed: int) -> Split:
    """Texts of three classes with up to 14 words, `own` of them words that no other split has."""
    draw = random.Random(seed)
    words = [*COMMON, *(f"s{seed}n{i}" for i in range(own))]
    rows = [" ".join(draw.choices(words, k=draw.randint(1, 14))) for _ in range(texts + 12)]
    labels = [draw.randrange(3) if draw.random() < 0.3 else len(row) % 3 for row in rows]
    labels[:3] = 0, 1, 2
    train, test = Examples(rows[:texts], labels[:texts]), Examples(rows[texts:], labels[texts:])
    return split_holdout(TextDataset("made up", ("x", "y", "z"), train=train, test=test), seed)


TOLERANCE = 1e-11
SPLITS = [split(texts, own, seed) for texts, own, seed in ((38, 9, 3), (28, 30, 0), (31, 2, 7))]
"""Last batches of 1, 3 and 6 texts, after 3, 2 and 2 full ones."""


def test_the_splits_are_as_unequal_as_they_are_said_to_be() -> None:
    assert [divmod(len(split.train), CONFIG.batch_size) for split in SPLITS] == [
        (3, 1),
        (2, 3),
        (2, 6),
    ]
    assert len({len(CNN.reader(split.train.texts, "words", 512)) for split in SPLITS}) == 3


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is built is float64."""
    for cls in (TextCNN, BiLSTMAttention, Encoder):

        def build(*args: Any, real: Any = cls.build) -> Any:
            return real(*args).double()

        monkeypatch.setattr(cls, "build", build)


def both(backbone: Any, policy: Any, config: TrainConfig) -> tuple[list[Any], list[Any]]:
    """The splits' results side by side and alone."""
    together = fit_many(backbone, policy, SPLITS, config, SEEDS)
    alone: list[Any] = []
    for part, seed in zip(SPLITS, SEEDS, strict=True):
        try:
            alone.append(fit(backbone, policy, part, config, seed))
        except Diverged as error:
            alone.append(error)
    return together, alone


def difference(one: Fit, other: Fit) -> float:
    """The largest difference between two models' trained weights."""
    pairs = zip(
        one.classifier.model.named_parameters(),
        other.classifier.model.named_parameters(),
        strict=True,
    )
    return max((p - q).abs().max().item() for (_, p), (_, q) in pairs)


def assert_equal(together: Fit, alone: Fit, tolerance: float) -> None:
    assert difference(together, alone) <= tolerance
    assert together.seed == alone.seed
    assert together.stopped == alone.stopped
    assert together.test_reads == alone.test_reads
    assert together.test_wrong.tolist() == alone.test_wrong.tolist()
    assert together.classifier.reader.as_json() == alone.classifier.reader.as_json()
    steps = [reading.step for reading in alone.curve]
    assert [reading.step for reading in together.curve] == steps
    mine, theirs = np.array(together.curve), np.array(alone.curve)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)
    assert mine[:, 2].tolist() == theirs[:, 2].tolist()
    assert (together.perturbation is None) == (alone.perturbation is None)
    if alone.perturbation is not None:
        assert together.perturbation["examples"] == alone.perturbation["examples"]
        if (
            tolerance <= TOLERANCE
        ):  # else a number may have come to lie on the other side of an edge
            assert together.perturbation == alone.perturbation


OTHERS = [
    at_site
    for policy in every_policy_and_site()
    if type(policy) not in map(type, POLICIES) and not unstackable(CNN, policy)
    for at_site in at_sites(policy)
]
OTHER = replace(SPLITS[0], classes=("x", "y", "zz"))
LONG, BRIEF = CONFIG, replace(CONFIG, steps=30, eval_every=10)
CASES = [
    *((CNN, policy, LONG) for policy in POLICIES[:6]),
    *((CNN, policy, BRIEF) for policy in POLICIES[6:]),
    (LSTM, AMP(), LONG),
    *((LSTM, policy, BRIEF) for policy in POLICIES[:8:3]),
    (FROZEN, AMP(site="sent"), LONG),
    (FROZEN, NoMixup(), BRIEF),
    (FROZEN, Mixup(site="sent"), BRIEF),
    (replace(CNN, tuned=False), AMP(), BRIEF),
    *((CNN, policy, BRIEF) for policy in OTHERS),
    *((LSTM, policy, BRIEF) for policy in OTHERS if policy.mixing_site == "word"),
    *((FROZEN, policy, BRIEF) for policy in OTHERS if policy.mixing_site == "sent"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("backbone", "policy", "config"),
    [pytest.param(b, p, c, id=f"{b.name}-{spec(p)}-{c.steps}") for b, p, c in CASES],
    indirect=["backbone"],
)
def test_every_seed_is_as_it_is_alone(backbone: Any, policy: Any, config: TrainConfig) -> None:
    for together, alone in zip(*both(backbone, policy, config), strict=True):
        assert_equal(together, alone, TOLERANCE)


STACKABLE = [b for b in (*every_backbone(), FROZEN) if b.stacking is not None]


@pytest.mark.parametrize("backbone", STACKABLE, ids=lambda b: b.name, indirect=True)
def test_what_is_stacked_are_the_weights_that_train(backbone: Any) -> None:
    """Of every backbone that can be: a weight left out would stay as it began, without a word."""
    names = set(backbone.stacking.weights)
    module = backbone.build(
        backbone.reader(SPLITS[0].train.texts, "words", 512), 3, torch.Generator()
    )
    trained = {name for name, weight in module.named_parameters() if weight.requires_grad}
    assert trained <= names <= {*dict(module.named_parameters())}


@pytest.mark.parametrize(("splits", "seeds"), [(SPLITS, (1, 2)), ([SPLITS[0], OTHER], (1, 2))])
def test_splits_that_do_not_go_together_are_refused(
    splits: list[Split], seeds: tuple[int, ...]
) -> None:
    with pytest.raises(AmpmixError, match="give each split a seed, and splits of the same classes"):
        fit_many(CNN, AMP(), splits, BRIEF, seeds)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "changes",
    [
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"label_smoothing": 0.2, "schedule": "linear", "warmup": 0.2, "clip": 0.0},
        {"optimizer": "adamw", "weight_decay": 0.1, "selection": "best_dev", "batch_size": 8},
        {"max_length": 3},
    ],
    ids=str,
)
def test_with_whatever_settings(changes: dict[str, Any]) -> None:
    for together, alone in zip(*both(CNN, AMP(), replace(BRIEF, **changes)), strict=True):
        assert_equal(together, alone, TOLERANCE)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("policy", [AMP(), AMP(eps=3.0, direction="sign")], ids=spec)
def test_deciding_on_the_device_decides_alike(policy: AMP, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where nobody waits to see whether the pass at lam must be repeated."""
    decided: list[bool] = []

    def decides_on_device(lam: torch.Tensor) -> bool:
        decided.append(lam.dim() > 1)
        return decided[-1]

    monkeypatch.setattr("ampmix.policies.amp.decides_on_device", decides_on_device)
    for together, alone in zip(*both(CNN, policy, BRIEF), strict=True):
        assert_equal(together, alone, TOLERANCE)
    assert sum(decided) == BRIEF.steps


WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "equal")
"""Operations for whose result a program must wait that has its tensors on a GPU."""


class Watched(TorchDispatchMode):
    """Notes operations for which the program would have to wait, also those of backward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITING:
            self.waited.append(str(func))
        return func(*args, **(kwargs or {}))


WAITLESS = [*((CNN, policy) for policy in POLICIES), (LSTM, AMP()), (FROZEN, AMP(site="sent"))]


@pytest.mark.parametrize(
    ("backbone", "policy"),
    [pytest.param(b, p, id=f"{b.name}-{spec(p)}") for b, p in WAITLESS],
    indirect=["backbone"],
)
def test_no_step_waits_for_the_device(
    backbone: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampmix.policies.amp.decides_on_device", lambda lam: lam.dim() > 1)
    config = replace(BRIEF, steps=4, class_weights="balanced")
    with Watched() as watched:
        torch.ones(1).item()
    assert watched.waited  # it notices
    cpu = torch.device("cpu")
    runs = [
        TrainingRun(backbone, policy, part, config, seed, cpu)
        for part, seed in zip(SPLITS, SEEDS, strict=True)
    ]
    stack = Stack(runs, policy, config, cpu)
    with Watched() as watched:
        for done, batch in enumerate(stack.batches.upcoming(config.steps)):
            stack.step(batch, done)
    assert not watched.waited


@pytest.mark.slow
def test_in_single_precision_they_differ_as_roundings_do() -> None:
    """Two runs whose sums are taken in another order differ by as much (decision 13)."""
    for together, alone in zip(*both(CNN, AMP(), CONFIG), strict=True):
        assert 0 < difference(together, alone) < 1e-3
        assert_equal(together, alone, 1e-3)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_one_that_diverges_leaves_the_others_alone(
    clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second split has a word whose vector is NaN, which some batch comes upon."""
    real = TextCNN.build

    def build(self: TextCNN, reader: Any, *rest: Any) -> Any:
        model = real(self, reader, *rest)
        if "s0n20" in reader.vocabulary.words:
            model.embedding.data[reader.vocabulary.encode(["s0n20"])] = float("nan")
        return model

    monkeypatch.setattr(TextCNN, "build", build)
    together, alone = both(CNN, AMP(), replace(BRIEF, clip=clip))
    assert isinstance(together[1], Diverged)
    assert isinstance(alone[1], Diverged)
    assert str(together[1]) == str(alone[1])
    assert "at step 1:" not in str(alone[1])
    for i in (0, 2):
        assert_equal(together[i], alone[i], TOLERANCE)


@pytest.mark.usefixtures("double")
def test_each_ends_when_it_has_trained_enough() -> None:
    config = replace(CONFIG, eval_every=3, patience=2, selection="best_dev")
    told: list[tuple[int, int]] = []
    together, alone = both(CNN, AMP(), config)
    again = fit_many(
        CNN, AMP(), SPLITS, config, SEEDS, on_step=lambda index, step: told.append((index, step))
    )
    assert len({fitted.stopped for fitted in alone}) == 3
    for i in range(3):
        assert_equal(together[i], alone[i], TOLERANCE)
        assert difference(together[i], again[i]) == 0  # type: ignore[arg-type]
        assert [step for index, step in told if index == i] == [*range(1, alone[i].stopped + 1)]


def test_what_cannot_be_stacked_trains_one_by_one() -> None:
    policy, config = NonlinearMixup(), replace(BRIEF, steps=6, eval_every=3)
    assert "policy nonlinear" in unstackable(CNN, policy)
    assert "backbone encoder" in unstackable(replace(FROZEN, freeze=False, train_layers=1), AMP())
    for together, alone in zip(*both(CNN, policy, config), strict=True):
        assert_equal(together, alone, 0.0)


def test_a_trained_model_is_its_own() -> None:
    """Its weights are no views of the stack, whose memory is gone when the models are left."""
    for fitted in fit_many(CNN, AMP(), SPLITS, replace(BRIEF, steps=3), SEEDS):
        assert isinstance(fitted, Fit)
        for weight in fitted.classifier.model.parameters():
            assert weight.untyped_storage().nbytes() == weight.nbytes


def test_a_seed_takes_memory_for_its_weights_and_its_batch() -> None:
    """Four times the weights; a batch of twice the texts takes nearly twice the rest."""
    split = SPLITS[0]
    small, large = (
        footprint(CNN, AMP(), split, replace(BRIEF, batch_size=size)) for size in (8, 16)
    )
    model = CNN.build(CNN.reader(split.train.texts, "words", 512), 3, torch.Generator())
    weights = 4 * sum(weight.nbytes for weight in model.parameters())
    assert weights < small < large
    assert (large - weights) / (small - weights) == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize(
    ("free", "footprints", "most", "expected"),
    [(1000, [10, 50], 99, 10), (1000, [50], 3, 3), (10, [50], 3, 1), (100, [50], 9, 1)],
)
def test_how_many_fit(free: int, footprints: list[int], most: int, expected: int) -> None:
    assert fitting(free, footprints, most) == expected


def test_on_a_cpu_one_is_best() -> None:
    assert automatic(CNN, [AMP()], SPLITS[0], CONFIG, 10) == 1


STUDY_OF_FOUR = STUDY.replace("seeds = 2", "seeds = 4").replace(
    '["none", "mixup"]', '["none", "amp", "nonlinear"]'
)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Records of the same runs with the same fields, and numbers that differ by rounding."""
    assert one.keys() == other.keys()
    for name, record in one.items():
        mine, theirs = record["result"], other[name]["result"]
        assert record["specification"] == other[name]["specification"]
        assert mine.keys() == theirs.keys()
        assert record["provenance"].keys() == other[name]["provenance"].keys()
        for key in mine.keys() - {"curve", "dev_loss", "perturbation"}:
            assert mine[key] == theirs[key]
        curves = [
            [list(reading.values()) for reading in r.get("curve", [])] for r in (mine, theirs)
        ]
        np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_a_study_in_stacks_makes_the_records_of_single_runs(tmp_path: Path) -> None:
    study = build(read(write_study(tmp_path, STUDY_OF_FOUR)))
    run_study(study, tmp_path / "one", InProcess, Watchers([]))
    begun: list[Run] = []

    class Watching(Watchers):
        def on_start(self, task: Task) -> None:
            begun.append(task.run)
            assert len(list((tmp_path / "three" / "locks").glob("*.lock"))) <= 3

    three = partial(InProcess, replicas=[3])
    outcome = run_study(study, tmp_path / "three", three, Watching([]), [3])
    same(contents(tmp_path / "three"), contents(tmp_path / "one"))
    assert outcome.trained == len(begun) == 16
    assert begun[3:6] == [Run("none", 0), Run("none", 1), Run("none", 2)]
    assert not list((tmp_path / "three" / "locks").glob("*.lock"))


def test_compare_in_stacks_makes_the_records_of_single_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = build(read(write_study(tmp_path, STUDY_OF_FOUR)))
    run_study(study, tmp_path / "one", InProcess, Watchers([]))
    given = "--policies none,amp,nonlinear --seeds 4 --steps 4 --eval-every 2 --lr 0.01 --workers 1"
    given += " --backbone cnn[embedding_dim=8,feature_maps=4] --replicas 3 --out"
    texts, out = str(tmp_path / "films.csv"), str(tmp_path / "three")
    assert main(["compare", texts, *given.split(), out]) == 0
    same(contents(tmp_path / "three"), contents(tmp_path / "one"))
    assert "nonlinear has parameters of its own: its seeds train one by one" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_replicas_that_are_no_number_are_refused(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(write_texts(tmp_path)), f"--replicas={given}"]) != 0
    assert f"replicas is '{given}'" in capsys.readouterr().err


def test_a_killed_worker_costs_its_block_which_is_begun_anew(tmp_path: Path) -> None:
    study = build(read(write_study(tmp_path, STUDY_OF_FOUR.replace("steps = 4", "steps = 60"))))
    pool: list[Pool] = []
    lost: list[Run] = []

    class Killer(Watchers):
        def on_step(self, task: Task, step: int) -> None:
            if task.run.policy == "amp" and not lost:
                worker = pool[0]._workers[0]
                if worker is not None and task in worker.tasks:
                    worker.process.kill()

        def on_lost(self, task: Task) -> None:
            lost.append(task.run)

    def opened(plans: Any, models: Any, on_step: Any) -> Pool:
        pool.append(Pool(plans, models, on_step, 1, replicas=[3]))
        return pool[0]

    outcome = run_study(study, tmp_path / "out", opened, Killer([]), [3])
    assert sorted(lost) == [Run("amp", 0), Run("amp", 1), Run("amp", 2)]
    assert len(outcome.records) == outcome.trained == 16
    assert not outcome.errors


RUNS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 6)), unique=True
).map(lambda found: [Task(plan, Run(policy, seed)) for plan, policy, seed in found])


@given(RUNS, st.lists(st.integers(1, 4), min_size=3, max_size=3))
def test_blocks_hold_all_tasks_and_only_like_ones(tasks: list[Task], replicas: list[int]) -> None:
    ordered = in_blocks(tasks, replicas)
    assert sorted(ordered) == sorted(tasks)
    if max(replicas) == 1:
        assert ordered == tasks
    for kind in {(task.plan, task.run.policy) for task in tasks}:
        places = [i for i, t in enumerate(ordered) if (t.plan, t.run.policy) == kind]
        size = replicas[kind[0]]
        for start in range(0, len(places), size):
            block = places[start : start + size]
            assert block == [*range(block[0], block[0] + len(block))]
        own = [task for task in tasks if (task.plan, task.run.policy) == kind]
        assert [ordered[i] for i in places] == own


# ------------------------------------------------------------------ one model alone on a GPU


@pytest.mark.parametrize("policy", [NoMixup(), AMP(eps=0.1, site="sent")], ids=spec)
@pytest.mark.parametrize("backbone", [CNN, LSTM, FROZEN], ids=lambda b: b.name, indirect=True)
def test_one_model_trained_as_a_stack_is_the_model(
    backbone: Any, policy: Any, double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def trained() -> Fit:
        told.append(([], []))
        steps, readings = told[-1]
        tell = {"on_step": steps.append, "on_reading": readings.append}
        return fit(backbone, policy, SPLITS[1], BRIEF, 3, **tell)  # type: ignore[arg-type]

    alone = trained()
    monkeypatch.setattr("ampmix.training.fit._recorded", lambda *_: True)
    assert_equal(trained(), alone, TOLERANCE)
    (steps, readings), (own_steps, own_readings) = told
    assert own_steps == steps == list(range(1, BRIEF.steps + 1))
    np.testing.assert_allclose(own_readings, readings, rtol=0, atol=TOLERANCE)


def test_a_stack_of_one_that_diverges_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ampmix.training.fit._recorded", lambda *_: True)
    with pytest.raises(Diverged, match="step"):
        fit(CNN, NoMixup(), SPLITS[0], replace(BRIEF, lr=1e30, clip=0.0), 0)


def test_steps_are_recorded_on_a_gpu_where_that_is_known_to_pay(
    folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = folders["bert"]

    def recorded(backbone: Any, policy: Any) -> bool:
        return _recorded(backbone, policy, SPLITS[0], CONFIG)

    assert not recorded(CNN, AMP())
    monkeypatch.setattr("ampmix.training.fit.device_of", lambda _: torch.device("cuda"))
    assert recorded(CNN, AMP()) and recorded(LSTM, NoMixup())
    assert not recorded(CNN, NonlinearMixup()), "it has weights of its own"
    assert not recorded(replace(FROZEN, freeze=False, model=bert), AMP()), "not measured"
