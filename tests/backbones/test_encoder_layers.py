"""Layers of encoders: mixing between them, and training the upper ones on what the lower keep."""

from __future__ import annotations

import argparse
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix._support.components import parse, parse_list, spec
from ampmix.backbones.encoder import Encoder, MiniLM
from ampmix.backbones.encoder_cache import Cache
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.backbones.linear_start import C, linear_head
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.commands import compare
from ampmix.cli.main import main
from ampmix.data.dataset import TextDataset
from ampmix.data.splits import split_fold
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.models.loss_path import loss_paths
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.policies.nonlinear import NonlinearMixup
from ampmix.studies import DEFAULT_POLICIES
from ampmix.studies.plan import Plan
from ampmix.training.checks import sited
from ampmix.training.config import TrainConfig, settings
from ampmix.training.fit import fit
from built_encoders import CLASSES, LABELS, TEXTS, batch, built, rng, split
from tiny_encoders import LAYERED, PADDED_BY_1

THREADS = 16
every_kind = pytest.mark.parametrize("kind", LAYERED)
every_pooling = pytest.mark.parametrize("pooling", ["head", "mean"])
BERT = [("deep bert", pooling, at) for pooling in ("head", "mean") for at in (1, 2, 3)]
OTHERS = [(kind, ("head", "mean")[i % 2], 1 + i % 3) for i, kind in enumerate(LAYERED)]
every_place = pytest.mark.parametrize(("kind", "pooling", "at"), sorted({*BERT, *OTHERS}))
"""All of one architecture, and one of each."""


