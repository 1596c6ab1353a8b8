"""Read study files: one grid or several, in TOML."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ampmix.errors import AmpmixError, unknown
from ampmix.training.config import TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AXES = {"datasets": None, "backbones": ["cnn"], "vectors": [""], "policies": None}
KEYS = (*AXES, "fractions", "seeds", "folds", "repeats", "redraw", "training", "smoke")
FILE = ("file", "text", "label", "test", "dev", "encoding", "group", "rare", "unlabelled")
MODELS = ("none", "best")
LARGEST, MOST_CELLS = 2**17, 10_000  # bytes of a file; combinations, of which each is several runs
LONGEST_SPEC = 1000  # characters
MOST_DOTS = 300  # of a line: a key of thousands of parts takes tomllib minutes
_CHOICE = re.compile(r"=([^,\[\]]*\|[^,\[\]]*)")


@dataclass(frozen=True)
class GridCell:
    """One combination: what one :class:`ampmix.studies.plan.Plan` is made of, still as it was
    written.

    Attributes:
        dataset: a known name, or ``file`` and its columns.
        backbone: a spec string.
        vectors: the backbone's vectors, "" to leave them as the spec string says.
        policies: spec strings.
        fraction: labels kept.
        seeds, folds: how many, with and without a test set; None for the data set's own.
        training: settings that are not at their default.
        repeats: of cross-validation.
        redraw: whether verdicts are for new training sets (:attr:`ampmix.Plan.redraw`).
    """

    dataset: Mapping[str, str]
    backbone: str
    vectors: str
    policies: tuple[str, ...]
    fraction: float
    seeds: int
    folds: int | None
    training: Mapping[str, Any]
    repeats: int = 1
    redraw: bool = False

    @property
    def label(self) -> str:
        """Name of the combination in messages."""
        parts = [self.dataset["file"], self.backbone]
        parts += [f"vectors={self.vectors}"] * bool(self.vectors)
        parts += [f"fraction={self.fraction:g}"] * (self.fraction != 1.0)
        return " ".join(parts)


@dataclass(frozen=True)
class StudyFile:
    """A study as its file says it.

    Attributes:
        name: what it is called; the file's own name unless it says else.
        models: which models to keep: ``none``, or the ``best`` of each cell, which are those of all
            policies with the seed of the lowest mean development error.
        cells: the combinations, each once.
    """

    name: str
    models: str
    cells: tuple[GridCell, ...]


def read(
    path: str | Path, overrides: Mapping[str, Any] | None = None, smoke: bool = False
) -> StudyFile:
    """Read a study file.

    At the top level stand ``name``, ``models`` and the keys of a grid: ``datasets`` (names, paths
    beside the study file, or tables with ``file``, ``text``, ``label``, ``test``, ``dev``,
    ``encoding``, ``unlabelled``), ``backbones``, ``vectors``, ``policies``, ``fractions``,
    ``seeds``, ``folds``, ``repeats``, ``redraw`` (true or false) and ``[training]`` with the fields
    of :class:`ampmix.training.config.TrainConfig`. Each ``[[grid]]`` is a grid of its own, which
    takes from the top level what it does not say. Every axis may be one value or a list; in a spec
    string ``amp[eps=0.002|0.02]`` is two policies. A table ``smoke``, at the top or in a grid, has
    keys of a grid for a quick trial.

    Args:
        path: the file.
        overrides: settings that go before the file's: ``seeds``, and fields of ``[training]``.
        smoke: whether ``smoke`` tables go before what stands beside them.

    Raises:
        AmpmixError: if the file cannot be read, or says what no study has.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise AmpmixError(f"the study {path} is larger than {LARGEST >> 10} KiB: split it")
        if max(line.count(b".") for line in raw.split(b"\n")) > MOST_DOTS:
            raise AmpmixError(
                f"the study {path} has a line of more than {MOST_DOTS} dots: split it"
            )
        content = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise AmpmixError(f"cannot read the study {path}: {error.strerror or error}") from error
    # ValueError also as tomllib.TOMLDecodeError and UnicodeDecodeError
    except (ValueError, RecursionError, IndexError, AttributeError, TypeError) as error:
        raise AmpmixError(f"the study {path} is not TOML: {str(error)[:200]}") from error
    return parse(content, path, overrides or {}, smoke)


def parse(
    content: Mapping[str, Any], path: Path, overrides: Mapping[str, Any], smoke: bool = False
) -> StudyFile:
    """The study that the content of a file says; see :func:`read`."""
    top = dict(content)
    name, models = top.pop("name", path.stem), top.pop("models", "none")
    grids = top.pop("grid", [{}])
    if not isinstance(name, str) or not re.fullmatch(r"[\w.\-]+", name):
        raise AmpmixError(f"name is {name!r}: letters, digits, dots and dashes name a study")
    if models not in MODELS:
        raise unknown("value of models", str(models), MODELS)
    if (
        not isinstance(grids, list)
        or not all(isinstance(grid, dict) for grid in grids)
        or not grids
    ):
        raise AmpmixError(f"grid is {grids!r}: write a grid as [[grid]]")
    for part in (top, *grids):
        _check_keys(part, ("name", "models", "grid", *KEYS) if part is top else KEYS, "key")
        if not isinstance(trial := part.get("smoke", {}), dict):
            raise AmpmixError(f"smoke is {trial!r}: it is a table, [smoke]")
        _check_keys(trial, KEYS[:-1], "smoke key")
    cells: list[GridCell] = []
    for grid in grids:
        if smoke:
            grid = {**grid, **top.get("smoke", {}), **grid.get("smoke", {})}
        training = {**_table(top, "training"), **_table(grid, "training")}
        cells += _cells({**top, **grid, "training": training}, path.parent, overrides)
        _check_cells(len(cells))
    once: dict[Any, GridCell] = {}
    for cell in cells:
        tables = (repr(sorted(table.items())) for table in (cell.dataset, cell.training))
        rest = (cell.backbone, cell.vectors, cell.policies, cell.fraction)
        once.setdefault((*tables, *rest, cell.seeds, cell.folds, cell.repeats, cell.redraw), cell)
    return StudyFile(name, models, tuple(once.values()))


