"""Schema and decoding of a tool's arguments: a model is asked for what the signature says, and held to it."""

import dataclasses
import enum
import functools
import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.errors import ConfigurationError
from three_mode.tools import UnfitArguments
from three_mode.tools.arguments import ArgumentSchema
from three_mode.tools.docstrings import read_docstring


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Spot:
    x: int
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


class Options(TypedDict, total=False):
    deep: bool
    depth: int


class Pair(NamedTuple):
    a: int
    b: str


class Inner(pydantic.BaseModel):
    size: int = pydantic.Field(ge=0, description="how large")


class Order(pydantic.BaseModel):
    name: str
    parts: list[Inner] = []


def of_all_kinds(
    spot: Spot,
    kind: Literal["a", "b"],
    colour: Colour = Colour.RED,
    options: Options | None = None,
    counts: dict[str, int] = {},  # noqa: B006
    pairs: list[Pair] = [],  # noqa: B006
    day: date | None = None,
    where: Path = Path("."),
    many: Annotated[list[int], msgspec.Meta(max_length=3)] = [1],  # noqa: B006
    either: int | str | None = None,
) -> None: ...


def test_every_kind_of_argument_has_a_schema() -> None:
    schema = ArgumentSchema.of(of_all_kinds).schema
    properties = schema["properties"]
    assert schema["type"] == "object"
    assert schema["required"] == ["spot", "kind"]
    assert schema["additionalProperties"] is False
    assert properties["spot"] == {"$ref": "#/$defs/Spot"}
    assert schema["$defs"]["Spot"]["required"] == ["x"]
    assert schema["$defs"]["Colour"]["enum"] == ["blue", "red"]
    assert properties["kind"]["enum"] == ["a", "b"]
    assert properties["colour"]["default"] == "red"
    assert properties["counts"]["additionalProperties"] == {"type": "integer"}
    assert properties["many"] == {"type": "array", "items": {"type": "integer"}, "maxItems": 3, "default": [1]}
    assert properties["where"]["type"] == "string"
    assert {choice["type"] for choice in properties["either"]["anyOf"]} == {"integer", "string", "null"}
    json.dumps(schema)


def test_every_kind_of_argument_is_decoded() -> None:
    decoded = ArgumentSchema.of(of_all_kinds).decode(
        {
            "spot": {"x": "3", "tags": ["t"]},
            "kind": "b",
            "colour": "blue",
            "options": {"deep": "true"},
            "pairs": [[1, "b"]],
            "day": "2026-11-30",
            "where": "/tmp/x",
        }
    )
    assert decoded["spot"] == Spot(3, 0.0, ["t"])
    assert decoded["colour"] is Colour.BLUE
    assert decoded["options"] == {"deep": True}
    assert decoded["pairs"] == [Pair(1, "b")]
    assert decoded["day"] == date(2026, 11, 30)
    assert decoded["where"] == Path("/tmp/x")
    assert decoded["many"] == [1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "a"}, "spot"),
        ({"spot": {"x": 1}, "kind": "c"}, "kind"),
        ({"spot": {"x": "many"}, "kind": "a"}, "spot.x"),
        ({"spot": {"x": 1}, "kind": "a", "more": 1}, "more"),
        ({"spot": {"x": 1}, "kind": "a", "many": [1, 2, 3, 4]}, "many"),
        ({"spot": [], "kind": "a"}, "spot"),
        ({"spot": {"x": 1}, "kind": "a", "where": 3}, "where"),
    ],
)
def test_what_does_not_fit_names_its_place(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UnfitArguments, match=words):
        ArgumentSchema.of(of_all_kinds).decode(arguments)


def test_models_of_pydantic_are_arguments() -> None:
    def order(order: Order, backup: Order | None = None) -> None: ...

    arguments = ArgumentSchema.of(order)
    text = json.dumps(arguments.schema)
    assert "#/$defs/Inner" in text
    assert arguments.schema["$defs"]["Inner"]["properties"]["size"]["minimum"] == 0
    assert arguments.decode({"order": {"name": "n", "parts": [{"size": 2}]}})["order"] == Order(
        name="n", parts=[Inner(size=2)]
    )
    with pytest.raises(UnfitArguments, match="size"):
        arguments.decode({"order": {"name": "n", "parts": [{"size": -1}]}})


def test_pydantic_is_not_imported_for_those_who_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")

    def plain(x: int) -> None: ...

    assert ArgumentSchema.of(plain).decode({"x": 1}) == {"x": 1}
    assert "pydantic" not in sys.modules


def test_words_come_from_the_docstring_and_from_annotations() -> None:
    def search(query: str, limit: Annotated[int, "most results"] = 3, deep: bool = False, sort: str = "a") -> None:
        """Searches the web.

        Quickly.

        Args:
            query (str): what to look for,
                in any language
            deep: whether to follow links

        Returns:
            The results.

        Raises:
            ValueError: never
        """

    arguments = ArgumentSchema.of(search)
    properties = arguments.schema["properties"]
    assert properties["query"]["description"] == "what to look for, in any language"
    assert properties["limit"]["description"] == "most results"
    assert properties["deep"]["description"] == "whether to follow links"
    assert "description" not in properties["sort"]
    assert arguments.description.startswith("Searches the web.\n\nQuickly.")
    assert "ValueError" not in arguments.description
    assert "follow links" not in arguments.description