def padded(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    return batch(padding=int(kind in PADDED_BY_1))


def layers_of(model: EncoderModule) -> Any:
    """The list of layers, by its name in transformers."""
    body = getattr(model.body, model.body.base_model_prefix, model.body)
    inner = getattr(body, "encoder", getattr(body, "transformer", body))
    return getattr(inner, "layer", None) or inner.layers


def first_of(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def whole_features(model: EncoderModule, ids: Tensor, mask: Tensor) -> Tensor:
    """The input of the last layer by one call of transformers' own model: every layer whole."""
    words = model.body.get_input_embeddings()(ids)
    made = model.body(inputs_embeds=words, attention_mask=mask.long())
    if model.config.pooled == "head":
        return made.logits  # type: ignore[no-any-return]
    tokens = zip(made.last_hidden_state, mask, strict=True)
    return torch.stack([states[own].mean(0) for states, own in tokens])


def hooked(model: EncoderModule, ids: Tensor, mask: Tensor, at: int, change: Any) -> Tensor:
    """Logits of a whole pass in which a hook changes the hidden states that layer `at` gives."""

    def hook(_: Any, __: Any, output: Any) -> Any:
        new = change(first_of(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = layers_of(model)[at - 1].register_forward_hook(hook)
    try:
        return model.output(whole_features(model, ids, mask))  # type: ignore[no-any-return]
    finally:
        handle.remove()


# --- sites -----------------------------------------------------------------------------------


@pytest.mark.slow
@every_kind
@every_pooling
@pytest.mark.parametrize("training", [True, False])
def test_f_of_g_is_forward_at_every_layer(
    kind: str, pooling: str, training: bool, folders: dict[str, str]
) -> None:
    model = built(folders[kind], pooling=pooling).train(training)
    ids, mask, _ = padded(kind)
    before = torch.get_rng_state()
    f, g = model.cut(ids, mask, "sent", generator=rng(3))
    expected = f(*g)
    assert model.config.all_sites[2:-1] == ("layer.1", "layer.2", "layer.3")
    for site in model.config.all_sites:
        f, g = model.cut(ids, mask, site, generator=rng(3))
        torch.testing.assert_close(f(*g), expected, rtol=0, atol=1e-12)
        assert torch.equal(f(*g), f(*g)), "f is a function"
    if training:
        new = f.redrawn()  # type: ignore[attr-defined]
        assert not torch.equal(new(*g), f(*g))
    assert torch.equal(torch.get_rng_state(), before)


@every_kind
def test_dropout_above_a_layer_is_drawn_anew_where_it_is_asked_for(
    kind: str, folders: dict[str, str]
) -> None:
    model = built(folders[kind], dropout=0.0).train()
    for layer in layers_of(model):
        for part in layer.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.3
    ids, mask, _ = padded(kind)
    f, g = model.cut(ids, mask, "layer.2", generator=rng(3))
    new = f.redrawn()  # type: ignore[attr-defined]
    assert not torch.equal(new(*g), f(*g)) and torch.equal(new(*g), new(*g))


@every_place
@pytest.mark.parametrize("policy", [Mixup, AMP])
def test_mixing_at_a_layer_is_that_of_a_hook_in_loss_and_every_gradient(
    kind: str, pooling: str, at: int, policy: Any, folders: dict[str, str]
) -> None:
    model, (ids, mask, y) = built(folders[kind], pooling=pooling), padded(kind)
    rule = policy(site=f"layer.{at}", **({"eps": 0.3} if policy is AMP else {}))
    f, g = model.cut(ids, mask, rule.site)
    mixed = rule(f, g, y, generator=rng(7))
    lam, perm = mixed.lam.double(), mixed.perm

    def loss(weight: Tensor) -> Tensor:
        own: list[Tensor] = []
        hooked(model, ids, mask, at, lambda hidden: own.append(hidden) or hidden)
        hidden = own[0] * mask.unsqueeze(-1)  # padding counts as zero
        by = weight[:, None, None]
        mix = by * hidden + (1 - by) * hidden[perm]
        logits = hooked(model, ids, mask | mask[perm], at, lambda _: mix)
        one, other = (F.cross_entropy(logits, t, reduction="none") for t in (y, y[perm]))
        return lam * one + (1 - lam) * other

    if policy is AMP:
        leaf = lam.clone().requires_grad_()
        slope = torch.autograd.grad(loss(leaf).sum(), leaf)[0].clamp(-1, 1)
        expected_lam = (lam + rule.eps * slope).clamp(0, 1).detach()
        torch.testing.assert_close(mixed.lam_adv.double(), expected_lam, rtol=0, atol=1e-6)
        expected = torch.maximum(loss(lam), loss(mixed.lam_adv.double()))
    else:
        expected = loss(lam)
    torch.testing.assert_close(mixed.loss, expected, rtol=1e-5, atol=1e-7)
    used = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(mixed.loss.mean(), used, allow_unused=True)
    other = torch.autograd.grad(expected.mean(), used, allow_unused=True)
    for one, two in zip(found, other, strict=True):
        if two is None:
            assert one is None
        else:
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_only_what_is_above_the_layer_is_repeated(at: int, folders: dict[str, str]) -> None:
    model, (ids, mask, y) = built(folders["deep bert"]), batch()
    calls: list[int] = []
    for i, layer in enumerate(layers_of(model)):
        part = layer.attention.output  # the layer itself is not called where one token is read
        part.register_forward_hook(lambda *_, i=i: calls.append(i + 1))
    f, g = model.cut(ids, mask, f"layer.{at}")
    f(*g)  # finds the layers and which tokens the head reads, once
    calls.clear()
    f, g = model.cut(ids, mask, f"layer.{at}")
    assert calls == list(range(1, at + 1))
    calls.clear()
    AMP(eps=0.01, site=f"layer.{at}")(f, g, y, generator=rng())
    assert calls == 2 * list(range(at + 1, 4))


def test_threads_do_not_see_each_others_runs(folders: dict[str, str]) -> None:
    """Each finds the layers at once with the others, and runs from a site of its own."""
    ids, mask, _ = batch()
    reference = built(folders["deep bert"])
    model, places = built(folders["deep bert"]), [1 + i % 3 for i in range(THREADS)]
    hidden = {at: reference.cut(ids, mask, f"layer.{at}")[1][0] for at in set(places)}
    expected = reference(ids, mask)
    together = Barrier(THREADS)

    def run(at: int) -> bool:
        together.wait()
        same = []
        with torch.inference_mode():
            for _ in range(5):
                f, g = model.cut(ids, mask, f"layer.{at}")
                same += [torch.equal(g[0], hidden[at]), torch.allclose(f(*g), expected, atol=1e-12)]
        return all(same)

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(run, places))


def test_layers_that_are_not_there_are_refused_with_those_that_are(
    folders: dict[str, str], tmp_path: Path
) -> None:
    folder = folders["deep bert"]
    for site in ("layer.0", "layer.4", "layer.x", "wrd"):
        with pytest.raises(AmpmixError, match="embedding, word, layer.1, layer.2, layer.3, sent"):
            Encoder(model=folder).check_site(site)
    with pytest.raises(AmpmixError, match="unknown site of backbone encoder 'layer.3'.*sent"):
        Encoder(model=folder, freeze=True).check_site("layer.3")
    fitted = fit(Encoder(model=folder), NoMixup(), split(), TrainConfig(steps=1))
    fitted.classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")  # whose folder has another name
    with pytest.raises(AmpmixError, match=r"layer\.1, layer\.2, layer\.3, sent"):
        loaded.model.check_site("layer.9")
    loaded.model.check_site("layer.3")


def test_the_loss_path_of_a_loaded_model_goes_through_its_layers(
    folders: dict[str, str], tmp_path: Path
) -> None:
    fitted = fit(Encoder(model=folders["deep bert"]), NoMixup(), split(), TrainConfig(steps=1))
    fitted.classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    texts, pairs, ends = split().test.texts, np.array([[0, 1], [2, 3]]), np.array([0.0, 1.0])
    found = loss_paths(loaded, texts, split().test.labels, pairs, ends, "layer.2")
    expected = loss_paths(loaded, texts, split().test.labels, pairs, ends, "sent")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


# --- upper layers alone ----------------------------------------------------------------------


@pytest.mark.slow
@every_place
def test_what_the_lower_layers_keep_gives_what_they_would(
    kind: str, pooling: str, at: int, folders: dict[str, str]
) -> None:
    """From memory, one by one or in a batch, as by a whole pass without the option."""
    ids, mask, y = padded(kind)
    whole = built(folders[kind], pooling=pooling, dropout=0.0)
    model = built(folders[kind], pooling=pooling, dropout=0.0, train_layers=at)
    model.load_state_dict(whole.state_dict())
    for part in model.body.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    model.body.apply(without_dropout)
    model.train()
    for i in (2, 0):
        own = int(mask[i].sum())
        model.cut(ids[i : i + 1, :own], mask[i : i + 1, :own])
    assert len(model.encoded) == 2
    expected = whole(ids, mask)
    for site in (None, *model.config.all_sites):
        f, g = model.cut(ids, mask, site)
        torch.testing.assert_close(f(*g), expected, rtol=0, atol=1e-12)
    assert len(model.encoded) == len(ids)
    torch.testing.assert_close(model.eval()(ids, mask), expected, rtol=0, atol=1e-12)
    model.encoded.clear()
    for site in (None, *model.config.all_sites):
        f, g = model.cut(ids, mask, site)
        torch.testing.assert_close(f(*g), expected, rtol=0, atol=1e-12)
    assert not len(model.encoded), "nothing is kept where nothing trains"

    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    f, g = model.train().cut(ids, mask, "sent")
    F.cross_entropy(f(*g), y).backward()  # type: ignore[no-untyped-call]
    F.cross_entropy(expected, y).backward()  # type: ignore[no-untyped-call]
    theirs = dict(whole.named_parameters())
    for name, parameter in model.named_parameters():
        if name in trained and theirs[name].grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=0, atol=1e-12)
        elif name not in trained:
            assert parameter.grad is None
    assert {n.split(".")[0] for n in trained} == {"body", "output"}


def without_dropout(part: Any) -> None:
    """Attention's dropout is a number in some architectures."""
    for name, value in vars(part).items():
        if "drop" in name and isinstance(value, float):
            setattr(part, name, 0.0)


@every_kind
def test_the_upper_layers_train_and_drop_and_the_lower_do_neither(
    kind: str, folders: dict[str, str]
) -> None:
    backbone = Encoder(model=folders[kind], train_layers=2)
    config = TrainConfig(steps=4, batch_size=6, lr=0.01, selection="last")
    fitted = fit(backbone, Mixup(site="layer.2"), split(), config)
    model: Any = fitted.classifier.model
    fresh = backbone.build(fitted.classifier.reader, 3, rng())
    assert isinstance(fresh, EncoderModule)
    now, then = (dict(m.named_parameters()) for m in (model, fresh))
    moved = {name for name, value in now.items() if not torch.equal(value, then[name])}
    trained = {id(p) for layer in list(layers_of(model))[1:] for p in layer.parameters()}
    lowest = {id(p) for p in layers_of(model)[0].parameters()}
    frozen = lowest | {id(model.body.get_input_embeddings().weight)}
    assert not any(id(now[name]) in frozen for name in moved)
    assert {id(now[name]) for name in moved} >= {id(model.output.weight)}
    assert len({id(now[name]) for name in moved} & trained) > len(trained) / 2
    model.train()
    assert not any(part.training for part in layers_of(model)[0].modules())
    assert all(part.training for layer in list(layers_of(model))[1:] for part in layer.modules())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many texts the lower layers read, call by call; nothing is on disk before."""
    found: list[int] = []
    real = EncoderModule._lower

    def counted(self: EncoderModule, ids: Tensor, mask: Tensor) -> Tensor:
        found.append(len(ids))
        return real(self, ids, mask)

    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    monkeypatch.setattr(EncoderModule, "_lower", counted)
    return found


def test_a_text_is_encoded_once_by_the_lower_layers(
    folders: dict[str, str], read: list[int]
) -> None:
    backbone = Encoder(model=folders["deep bert"], train_layers=2)
    config = TrainConfig(steps=50, batch_size=5, eval_every=5)
    fit(backbone, AMP(site="layer.1"), split(), config)
    assert sum(read) == len(split().train), "training and development texts are the same here"
    fit(backbone, Mixup(site="layer.1"), split(), config)
    assert sum(read) == len(split().train), "the next run reads what this one kept on disk"


def test_all_folds_read_each_text_once_however_few_steps_there_are(
    folders: dict[str, str], read: list[int]
) -> None:
    data = TextDataset("one", ("a", "b", "c"), split().train)
    backbone = Encoder(model=folders["deep bert"], train_layers=2)
    config = TrainConfig(steps=1, batch_size=2, eval_every=1)
    for fold in range(3):
        fit(backbone, Mixup(site="layer.1"), split_fold(data, fold, 3), config)
    assert sum(read) == len(set(data.train.texts))


def test_folds_on_a_share_of_the_labels_read_each_text_of_a_frozen_encoder_once(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    counted, real = [0], EncoderModule.features

    def features(self: EncoderModule, embedded: Tensor, *others: Any) -> Tensor:
        counted[0] += len(embedded)
        return real(self, embedded, *others)

    monkeypatch.setattr(EncoderModule, "features", features)
    data = TextDataset("one", ("a", "b", "c"), split().train)
    backbone = Encoder(model=folders["bert"], freeze=True)
    config = TrainConfig(steps=2, batch_size=2, eval_every=1)
    found = [fit(backbone, NoMixup(), split_fold(data, k, 3, 0, 0.75), config) for k in range(3)]
    assert counted[0] == len(set(data.train.texts))
    monkeypatch.setattr(Encoder, "reads_pool", False)
    alone = [fit(backbone, NoMixup(), split_fold(data, k, 3, 0, 0.75), config) for k in range(3)]
    assert counted[0] > len(set(data.train.texts)), "or the count could not fail"
    for one, other in zip(found, alone, strict=True):
        assert np.allclose(one.test_probabilities, other.test_probabilities, atol=1e-5)


def test_training_on_kept_hidden_states_is_training_on_new_ones(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory without room changes the time alone."""
    backbone = Encoder(model=folders["deep bert"], train_layers=2)
    config = TrainConfig(steps=12, batch_size=5, lr=0.01, eval_every=4)
    found = []
    for limit in (2**30, 0):
        monkeypatch.setattr("ampmix.backbones.encoder_cache.LARGEST", limit)
        found.append(fit(backbone, AMP(eps=0.1, site="layer.2"), split(), config))
    one, other = (torch.from_numpy(fitted.test_probabilities) for fitted in found)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_memory_has_a_limit_and_copies_have_none_of_it() -> None:
    made: list[int] = []

    def make(ids: Tensor, mask: Tensor) -> list[Tensor]:
        made.extend(ids[:, 0].tolist())
        return [row[own].double() for row, own in zip(ids, mask, strict=True)]

    ids = torch.arange(12).reshape(4, 3)
    mask = torch.tensor([[True] * 3, [True, True, False], [True] * 3, [True] * 3])
    cache = Cache(limit=8 * 6)
    for _ in range(2):
        for i, row in enumerate(cache.of(ids, mask, make)):
            assert row.tolist() == ids[i, mask[i]].tolist()
    assert made == [0, 3, 6, 9, 6, 9], "two texts fit"
    assert len(cache) == 2
    assert not len(copy.deepcopy(cache)) and not len(pickle.loads(pickle.dumps(cache)))
    cache.clear()
    cache.of(ids[:1], mask[:1], make)
    assert len(cache) == 1


def test_a_model_of_upper_layers_is_saved_and_loaded_whole(
    folders: dict[str, str], tmp_path: Path
) -> None:
    backbone = Encoder(model=folders["deep bert"], train_layers=1)
    fitted = fit(backbone, NoMixup(), split(), TrainConfig(steps=5, batch_size=6, lr=0.01))
    expected = fitted.classifier.predict_proba(split().test.texts)
    fitted.classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert (loaded.predict_proba(split().test.texts) == expected).all()
    assert "train_layers=1" in spec(loaded.backbone)
    again = pickle.loads(pickle.dumps(fitted.classifier))
    assert (again.predict_proba(split().test.texts) == expected).all()


def test_all_layers_by_default_and_under_the_name_of_before() -> None:
    assert spec(MiniLM(train_layers=0)) == "minilm" == MiniLM(train_layers=0).identity
    assert spec(MiniLM(train_layers=2)) == "minilm[train_layers=2]"
    assert MiniLM(train_layers=2).all_sites == ("layer.4", "layer.5", "layer.6", "sent")
    assert Encoder(train_layers=6).all_sites[0] == "layer.0"


@pytest.mark.parametrize(
    ("text", "site", "told"),
    [
        ("minilm[train_layers=2]", "word", r"site word no words.*site=layer\.4.*leave train_la"),
        ("minilm[train_layers=2]", "embedding", r"at site embedding no words"),
        ("minilm[train_layers=2]", "layer.3", r"there are|layer\.4, layer\.5, layer\.6, sent"),
        ("minilm[train_layers=7]", "sent", "train_layers is 7, but minilm.* has 6 layers"),
        ("minilm[train_layers=2,freeze=true]", "sent", "leave one of the two out"),
    ],
)
def test_what_upper_layers_cannot_do_is_said(text: str, site: str, told: str) -> None:
    with pytest.raises(AmpmixError, match=told):
        parse(text, "ampmix.backbones", "backbone").check_site(site)


def test_fewer_than_no_layers() -> None:
    with pytest.raises(AmpmixError, match="train_layers is -1: it must be 0, for all, or more"):
        Encoder(train_layers=-1)


def test_layers_that_are_one_are_refused(folders: dict[str, str]) -> None:
    backbone = Encoder(model=folders["albert"], train_layers=1)
    with pytest.raises(AmpmixError, match=r"albert.*cannot be run apart.*without train_layers"):
        backbone.build(backbone.reader([], "words", 16), 3, rng())
    with pytest.raises(AmpmixError, match=r"albert.*cannot be told apart: use pooling=mean"):
        built(folders["albert"], pooling="layers", freeze=True)(*batch()[:2])
    model = built(folders["albert"])
    ids, mask, _ = batch()
    with pytest.raises(AmpmixError, match="cannot be run apart"):
        model.cut(ids, mask, "layer.2")
    f, g = model.cut(ids, mask, "word")
    assert f(*g).shape == (5, 3)


def test_what_goes_around_a_layer_is_found(folders: dict[str, str]) -> None:
    """A convolution over the embeddings is added to what the first layer of some DeBERTas gives."""
    model = built(folders["convolved deberta"])
    ids, mask, _ = batch()
    f, g = model.cut(ids, mask, "layer.1")
    torch.testing.assert_close(f(*g), model(ids, mask), rtol=0, atol=1e-12)
    backbone = Encoder(model=folders["convolved deberta"], train_layers=3)
    with pytest.raises(AmpmixError, match="cannot be run apart"):
        backbone.build(backbone.reader([], "words", 16), 3, rng())


# --- where policies mix by default -----------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("cnn", "none mixup amp mixup[site=sent] amp[site=sent] nonlinear"),
        ("minilm", "none mixup amp mixup[site=sent] amp[site=sent] nonlinear"),
        (
            "minilm[train_layers=2]",
            "none mixup[site=layer.4] amp[site=layer.4] mixup[site=sent] amp[site=sent] "
            "nonlinear[site=layer.4]",
        ),
        ("minilm[freeze=true]", "none mixup[site=sent] amp[site=sent] nonlinear[site=sent]"),
    ],
)
def test_policies_at_their_default_mix_where_training_begins(backbone: str, expected: str) -> None:
    policies = parse_list(f"{DEFAULT_POLICIES},nonlinear", "ampmix.policies", "policy")
    found = sited(policies, parse(backbone, "ampmix.backbones", "backbone"))
    assert [spec(policy) for policy in found] == expected.split()


