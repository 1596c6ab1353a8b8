"""MixStep in several processes, in parts of a batch, compiled, in half precision, checkpointed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.checkpoint import checkpoint

import forked
import two_processes as two
from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup
from ampmix.policies.base import Policy
from two_processes import Case

pytest.importorskip("transformers")

# ------------------------------------------------------------------------- two processes


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    return two.start(tmp_path_factory.mktemp("processes"))


def check_gradients(case: Case, results: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Both processes have those of one process, in every step, to 1e-12."""
    own = two.alone(case)
    for result in results:
        found = result[str(case)]
        assert "error" not in found, found["error"]
        torch.testing.assert_close(found["gradients"], own["gradients"], rtol=0, atol=1e-12)
    nonzero = [g.abs().max() > 1e-6 for g in own["gradients"][-1] if g is not None]
    assert sum(nonzero) > len(nonzero) / 2  # there is something to agree on
    return own


@pytest.mark.slow
@pytest.mark.parametrize("case", [*two.DDP, *two.ACCUMULATED], ids=str)
def test_ddp_has_the_gradients_of_one_process(case: Case, results: Any) -> None:
    own = check_gradients(case, results)
    if case.model == "plain":  # the first process's statistics are everybody's
        found = results[0][str(case)]["buffers"]
        torch.testing.assert_close(found, own["buffers"], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", two.SPARE, ids=str)
def test_ddp_finds_parameters_that_no_loss_reaches(case: Case, results: Any) -> None:
    own = check_gradients(case, results)
    assert own["gradients"][0][-1] is None


@pytest.mark.slow
@pytest.mark.parametrize("case", two.FSDP, ids=str)
def test_fsdp2_has_the_gradients_of_one_process(case: Case, results: Any) -> None:
    own = check_gradients(case, results)
    for result in results:
        found = result[str(case)]
        if found.get("state"):  # put together on the first process
            assert list(found["state"]) == list(two.MODELS[case.model]().state_dict())
            torch.testing.assert_close(found["state"], own["state"], rtol=0, atol=1e-12)
        assert found.get("read", case.site != "word")


@pytest.mark.slow
@pytest.mark.parametrize("case", two.UNEQUAL, ids=str)
def test_processes_that_gather_parameters_take_equally_many_passes(
    case: Case, results: Any
) -> None:
    own = check_gradients(case, results)
    assert own["passes"][0] > own["passes"][1]  # alone, they would not
    assert [result[str(case)]["passes"] for result in results] == [own["passes"][0]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("case", two.INSIDE, ids=str)
def test_amp_at_a_branch_inside_a_sharded_module_is_refused(case: Case, results: Any) -> None:
    if case.policy.name != "amp":
        check_gradients(case, results)
        return
    for result in results:
        error = result[str(case)]["error"].splitlines()[-1]
        assert error.startswith("ampmix.errors.AmpmixError: site bert.encoder.layer.0.attention")
        assert "fully_shard smaller modules" in error


class Shell(FullyShardedDataParallel):
    """Its class and its child are all that is looked at; the rest needs an accelerator."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self._fsdp_wrapped_module = module


def test_fsdp1_is_refused_with_the_way_out(tmp_path: Path) -> None:
    model = two.plain()
    model.blocks[2] = Shell(model.blocks[2])
    distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        with pytest.raises(AmpmixError, match="use fully_shard"):
            MixStep(model, Mixup(), "blocks.1")(**two.batch(0))
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
def test_the_example_runs_on_two_processes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    script = str(root / "examples" / "ddp.py")
    source = {"PYTHONPATH": str(root / "src")}
    run = forked.together([sys.executable, script], cwd=tmp_path, env=source)
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    assert float(line.split("%")[0]) < 20  # a tenth are right by chance


def test_parameters_are_called_what_the_model_calls_them() -> None:
    model = two.bert()
    step = MixStep(model, AMP())
    assert [name for name, _ in step.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert dict(step.named_parameters("x")).keys() == dict(model.named_parameters("x")).keys()
    assert list(step.state_dict()) == list(model.state_dict())


# -------------------------------------------------------------- one process, a batch in parts


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def stepped(
    step: Any, model: nn.Module, examples: slice = slice(0, two.B), seed: int = 0, **more: Any
) -> Tensor:
    """The loss of these examples, given lam and pairs; gradients are added to the model's."""
    part, lam, perm = two.rows(examples, seed)
    with two.drawn(lam.to(next(model.parameters()).dtype), perm):
        loss = step(**part, **more).loss
        loss.backward()
    return loss.detach()


@pytest.mark.parametrize("policy", two.POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("items", [False, True], ids=["means", "sums"])
def test_parts_of_a_batch_add_up_to_it(policy: Policy, items: bool) -> None:
    whole, parts = two.bert(), two.bert()
    stepped(MixStep(whole, policy, "word"), whole)
    step = MixStep(parts, policy, "word")
    for start in range(0, two.B, 2):
        part, lam, perm = two.rows(slice(start, start + 2), 0)
        before = gradients_of(parts)
        with two.drawn(lam, perm):
            loss = step(**part, **({"num_items_in_batch": two.B} if items else {})).loss
        torch.testing.assert_close(gradients_of(parts), before, rtol=0, atol=0)  # nothing leaks
        (loss if items else loss / 4).backward()
    torch.testing.assert_close(gradients_of(parts), gradients_of(whole), rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------ half precision


@pytest.mark.slow
@pytest.mark.parametrize("policy", two.POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("site", ["word", "bert.encoder.layer.0", "sent"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.2), (torch.float16, 0.03)])
def test_autocast_is_close_to_float32(
    policy: Policy, site: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Gradients in the norm, relative: bfloat16 has 8 bits, and BERT's layers multiply its error.

    The lam of AMP moves by eps times the gradient's error.
    """
    found = []
    for enabled in (False, True):
        model, seen = two.bert(torch.float32), list[Mixed]()
        step = MixStep(model, policy, site, on_mixed=seen.append)
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            loss = stepped(step, model)
        flat = torch.cat([gradient.flatten() for gradient in gradients_of(model).values()])
        assert flat.isfinite().all()
        assert seen[0].loss.dtype == torch.float32
        found.append((loss, flat, seen[0].lam_adv))
    (loss, flat, lam), (loss_half, flat_half, lam_half) = found
    torch.testing.assert_close(loss_half, loss, rtol=0.01, atol=0)
    assert (flat_half - flat).norm() < tolerance * flat.norm()
    torch.testing.assert_close(lam_half, lam, rtol=0, atol=0.1 * tolerance)


def test_lams_gradient_does_not_depend_on_the_scale_of_the_loss() -> None:
    found = []
    for scale in (1.0, 1024.0):
        model, seen = two.bert(torch.float32), list[Mixed]()
        step = MixStep(model, AMP(eps=0.5), "word", on_mixed=seen.append)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        part, lam, perm = two.rows(slice(0, two.B), 0)
        with two.drawn(lam.float(), perm), torch.autocast("cpu", dtype=torch.float16):
            loss = step(**part).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == scale  # the step was not skipped
        found.append((seen[0].lam_adv, loss.detach(), model.classifier.weight.detach().clone()))
    assert (found[0][0] != lam.float()).any()
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][2], found[1][2], rtol=0, atol=1e-3)
    assert not torch.equal(found[0][2], two.bert(torch.float32).classifier.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_may_be_of_any_precision(dtype: torch.dtype) -> None:
    model, seen = two.bert(dtype), list[Mixed]()
    loss = MixStep(model, AMP(eps=0.5), "word", on_mixed=seen.append)(**two.batch(0)).loss
    loss.backward()
    assert all(gradient.isfinite().all() for gradient in gradients_of(model).values())
    assert seen[0].lam_adv.dtype == torch.promote_types(dtype, torch.float32)
    assert (seen[0].lam_adv != seen[0].lam).any()


# ---------------------------------------------------------------------------- checkpointing


class Checkpointed(nn.Module):
    """`part` is a function, `block` and `last` are modules; each may run again."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.reentrant = reentrant  # None: nothing runs again
        self.embed = nn.EmbeddingBag(two.WORDS, 8)
        self.a, self.b, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, two.CLASSES)
        self.block, self.last = self.layers(), self.layers()

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU())

    def again(self, part: Any, x: Tensor) -> Tensor:
        return (
            part(x) if self.reentrant is None else checkpoint(part, x, use_reentrant=self.reentrant)
        )

    def part(self, x: Tensor) -> Tensor:
        return x + F.dropout(F.gelu(self.a(x)), 0.3, self.training) * torch.tanh(self.b(x))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.again(self.part, self.embed(input_ids))
        return self.head(self.again(self.last, x + self.again(self.block, x)))


def checkpointed(reentrant: bool | None) -> nn.Module:
    torch.manual_seed(0)
    return Checkpointed(reentrant).double().train()


def bert_checkpointed(reentrant: bool | None) -> Any:
    model = two.bert(dropout=0.2)
    if reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return model


LAYER = "bert.encoder.layer"
AGAIN = [(bert_checkpointed, site) for site in ("word", f"{LAYER}.0", f"{LAYER}.1:input", "sent")]
AGAIN += [(checkpointed, site) for site in ("embed", "block", "last", "head:input")]


@pytest.mark.slow
@pytest.mark.parametrize("policy", two.POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize(("make", "site"), AGAIN)
@pytest.mark.filterwarnings("ignore:site block. part of what")
def test_gradients_are_those_without_checkpoints(policy: Policy, make: Any, site: str) -> None:
    """With dropout, whose masks are to be the same when a layer runs again.

    Around the block, what `part` computed reaches the loss in passes of f, too.
    """
    found = []
    for reentrant in (None, False):
        model = make(reentrant)
        step = MixStep(model, policy, site)
        torch.manual_seed(5)
        losses = [stepped(step, model, seed=seed) for seed in range(2)]
        found.append((losses, gradients_of(model)))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "site"),
    [
        (bert_checkpointed, f"{LAYER}.0.attention"),
        (bert_checkpointed, f"{LAYER}.0.intermediate:input"),
        (checkpointed, "a"),  # called by a function that runs again
        (checkpointed, "block.0"),
        (checkpointed, "block:input"),  # what it runs again with is unmixed
    ],
)
def test_a_site_inside_what_runs_again_is_refused(make: Any, site: str) -> None:
    step = MixStep(make(False), Mixup(), site)
    with pytest.raises(AmpmixError, match=rf"site {site} lies inside .* checkpoint"):
        step(**two.batch(0))


@pytest.mark.parametrize("policy", two.POLICIES[1:], ids=lambda policy: policy.name)
@pytest.mark.parametrize(
    ("make", "site"),
    [(bert_checkpointed, "word"), (checkpointed, "embed"), (checkpointed, "block")],
)
def test_reentrant_checkpoints_are_refused(policy: Policy, make: Any, site: str) -> None:
    with pytest.raises(AmpmixError, match="use_reentrant=False"):
        MixStep(make(True), policy, site)(**two.batch(0))


# ---------------------------------------------------------------------------------- freezing


FROZEN = {
    "embeddings": ("bert.embeddings",),
    "half": ("bert.embeddings", f"{LAYER}.0"),
    "all but the head": ("bert",),
    "the head": ("classifier",),
}


@pytest.mark.slow
@pytest.mark.parametrize("policy", two.POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("site", ["word", f"{LAYER}.0", f"{LAYER}.1", "sent"])
@pytest.mark.parametrize("frozen", FROZEN, ids=str)
def test_what_is_not_frozen_gets_the_gradient_it_had(
    policy: Policy, site: str, frozen: str
) -> None:
    model, free = two.bert(), two.bert()
    for part in FROZEN[frozen]:
        model.get_submodule(part).requires_grad_(False)
    steps = MixStep(model, policy, site), MixStep(free, policy, site)
    for seed in range(2):
        torch.testing.assert_close(
            stepped(steps[0], model, seed=seed), stepped(steps[1], free, seed=seed)
        )
    own, all_of_it = gradients_of(model), gradients_of(free)
    assert set(own) == {name for name in all_of_it if not name.startswith(FROZEN[frozen])}
    wanted = {name: all_of_it[name] for name in own}
    torch.testing.assert_close(own, wanted, rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------- compiling


class Reader(nn.Module):
    """Small enough to be compiled often: embeddings, three blocks, the mean over the tokens."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(two.WORDS, 16)
        self.blocks = nn.ModuleList(Residual(dropout) for _ in range(3))
        self.head = nn.Linear(16, two.CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        mask = attention_mask.unsqueeze(-1).to(x.dtype)
        return self.head((x * mask).sum(1) / mask.sum(1))


class Residual(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(16, 16), nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(F.gelu(self.linear(x))))


def reader(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return Reader(dropout).train()


def compiled(how: str, model: Any, policy: Policy, site: str, options: Any, **more: Any) -> Any:
    if how == "step":
        return torch.compile(MixStep(model, policy, site, **more), **options)
    if how == "model":
        return MixStep(torch.compile(model, **options), policy, site, **more)
    model.compile(**options)
    return MixStep(model, policy, site, **more)


EAGER: dict[str, Any] = {"backend": "eager"}
INDUCTOR = {"backend": "inductor", "dynamic": True}  # all lengths are one to it: half as slow


@pytest.fixture
def graphs() -> Iterator[Callable[[], int]]:
    """How many graphs have been compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


@pytest.fixture
def cpp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Something that inductor can compile with, and a place for what it makes."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        pytest.skip(f"no C++ compiler: {error}")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with torch._inductor.config.patch(compile_threads=1):
        yield


LENGTHS = (6, 6, 6, 6, 9, 7, 12, 5)
FIXED = (2, 3, 6, 7)  # of these batches, those that must compile nothing


def check_compiled(
    step: Any, model: nn.Module, plain: Any, own: nn.Module, graphs: Callable[[], int]
) -> int:
    """Losses and gradients as without; nothing compiled for a length that comes again, nor once
    two lengths have come.
    """
    made = []
    for seed, tokens in enumerate(LENGTHS):
        part = two.batch(seed, tokens)
        with torch._dynamo.config.patch(error_on_recompile=seed in FIXED):
            loss = step(**part).loss
            loss.backward()
        wanted = plain(**part).loss
        wanted.backward()
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradients_of(model), gradients_of(own), rtol=1e-4, atol=1e-5)
        made.append(graphs())
    assert made[1] == made[2] == made[3]
    assert made[5] == made[6] == made[7]
    return made[1]


def pair_of_steps(
    how: str, make: Callable[[], Any], policy: Policy, site: str, options: Any
) -> tuple[Any, nn.Module, Any, nn.Module]:
    """A compiled step and one that is not, which draw lam and pairs alike."""
    model, own = make(), make()
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    step = compiled(how, model, policy, site, options, generator=first)
    return step, model, MixStep(own, policy, site, generator=second), own


NONE, MIXUP, AMPED = two.POLICIES
COMPILED = [("model", policy, site) for policy in two.POLICIES for site in ("embed", "blocks.1")]
COMPILED += [("in place", AMPED, site) for site in ("embed", "blocks.1", "head:input")]
COMPILED += [("step", MIXUP, "embed"), ("step", AMPED, "blocks.1"), ("step", NONE, "head:input")]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "policy", "site"), COMPILED)
def test_compiling_changes_nothing_and_ends(
    how: str, policy: Policy, site: str, graphs: Callable[[], int]
) -> None:
    made = check_compiled(*pair_of_steps(how, reader, policy, site, EAGER), graphs)
    # one for the model: blocks that are kept share theirs; the step adds what a policy does
    assert made == 1 if how != "step" else 1 < made <= 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "policy", "site"), [("in place", AMPED, "blocks.1"), ("step", MIXUP, "head:input")]
)
def test_compiling_to_machine_code_changes_nothing(
    how: str, policy: Policy, site: str, graphs: Callable[[], int], cpp: None
) -> None:
    check_compiled(*pair_of_steps(how, reader, policy, site, INDUCTOR), graphs)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(F.gelu(self.first(x)), 0.5, self.training))


