"""Records from folders, and which of them may be looked at together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampmix.errors import AmpmixError
from ampmix.records.pack import is_pack, unpack
from ampmix.records.result import problem_in
from ampmix.records.store import BASELINE, RunRecord, read_record

Records = Mapping[str, Mapping[int, RunRecord]]
OF_A_RUN = ("policy", "policy_source", "unlabelled", "seed")
ORDER = ("none", "mixup", "amp")


OWN_FILES = {"summary.json", "study.json", "path.json", "errors.json"}
OWN_FOLDERS = {"model", "models", "failures", "locks"}


@dataclass(frozen=True)
class Found:
    """Groups of comparable runs found in folders, and what was left out.

    Attributes:
        records: each run once.
        unreadable: names of files that are not used, with the reason.
    """

    records: tuple[RunRecord, ...]
    unreadable: tuple[tuple[str, str], ...]


def read_runs(folders: Sequence[str | Path]) -> Found:
    """Read folders of records, or output folders with a folder ``records`` in them.

    A file ``NAME.jsonl.gz`` holds many records (:func:`ampmix.records.pack.pack`). The same run in
    several folders counts once. A file that holds no record, or another result for
    a run already read, is named and left as it is.

    Raises:
        AmpmixError: a folder is not there, there is no record in any, or the system does not let a
            file be read: what is said without it would be said of other runs.
    """
    records: dict[str, RunRecord] = {}
    places: dict[str, str] = {}
    unreadable: list[tuple[str, str]] = []
    for given in map(Path, folders):
        if not given.is_dir():
            raise AmpmixError(
                f"{str(given)!r} is no folder: give the output folder of ampmix compare"
            )
        folder = given / "records" if (given / "records").is_dir() else given
        for path in sorted(folder.rglob("*")):
            name = f"{given.resolve().name}/{path.relative_to(given).as_posix()}"
            if path.suffix.startswith(".unreadable"):
                unreadable.append((name, "it was set aside by an earlier run"))
            for record in _read(path, name, given):
                if isinstance(record, ValueError):
                    unreadable.append((name, str(record)))
                elif wrong := problem_in(record.specification, record.result, record.provenance):
                    unreadable.append((name, wrong))
                elif record.id in records and records[record.id].digest != record.digest:
                    other = f"{places[record.id]} has another result for this run"
                    unreadable.append((name, other))
                elif record.id not in records:
                    records[record.id], places[record.id] = record, name
    if not records:
        why = f" ({len(unreadable)} unreadable: {unreadable[0][0]})" if unreadable else ""
        raise AmpmixError(
            f"no records in {', '.join(map(repr, map(str, folders)))}{why}: give the output folder "
            "of ampmix compare, or its records"
        )
    return Found(tuple(records.values()), tuple(unreadable))


def _read(path: Path, name: str, given: Path) -> Iterator[RunRecord | ValueError]:
    """The records of a file, or why it has none; nothing for files of other kinds.

    Raises:
        AmpmixError: the system does not let it be read.
    """
    many = is_pack(path.name)
    one = path.suffix == ".json" and not path.name.startswith(".") and not _is_own(path, given)
    if not many and not one:
        return
    try:
        content = path.read_bytes()
        yield from unpack(content) if many else [read_record(content, path.stem)]
    except (FileNotFoundError, IsADirectoryError) as error:
        yield ValueError(error.strerror or str(error))
    except ValueError as error:
        yield error
    except OSError as error:
        raise AmpmixError(
            f"cannot read {name} ({error.strerror or error}): let it be read, or take it away"
        ) from error


def _is_own(path: Path, given: Path) -> bool:
    """Return True for a file that ampmix writes beside records, such as a summary or a model.

    Outside a folder ``records``, so is all that is not named by a run's id.
    """
    inside = path.relative_to(given).parts[:-1]
    named = re.fullmatch("[0-9a-f]{16}", path.stem) or "records" in (given.name, *inside)
    return path.name in OWN_FILES or not OWN_FOLDERS.isdisjoint(inside) or not named


@dataclass(frozen=True)
class Group:
    """Runs that differ in policy and seed alone.

    Attributes:
        number: from 1, by which tables refer to it.
        specification: what determines its runs, without policy and seed.
        records: policy to seed to record: the baseline, the policy `none`, the others.
        baseline: what the others are compared with: ``none`` if it is there, else the first.
        printed_as: the data set's and backbone's names in the paper's tables, "" for none; None
            where the records are too old to say.
    """

    number: int
    specification: Mapping[str, Any]
    records: Records
    baseline: str
    printed_as: tuple[str, str] | None

    @property
    def cross_validated(self) -> bool:
        """True if the seeds are folds of cross-validation."""
        return self.specification["folds"] is not None

    @property
    def percent(self) -> float:
        """Labels kept, in percent."""
        return round(100 * float(self.specification["fraction"]), 6)

    @property
    def all(self) -> tuple[RunRecord, ...]:
        """All records of the group."""
        return tuple(record for own in self.records.values() for record in own.values())


def groups_of(records: Iterable[RunRecord]) -> tuple[Group, ...]:
    """Sort records into groups: runs of different settings are never put together.

    The baseline has no backbone and no settings: its runs go with every group of the same data,
    for the seeds that the group has.
    """
    apart: dict[str, dict[str, dict[int, RunRecord]]] = {}
    common: dict[str, dict[int, RunRecord]] = {}
    records = tuple(records)
    sources: dict[tuple[str, str], set[str | None]] = {}
    for record in records:
        told = record.specification
        for name in ("policy_source", "unlabelled"):
            sources.setdefault((told["policy"], name), set()).add(told.get(name))
    changed = {kind for kind, of_it in sources.items() if len(of_it) > 1}
    for record in records:
        policy, seed = record.specification["policy"], record.specification["seed"]
        if not record.is_baseline and "backbone" not in record.specification:
            raise AmpmixError(
                f"the record {record.id} of {policy[:80]!r} has no backbone: no ampmix wrote it; "
                "take it away"
            )
        if record.is_baseline:
            common.setdefault(_key(record, data=True), {})[seed] = record
        else:
            own_runs = apart.setdefault(_key(record), {})
            own_runs.setdefault(_row_of(record, changed), {})[seed] = record
    made: list[Group] = []
    for key in sorted(apart):
        own = apart[key]
        first = next(iter(next(iter(own.values())).values()))
        beside = common.get(_key(first, data=True), {})
        seeds = sorted({seed for runs in own.values() for seed in runs})
        names = sorted(own, key=_order)
        together = {BASELINE: {seed: beside[seed] for seed in seeds if seed in beside}}
        together |= {name: dict(sorted(own[name].items())) for name in names}
        specification = {k: v for k, v in first.specification.items() if k not in OF_A_RUN}
        printed = [r.provenance.get("printed_as") for runs in own.values() for r in runs.values()]
        names_printed = next(filter(None, printed), None)
        made.append(
            Group(
                len(made) + 1,
                specification,
                {name: runs for name, runs in together.items() if runs},
                names[0],
                None if names_printed is None else (names_printed[0], names_printed[1]),
            )
        )
    return tuple(made)


def _key(record: RunRecord, data: bool = False) -> str:
    specification = record.specification
    kept = ("dataset", "data_hash", "fraction", "folds")
    names = kept if data else tuple(k for k in specification if k not in OF_A_RUN)
    return json.dumps({name: specification.get(name) for name in names}, sort_keys=True)


def _row_of(record: RunRecord, changed: Set[tuple[str, str]]) -> str:
    """A policy's name; with its source, or the texts without labels, where runs differ in them."""
    told = record.specification
    policy = str(told["policy"])
    apart = [
        f"{noun} {str(told[name])[:8]}"
        for name, noun in (("policy_source", "source"), ("unlabelled", "unlabelled"))
        if (policy, name) in changed and told.get(name)
    ]
    return f"{policy} ({', '.join(apart)})" if apart else policy


def _order(policy: str) -> tuple[int, str]:
    name = policy.split("[")[0]
    return (ORDER.index(name) if name in ORDER else len(ORDER)), policy