def test_a_site_that_was_chosen_stays_and_is_refused() -> None:
    policies = sited([Mixup(site="embedding"), AMP(site="layer.5")], MiniLM(train_layers=2))
    assert [policy.mixing_site for policy in policies] == ["embedding", "layer.5"]
    with pytest.raises(AmpmixError, match="site embedding"):
        fit(MiniLM(train_layers=2), Mixup(site="embedding"), split(), TrainConfig(steps=1))


def test_plans_and_models_name_the_site(folders: dict[str, str], tmp_path: Path) -> None:
    file, backbone = tmp_path / "texts.csv", f"encoder[model={folders['deep bert']},train_layers=1]"
    rows = [f"{text},{CLASSES[y]}" for text, y in zip(TEXTS, LABELS, strict=True)]
    file.write_text("\n".join(["text,label", *rows]) + "\n")
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    arguments = parser.parse_args([str(file), "--backbone", backbone, "--seeds", "2"])
    for plan in (
        Plan.of(str(file), backbone=backbone, seeds=2),
        compare.ladder_of(arguments).plans[0],
    ):
        assert plan.policy_names[1:3] == ("mixup[site=layer.2]", "amp[site=layer.2]")
        assert plan.config.steps == 100 and plan.config.lr == 3e-4
    given = ["train", str(file), "--backbone", backbone, "--policy", "amp[eps=0.1]", "--steps", "2"]
    assert main([*given, "--out", str(tmp_path / "model")]) == 0
    about = Classifier.load(tmp_path / "model").about
    assert about["policy"] == "amp[eps=0.1,site=layer.2]"


