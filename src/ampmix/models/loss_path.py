"""The loss along the way from one text to another (Figure 2): several models on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ampmix._support.components import POLICIES
from ampmix._support.random_streams import numpy_stream
from ampmix._support.wording import counted
from ampmix._torch.evaluation import in_evaluation
from ampmix.errors import AmpmixError
from ampmix.mixing import cross_entropy, interpolate_loss
from ampmix.mixing.heads import head_of, partners_of
from ampmix.models.classifier import Classifier

Array = npt.NDArray[np.float64]
BATCH = 64  # pairs at once


def frozen_pairs(n: int, pairs: int | None = None, seed: int = 0) -> npt.NDArray[np.int64]:
    """Pairs of `n` texts: a shuffled list beside itself reversed, as in Figure 2(c).

    Every pair is there from both ends, so that the mean over pairs is symmetric in lam and the
    same at 0 and 1: the mean loss of the single texts. Of an odd number of texts the middle one is
    its own partner.

    Args:
        n: number of texts.
        pairs: number of pairs of two texts each, of ``n // 2``; None for all texts. Fewer pairs are
            among more.
        seed: of the shuffle.

    Returns:
        ``[n, 2]``, or ``[2 * pairs, 2]``; row p and row p from the end are one pair.

    Raises:
        AmpmixError: fewer than two texts, or `pairs` that there are not.

    >>> frozen_pairs(5).shape, frozen_pairs(5, 2).shape
    ((5, 2), (4, 2))
    >>> bool((frozen_pairs(9)[::-1, ::-1] == frozen_pairs(9)).all())
    True
    """
    if n < 2:
        raise AmpmixError(
            f"there {'is' if n == 1 else 'are'} {counted(n, 'text')}: a pair needs two"
        )
    most = n // 2
    if pairs is not None and not 1 <= pairs <= most:
        raise AmpmixError(f"pairs is {pairs}: of {n} texts there are 1 to {most}")
    order = numpy_stream(seed, "path pairs").permutation(n)
    both = np.stack([order, order[::-1]], axis=1)
    return both if pairs is None else np.concatenate([both[:pairs], both[n - pairs :]])


def grid(points: int) -> Array:
    """`points` coefficients from 0 to 1; AmpmixError for fewer than 2."""
    if points < 2:
        raise AmpmixError(f"points is {points}: 2 or more are needed, 0 and 1 among them")
    return np.linspace(0.0, 1.0, points)


def loss_paths(
    classifier: Classifier,
    texts: Sequence[str],
    labels: Sequence[int],
    pairs: npt.NDArray[np.int64],
    lams: Array,
    site: str = "word",
) -> Array:
    """The Mixup loss of each pair at each coefficient (Eq. 17), without dropout, in nats.

    ``lam * l(f(mix), y_1) + (1 - lam) * l(f(mix), y_2)``: lam is the weight of a pair's first text,
    for hidden state and label alike, so that the ends are the losses of the single texts.

    Args:
        classifier: a trained model whose backbone has the site.
        texts: of the test set.
        labels: their classes' places in ``classifier.classes``.
        pairs: places in `texts`, ``[P, 2]``.
        lams: coefficients ``[L]`` in [0, 1].
        site: where to mix.

    Returns:
        ``[P, L]``.

    Raises:
        AmpmixError: for a site that the backbone does not have.
    """
    classifier.model.check_site(site)
    model = in_evaluation(classifier.model)
    found = np.empty((len(pairs), len(lams)))
    for start in range(0, len(pairs), BATCH):
        some = pairs[start : start + BATCH]
        both = some.T.reshape(-1).tolist()  # all first texts, then all second ones
        encoded = classifier.reader.encode([texts[i] for i in both], [labels[i] for i in both])
        ids, mask, y = map(torch.from_numpy, encoded.batch(range(len(both))))
        perm = torch.arange(len(both)).roll(len(some))
        with torch.inference_mode():
            made, g = model.cut(ids, mask, site)
            f, partners = head_of(made), partners_of(g, perm)
            for k, lam in enumerate(lams):
                weights = torch.cat([_full(some, lam), _full(some, 1.0 - lam)])
                logits = f.mixed_logits(g, weights, perm, partners)
                losses = interpolate_loss(cross_entropy, logits, y, weights, perm)
                found[start : start + len(some), k] = losses[: len(some)].double().numpy()
    return found


def _full(pairs: npt.NDArray[np.int64], lam: float) -> Tensor:
    return torch.full((len(pairs),), lam)


@dataclass(frozen=True, eq=False)
class Paths:
    """Losses of several models on the same pairs.

    Attributes:
        names: of the models.
        lams: coefficients ``[L]``.
        losses: a ``[P, L]`` for each model, in nats.
        pairs: places in `texts`, ``[P, 2]``.
        texts, labels: the test set; labels by name.
        sites: where each model's hidden states were mixed.
        seed: of the pairs.
        notes: what is doubtful about comparing these models.
    """

    names: tuple[str, ...]
    lams: Array
    losses: tuple[Array, ...]
    pairs: npt.NDArray[np.int64]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    sites: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]


def compare_paths(
    models: Sequence[tuple[str, Classifier]],
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    pairs: int | None = None,
    points: int = 21,
    seed: int = 0,
    site: str | None = None,
) -> Paths:
    """:func:`loss_paths` of several models on the same frozen pairs.

    Models whose vocabularies, seeds or training texts differ are compared, with a note.

    Args:
        models: names and models.
        texts: of the test set.
        labels: their classes by name.
        pairs: as of :func:`frozen_pairs`.
        points: how many coefficients.
        seed: of the pairs.
        site: where to mix; None for the site that each model was trained at, and for one that was
            not mixed that of the first that was, else ``word``.

    Raises:
        AmpmixError: models of different classes, labels that they do not know, or as
            :func:`loss_paths`, :func:`frozen_pairs` and :func:`grid`.
    """
    name, first = models[0]
    for other, classifier in models[1:]:
        if set(classifier.classes) != set(first.classes):
            raise AmpmixError(
                f"{other} has classes {_listed(classifier.classes)} and {name} has "
                f"{_listed(first.classes)}: compare models of the same classes"
            )
    if unseen := sorted(set(labels) - set(first.classes)):
        raise AmpmixError(
            f"the labels {_listed(unseen)} are not among the models' classes "
            f"{_listed(first.classes)}: give data with those labels"
        )
    chosen, lams = frozen_pairs(len(texts), pairs, seed), grid(points)
    facts = [classifier.about for _, classifier in models]
    sites = (site,) * len(models) if site is not None else _own_sites(facts)
    losses = []
    for (_, classifier), mixed_at in zip(models, sites, strict=True):
        places = {label: i for i, label in enumerate(classifier.classes)}
        own = [places[label] for label in labels]
        losses.append(loss_paths(classifier, texts, own, chosen, lams, mixed_at))
    return Paths(
        names=tuple(name for name, _ in models),
        lams=lams,
        losses=tuple(losses),
        pairs=chosen,
        texts=tuple(texts),
        labels=tuple(labels),
        sites=sites,
        seed=seed,
        notes=(*_notes(models), *_unlike([name for name, _ in models], sites, facts)),
    )


def _own_sites(facts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The site that each model was trained at."""
    own = [_site_of(str(one.get("policy", ""))) for one in facts]
    fallback = next(filter(None, own), "word")
    return tuple(site or fallback for site in own)