def dropping() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return Dropping(), torch.randn(two.B, 8), torch.randint(3, (two.B,))


@pytest.mark.slow
def test_compiled_passes_of_amp_drop_the_same(graphs: Callable[[], int], cpp: None) -> None:
    """At an eps of nothing AMP is Mixup; if its passes drop alike, and only then."""
    losses = []
    for policy in (Mixup(), AMP(eps=1e-7), AMP(eps=1e-7, shared_dropout=False)):
        model, x, y = dropping()
        step = compiled("model", model, policy, "first", INDUCTOR)
        torch.manual_seed(3)
        given = two.drawn(two.coefficients(0).float(), two.PARTNERS)
        with given, torch._functorch.config.patch(donated_buffer=False):
            losses.append([step(x, labels=y).loss.detach() for _ in range(2)])
    mixup, shared, independent = (torch.stack(one) for one in losses)
    torch.testing.assert_close(shared[0], mixup[0], rtol=0, atol=1e-6)
    assert (independent[0] - mixup[0]).abs() > 1e-3
    assert (mixup[0] - mixup[1]).abs() > 1e-3  # dropout is on
    assert graphs() == 1  # three steps, one architecture


@pytest.mark.slow
def test_a_graph_that_cannot_be_gone_back_through_twice_is_said_to_be(
    graphs: Callable[[], int], cpp: None
) -> None:
    model, x, y = dropping()
    model = torch.compile(model)
    MixStep(model, Mixup(), "first")(x, labels=y).loss.backward()  # compiled for once only
    step = MixStep(model, AMP(shared_dropout=False), "first")
    with pytest.raises(AmpmixError, match="leave shared_dropout as it is"):
        step(x, labels=y)