# --- where the last layer starts -------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_head_is_scikit_learns_logistic_regression(classes: int) -> None:
    """Probabilities of its own model, which was fitted to features of another length."""
    from sklearn.linear_model import LogisticRegression

    draws = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = 3 + 7 * (draws.normal(size=(60, 5)) + np.eye(5)[labels])
    weight, bias = linear_head(features, labels, classes)
    known = scaled(features)
    reference = LogisticRegression(C=C, max_iter=1000).fit(known, labels)
    found = torch.from_numpy(features @ weight.T + bias).softmax(1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(known), atol=1e-8)


def scaled(features: Any) -> Any:
    """Features about their mean, from which they are 1 away on average."""
    centred = features - features.mean(0)
    return centred / np.linalg.norm(centred, axis=1).mean()


def test_a_class_without_texts_is_the_least_probable() -> None:
    draws = np.random.default_rng(0)
    labels = np.arange(60) % 2 * 2
    weight, bias = linear_head(draws.normal(size=(60, 5)), labels, 3)
    assert not weight[1].any() and bias[1] < min(bias[0], bias[2])


@pytest.mark.parametrize(
    "options",
    [{}, {"pooling": "mean"}, {"train_layers": 1}, {"train_layers": 2, "pooling": "mean"}]
    + [{"freeze": True}],
    ids=str,
)
def test_linear_probing_comes_first(options: dict[str, Any], folders: dict[str, str]) -> None:
    """Before any step that matters the model is the regression on what its last layer reads."""
    from sklearn.linear_model import LogisticRegression

    backbone = Encoder(model=folders["deep bert"], dropout=0.0, start="linear", **options)
    config = TrainConfig(steps=1, lr=1e-12)
    fitted = fit(backbone, NoMixup(), split(), config)
    model: Any = fitted.classifier.model
    encoded = fitted.classifier.reader.encode(TEXTS, LABELS)
    features = model.encode_all(encoded, torch.device("cpu")).detach().double().numpy()
    known = scaled(features)
    expected = LogisticRegression(C=C, max_iter=1000).fit(known, LABELS).predict_proba(known)
    np.testing.assert_allclose(fitted.test_probabilities, expected, atol=1e-2)
    assert np.ptp(expected, axis=0).min() > 0.2, "it tells texts apart"


