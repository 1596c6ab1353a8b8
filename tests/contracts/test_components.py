"""Finding components and reading their spec strings."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampmix._support.components import find, parse, parse_list, spec
from ampmix.backbones.text_cnn import TextCNN
from ampmix.errors import AmpmixError
from ampmix.mixing.pairing import PAIRINGS
from ampmix.policies.amp import AMP, DIRECTIONS
from ampmix.policies.mixup import LAMS, Mixup

PACKAGES = {"ampmix.policies": "policy", "ampmix.backbones": "backbone"}
KINDS = [
    pytest.param(cls, package, kind, id=f"{kind}-{name}")
    for package, kind in PACKAGES.items()
    for name, cls in find(package).items()
]
BY_DEFAULT: dict[type, Any] = {
    bool: st.booleans(),
    float: st.floats(1e-5, 0.999) | st.floats(1e-6, 0.9).map(lambda x: float(f"{x:.1g}")),
    int: st.integers(1, 10**6),
    tuple: st.lists(st.integers(1, 99), min_size=1, max_size=4).map(tuple),
}
BY_NAME: dict[str, Any] = {
    "site": st.sampled_from(["word", "sent", "encoder.layer.3", "0"]),
    "direction": st.sampled_from(DIRECTIONS),
    "pairing": st.sampled_from(PAIRINGS),
    "lam": st.sampled_from(LAMS),
    "hidden_size": st.integers(1, 10**6).map(lambda n: 2 * n),
    "vectors": st.sampled_from(["glove.6B.50d", "my vectors/v.txt.gz"]),
}


def anything_of(cls: type) -> Any:
    """Components of a class with any values, each option sometimes at its default."""
    options = {}
    for field in dataclasses.fields(cls):
        values = BY_NAME.get(field.name, BY_DEFAULT.get(type(field.default)))
        if values is not None:
            options[field.name] = st.just(field.default) | values
    return st.builds(cls, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "package", "kind"), KINDS)
@given(st.data())
@settings(deadline=None)
def test_a_spec_reads_back_as_the_same_component(
    cls: type, package: str, kind: str, data: st.DataObject
) -> None:
    component = data.draw(anything_of(cls))
    text = spec(component)
    assert parse(text, package, kind) == component
    assert spec(parse(text, package, kind)) == text
    loose = text.replace("[", " [ ").replace(",", " , ").replace("=", " = ") + " "
    assert parse(loose, package, kind) == component
    assert parse_list(f"{text},", package, kind) == [component]


@pytest.mark.parametrize(("cls", "package", "kind"), KINDS)
def test_defaults_are_left_out_of_a_spec(cls: Any, package: str, kind: str) -> None:
    assert spec(cls()) == cls.name
    assert parse(cls.name, package, kind) == parse(f"{cls.name}[]", package, kind) == cls()


def test_equal_components_have_one_spelling() -> None:
    assert AMP(eps=1) == AMP(eps=1.0)
    assert spec(AMP(eps=1)) == spec(AMP(eps=1.0))


def test_policies_stand_in_the_order_of_their_rank() -> None:
    names = list(find("ampmix.policies"))
    assert names[:3] == ["none", "mixup", "amp"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_concrete_dataclass_with_a_name_is_a_component(package: str) -> None:
    """Whatever its file is called: bases and helpers stand beside components."""
    folder = Path(importlib.import_module(package).__path__[0])
    modules = [importlib.import_module(f"{package}.{f.stem}") for f in folder.glob("[!_]*.py")]
    named = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and is_dataclass(value) and hasattr(value, "name")
    }
    assert named == set(find(package).values())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("amq", ["unknown policy 'amq'", "did you mean amp", "none", "mixup"]),
        ("", ["cannot read policy"]),
        ("amp[eps=0.1", ["cannot read policy"]),
        ("amp eps=0.1", ["cannot read policy"]),
        ("amp[esp=0.1]", ["unknown option", "'esp'", "did you mean eps", "alpha", "min_op"]),
        ("amp[eps]", ["'eps'", "key=value"]),
        ("amp[eps=0.1,eps=0.2]", ["gives eps twice"]),
        ("amp[eps=small]", ["eps of policy amp", "'small'", "a number"]),
        ("amp[eps=]", ["eps of policy amp", "a number"]),
        ("amp[min_op=maybe]", ["min_op of policy amp", "true or false"]),
        ("amp[eps=-1]", ["eps is -1", "0 or above"]),
        ("amp[eps=nan]", ["eps is nan"]),
        ("amp[eps=inf]", ["eps is inf"]),
        ("amp[alpha=0]", ["alpha is 0", "above 0"]),
        ("mixup[alpha=nan]", ["alpha is nan"]),
        ("mixup[alpha=inf]", ["alpha is inf"]),
        ("amp[direction=down]", ["'down'", "gradient", "sign"]),
        ("none[alpha=1]", ["unknown option", "'alpha'"]),
    ],
)
def test_a_policy_that_cannot_be_read_says_what_can(text: str, told: list[str]) -> None:
    with pytest.raises(AmpmixError) as error:
        parse(text, "ampmix.policies", "policy")
    for part in told:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cnn[filter_sizes=3+x]", "whole numbers joined by +"),
        ("cnn[filter_sizes=]", "whole numbers joined by +"),
        ("cnn[feature_maps=2.5]", "a whole number"),
        ("cnn[feature_maps=0]", "1 or more"),
        ("cnn[filter_sizes=0+3]", "1 or more"),
        ("cnn[dropout=1]", "[0, 1)"),
        ("cnn[dropout=nan]", "[0, 1)"),
    ],
)
def test_a_backbone_that_cannot_be_read_says_why(text: str, told: str) -> None:
    with pytest.raises(AmpmixError) as error:
        parse(text, "ampmix.backbones", "backbone")
    assert told in str(error.value)


def test_a_backbone_without_filters_is_refused() -> None:
    with pytest.raises(AmpmixError):
        TextCNN(filter_sizes=())


def test_a_list_keeps_commas_in_brackets_together() -> None:
    text = "none, amp[eps=0.1,site=sent] ,mixup"
    assert parse_list(text, "ampmix.policies", "policy")[1:] == [
        AMP(eps=0.1, site="sent"),
        Mixup(),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mixup,none,mixup", "mixup is given twice"),
        ("amp[eps=0.10],none,amp[eps=1e-1]", "amp[eps=0.1] is given twice"),
        ("amp[eps=0.002],amp", "amp is given twice"),
        (" , ", "no policy given: there are none, mixup, amp"),
        ("none,[", "cannot read policy"),
    ],
)
def test_a_list_refuses_repetition_and_emptiness(text: str, told: str) -> None:
    with pytest.raises(AmpmixError) as error:
        parse_list(text, "ampmix.policies", "policy")
    assert told in str(error.value)


# --- packages of one's own --------------------------------------------------------------------

COMPONENT = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class {cls}:
    name: ClassVar[str] = "{name}"
    size: int = 1
"""