def test_evaluating_compiles_into_one_graph(graphs: Callable[[], int]) -> None:
    step = MixStep(reader(), AMPED, "blocks.1")
    whole = torch.compile(step, backend="eager", fullgraph=True).eval()
    part = two.batch(0)
    del part["labels"]
    torch.testing.assert_close(whole(**part), step.model(**part))
    assert graphs() == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wrapped", "in place", "attached"])
def test_parts_may_be_compiled(how: str, graphs: Callable[[], int]) -> None:
    model, own = reader(), reader()
    blocks = list(model.blocks)
    step, call = MixStep(model, AMPED, "blocks.1"), model
    if how == "wrapped":
        model.blocks[0] = torch.compile(blocks[0], backend="eager")
        model.blocks[2] = torch.compile(blocks[2], backend="eager")
    elif how == "in place":
        for block in blocks:
            block.compile(backend="eager")
    else:
        model.compile(backend="eager")
    kinds = [type(block) for block in model.blocks]
    plain = MixStep(own, AMPED, "blocks.1")
    for seed in range(2):
        with step.attached():
            loss = stepped(call, model, seed=seed)
        torch.testing.assert_close(loss, stepped(plain, own, seed=seed))
    for name, gradient in gradients_of(own).items():
        compiled_name = name
        if how == "wrapped" and not name.startswith(("blocks.1", "embed", "head")):
            compiled_name = name[:9] + "_orig_mod." + name[9:]
        torch.testing.assert_close(gradients_of(model)[compiled_name], gradient)
    assert [type(block) for block in model.blocks] == kinds
    assert [type(block) for block in blocks] == [Residual] * 3
    assert graphs() > 0


def test_compiled_statistics_are_counted_once(graphs: Callable[[], int]) -> None:
    model, own = two.plain(), two.plain()
    step = compiled("model", model, AMPED, "blocks.1", EAGER)
    plain = MixStep(own, AMPED, "blocks.1")
    made = []
    for seed in range(4):
        torch.testing.assert_close(stepped(step, model, seed=seed), stepped(plain, own, seed=seed))
        torch.testing.assert_close(list(model.buffers()), list(own.buffers()))
        made.append(graphs())
    assert own.blocks[2].norm.num_batches_tracked == 4
    assert made[1] == made[3]


@pytest.mark.slow
def test_a_transformer_compiles(graphs: Callable[[], int]) -> None:
    make = partial(two.bert, torch.float32)
    check_compiled(
        *pair_of_steps("in place", make, AMPED, f"{LAYER}.0", {**EAGER, "dynamic": True}), graphs
    )