def test_a_text_is_encoded_once_though_the_head_was_fitted_before(
    folders: dict[str, str], read: list[int]
) -> None:
    backbone = Encoder(model=folders["deep bert"], train_layers=2, start="linear")
    fit(backbone, NoMixup(), split(), TrainConfig(steps=9, batch_size=5, eval_every=3))
    assert sum(read) == len(TEXTS)


def test_a_policy_with_outputs_of_its_own_starts_at_random(folders: dict[str, str]) -> None:
    config, policy = TrainConfig(steps=2, batch_size=6), NonlinearMixup()
    found = [
        fit(Encoder(model=folders["deep bert"], start=start), policy, split(), config)
        for start in ("random", "linear")
    ]
    assert (found[0].test_probabilities == found[1].test_probabilities).all()


def test_another_start_is_refused() -> None:
    with pytest.raises(AmpmixError, match="start is 'warm': it must be random or linear"):
        Encoder(start="warm")


@pytest.mark.parametrize(
    ("texts", "steps"), [(0, 300), (24, 100), (200, 100), (400, 200), (600, 300), (10**6, 300)]
)
def test_steps_of_upper_layers_go_by_the_number_of_texts(texts: int, steps: int) -> None:
    """12 epochs of batches of 24, within bounds; the recipe of all layers stays as it was."""
    assert settings(MiniLM(train_layers=2), False, texts).steps == steps
    assert settings(MiniLM(), False, texts).steps == 600
    assert settings(MiniLM(train_layers=2), False, texts, steps=7).steps == 7
    assert settings(TextCNN(), False, texts) == settings(TextCNN(), False)