def test_restructured_text_is_read_too() -> None:
    def search(query: str) -> None:
        """Searches.

        :param str query: what to look for
        :returns: nothing
        """

    assert read_docstring(search, {"query"}) == ("Searches.", {"query": "what to look for"})


def test_a_partial_a_method_and_a_callable_object_have_their_own_parameters() -> None:
    class Shop:
        def buy(self, what: str, count: int = 1) -> None: ...

        def __call__(self, item: str) -> None: ...

    assert list(ArgumentSchema.of(Shop().buy).schema["properties"]) == ["what", "count"]
    assert list(ArgumentSchema.of(Shop.buy, method=True).schema["properties"]) == ["what", "count"]
    assert list(ArgumentSchema.of(Shop()).schema["properties"]) == ["item"]
    fixed = ArgumentSchema.of(functools.partial(Shop().buy, count=3))
    assert fixed.decode({"what": "tea"}) == {"what": "tea", "count": 3}


def test_a_default_that_json_cannot_hold_is_still_a_default() -> None:
    nothing = object()

    def f(x: int = nothing) -> None: ...  # type: ignore[assignment]

    assert "default" not in ArgumentSchema.of(f).schema["properties"]["x"]
    assert ArgumentSchema.of(f).decode({})["x"] is nothing


class Unknown: ...


def untyped(x) -> None: ...  # type: ignore[no-untyped-def]
def several(*xs: int) -> None: ...
def named(**xs: int) -> None: ...
def by_order(x: int, /) -> None: ...
def unknown(x: Unknown) -> None: ...
def ambiguous(x: Spot | Options) -> None: ...
def missing(x: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [untyped, several, named, by_order, unknown, ambiguous, missing])
def test_a_signature_that_no_model_can_fill_is_an_error_at_once(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=function.__name__):
        ArgumentSchema.of(function)


LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**62), 2**62)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, st.text()),
    (Colour, st.sampled_from(Colour)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Spot, st.builds(Spot, st.integers(-9, 9), st.floats(-1, 1), st.lists(st.text(), max_size=2))),
    (Options, st.fixed_dictionaries({}, optional={"deep": st.booleans(), "depth": st.integers(0, 9)})),
    (Inner, st.builds(Inner, size=st.integers(0, 99))),
]


def nested(kind: tuple[Any, st.SearchStrategy[Any]], depth: int) -> st.SearchStrategy[tuple[Any, Any]]:
    hint, values = kind
    choices: list[tuple[Any, st.SearchStrategy[Any]]] = [(hint, values), (hint | None, st.none() | values)]
    if depth:
        choices += [
            (list[hint], st.lists(values, max_size=3)),
            (dict[str, hint], st.dictionaries(st.text(), values, max_size=3)),
            (tuple[hint, int], st.tuples(values, st.integers(0, 9))),
        ]
    return st.sampled_from(choices).flatmap(
        lambda chosen: nested(chosen, depth - 1) if depth else st.tuples(st.just(chosen[0]), chosen[1])
    )


def function_of(hints: dict[str, Any]) -> Callable[..., Any]:
    """A function with these parameters, as somebody would write it."""
    namespace: dict[str, Any] = {}
    exec(f"def made({', '.join(hints)}): ...", namespace)
    made: Callable[..., Any] = namespace["made"]
    made.__annotations__ = dict(hints)
    return made


def plain(value: Any) -> Any:
    return msgspec.json.decode(
        msgspec.json.encode(value, enc_hook=lambda model: model.model_dump(mode="json")), strict=True
    )


@given(st.lists(st.sampled_from(LEAVES).flatmap(lambda leaf: nested(leaf, 2)), min_size=1, max_size=3))
def test_what_a_model_writes_by_the_schema_is_what_the_function_gets(pairs: list[tuple[Any, Any]]) -> None:
    arguments = ArgumentSchema.of(function_of({f"p{number}": hint for number, (hint, _) in enumerate(pairs)}))
    values = {f"p{number}": value for number, (_, value) in enumerate(pairs)}
    assert set(arguments.schema["properties"]) == set(values)
    json.dumps(arguments.schema)
    assert arguments.decode(plain(values)) == values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["spot", "kind", "colour", "options", "counts", "pairs", "day", "where", "many", "x"])


@given(st.dictionaries(NAMES | st.text(max_size=3), JSON, max_size=6))
def test_whatever_a_model_writes_fits_or_is_refused_with_words(arguments: dict[str, Any]) -> None:
    try:
        decoded = ArgumentSchema.of(of_all_kinds).decode(arguments)
    except UnfitArguments:
        return
    assert isinstance(decoded["spot"], Spot)
    assert decoded["kind"] in ("a", "b")