def _site_of(policy: str) -> str | None:
    try:
        site: str | None = POLICIES.parse(policy).sites[0] if policy else None
    except AmpmixError:  # somebody's own, which is not imported
        return None
    return site


UNLIKE = {"seed": "seed", "data_hash": "data", "fraction": "share of the labels"}
"""What makes models other than their policies do, and what a note calls it."""


def _unlike(
    names: Sequence[str], sites: Sequence[str], facts: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Notes on models that differ in more than their policy."""
    told = []
    for name, site, own in zip(names[1:], sites[1:], facts[1:], strict=True):
        known = [key for key in UNLIKE if key in own and key in facts[0]]
        if other := [UNLIKE[key] for key in known if own[key] != facts[0][key]]:
            told.append(
                f"{name} and {names[0]} were trained with another {' and another '.join(other)}, "
                "so that not all of their difference is the policy's"
            )
        if site != sites[0]:
            told.append(f"{name} is mixed at {site} and {names[0]} at {sites[0]}")
    return told


def _notes(models: Sequence[tuple[str, Classifier]]) -> list[str]:
    name, first = models[0]
    told = []
    for other, classifier in models[1:]:
        if classifier.reader.as_json() != first.reader.as_json():
            told.append(
                f"{other} and {name} have different vocabularies or readers, so that a text is not "
                "the same to both: models of one seed of one comparison have the same"
            )
        if classifier.backbone != first.backbone:
            told.append(f"{other} and {name} are different backbones")
    return told


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