def package(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, modules: dict[str, str]
) -> str:
    (folder / name).mkdir()
    for module, source in {"__init__": "", **modules}.items():
        (folder / name / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return name


def test_a_new_file_is_a_new_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "one": COMPONENT.format(cls="One", name="one"),
        "two": "from one_file_each.one import One\n" + COMPONENT.format(cls="Two", name="two"),
        "_draft": "raise RuntimeError('modules with an underscore are not components')",
    }
    name = package(tmp_path, monkeypatch, "one_file_each", modules)
    assert list(find(name)) == ["one", "two"]
    assert parse("two[size=3]", name, "thing").size == 3


@pytest.mark.parametrize("together", [True, False])
def test_two_components_of_one_name_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    one, two = COMPONENT.format(cls="One", name="same"), COMPONENT.format(cls="Two", name="same")
    modules = {"both": one + two} if together else {"one": one, "two": two}
    name = package(tmp_path, monkeypatch, f"same_name_{together}".lower(), modules)
    with pytest.raises(TypeError, match="two components .* are named 'same'"):
        find(name)


def test_another_name_for_the_same_class_is_no_second_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = COMPONENT.format(cls="One", name="one") + "\nAlias = One\n"
    name = package(tmp_path, monkeypatch, "with_alias", {"one": source})
    assert list(find(name)) == ["one"]


@pytest.mark.parametrize(
    ("case", "source", "error"),
    [
        ("package", "import a_package_that_does_not_exist", ImportError),
        ("name", "from ampmix.mixing import nothing_like_this", ImportError),
        ("syntax", "def broken(:", SyntaxError),
        ("raising", "undefined_name", NameError),
    ],
)
def test_a_broken_module_is_not_skipped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, source: str, error: type[Exception]
) -> None:
    modules = {"good": COMPONENT.format(cls="Good", name="good"), "bad": source}
    name = package(tmp_path, monkeypatch, f"broken_{case}", modules)
    with pytest.raises(error):
        find(name)


def test_the_first_failure_is_not_remembered_as_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"bad": "import a_package_that_does_not_exist"}
    name = package(tmp_path, monkeypatch, "broken_twice", modules)
    for _ in range(2):
        with pytest.raises(ImportError):
            find(name)