def _check_cells(count: int) -> None:
    if count > MOST_CELLS:
        raise AmpmixError(
            f"the study has {count:,} combinations: at most {MOST_CELLS:,} can be; split it"
        )


def _check_keys(part: Mapping[str, Any], known: tuple[str, ...], kind: str) -> None:
    for key in part:
        if key not in known:
            raise unknown(f"{kind} of a study", key, known)


def _table(part: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = part.get(key, {})
    if not isinstance(table, dict):
        raise AmpmixError(f"{key} is {table!r}: it is a table, [{key}]")
    _check_keys(table, tuple(field.name for field in fields(TrainConfig)), f"{key} setting")
    return table


def _axis(grid: Mapping[str, Any], name: str, default: list[Any] | None) -> list[Any]:
    """The values of an axis, each once; one value stands for a list of one."""
    values = grid.get(name, default)
    if values is None:
        raise AmpmixError(f"the study has no {name}: at least one is needed")
    values = values if isinstance(values, list) else [values]
    if not values:
        raise AmpmixError(f"{name} is empty: at least one is needed, or leave the key out")
    _check_cells(len(values))
    seen = set()
    for value in values:
        key = repr(value) if isinstance(value, list | dict) else value
        if key in seen:
            raise AmpmixError(f"{name} has {value!r} twice: give each once")
        seen.add(key)
    return values


def _strings(grid: Mapping[str, Any], key: str) -> list[str]:
    values, count = _axis(grid, key, AXES[key]), 0
    for value in values:
        if not isinstance(value, str):
            raise AmpmixError(f"{key} has {value!r}: each is a string")
        if len(value) > LONGEST_SPEC:
            raise AmpmixError(f"{key} has {value[:40]!r}…: a spec string is shorter than that")
        count += math.prod(len(found.split("|")) for found in _CHOICE.findall(value))
        _check_cells(count)
    return [one for value in values for one in _choices(value)]


def _choices(spec: str) -> Iterator[str]:
    """The spec strings that ``|`` in the options of one stands for.

    >>> list(_choices("amp[eps=0.1|0.2,site=sent]"))
    ['amp[eps=0.1,site=sent]', 'amp[eps=0.2,site=sent]']
    """
    found = _CHOICE.search(spec)
    if found is None:
        yield spec
        return
    for value in found[1].split("|"):
        yield from _choices(f"{spec[: found.start(1)]}{value.strip()}{spec[found.end(1) :]}")


def _cells(grid: Mapping[str, Any], folder: Path, overrides: Mapping[str, Any]) -> list[GridCell]:
    datasets = [_dataset(value, folder) for value in _axis(grid, "datasets", None)]
    policies = tuple(_strings(grid, "policies"))
    seeds = overrides.get("seeds") or _count(grid, "seeds", 5)
    folds = None if grid.get("folds") is None else _count(grid, "folds", 0)
    if overrides.get("seeds") is not None:
        folds = max(2, seeds)
    repeats = _count(grid, "repeats", 1)
    redraw = grid.get("redraw", False)
    if not isinstance(redraw, bool):
        raise AmpmixError(f"redraw is {str(redraw)[:40]!r}: it is true or false")
    given = {**grid["training"], **{k: v for k, v in overrides.items() if k != "seeds"}}
    axes = [_axis(given, key, None) for key in given]
    _check_cells(math.prod(map(len, axes)))
    settings = [dict(zip(given, values, strict=True)) for values in itertools.product(*axes)]
    parts = datasets, _strings(grid, "backbones"), _strings(grid, "vectors"), _fractions(grid)
    _check_cells(math.prod([len(part) for part in parts]) * len(settings))
    combined = itertools.product(*parts, settings)
    return [
        GridCell(
            dataset, backbone, vectors, policies, fraction, seeds, folds, training, repeats, redraw
        )
        for dataset, backbone, vectors, fraction, training in combined
    ]


def _dataset(value: Any, folder: Path) -> Mapping[str, str]:
    if isinstance(value, str):
        value = {"file": value}
    if not isinstance(value, dict) or "file" not in value:
        raise AmpmixError(f"datasets has {value!r}: give a name, a path, or {{file = ...}}")
    _check_keys(value, FILE, "data set's key")
    found = {key: str(text) for key, text in value.items()}
    rest = found.get("unlabelled") == "rest"  # no file, whatever lies beside the study
    for key in ("file", "test", "dev", *([] if rest else ["unlabelled"])):
        if key in found and _is_file(folder / found[key]):
            found[key] = str(folder / found[key])
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for any file
        return False


def _fractions(grid: Mapping[str, Any]) -> list[float]:
    values = _axis(grid, "fractions", [1.0])
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AmpmixError(f"fractions has {value!r}: each is a number in (0, 1]")
        if not 0 < value <= 1:
            raise AmpmixError(f"fractions has {str(value)[:40]}: each is a number in (0, 1]")
    return [float(value) for value in values]


def _count(grid: Mapping[str, Any], key: str, default: int) -> int:
    value = grid.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AmpmixError(f"{key} is {value!r}: it must be a whole number, 1 or more")
    return value
