"""What may travel besides plain data: kinds that arrive as what they are, and what is refused by name."""

import datetime as dt
import decimal
import enum
import ipaddress
import subprocess
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel, Field, HttpUrl, RootModel, SecretStr

from three_mode.agents import Agent, handler
from three_mode.agents.handlers import codec
from three_mode.agents.handlers.codec import decode_any, decoder_for, encode, encode_exact
from three_mode.agents.handlers.declare import spec_of
from three_mode.agents.handlers.extensions import CODE, exact, is_open

BERLIN = ZoneInfo("Europe/Berlin")


class Spot(NamedTuple):
    x: int
    y: int


@dataclass
class Loose:
    name: str
    spot: tuple[int, int]
    rest: Any = None


@dataclass
class Unreadable:
    other: "Missing"  # noqa: F821  # as where it is imported for type checkers alone
    rest: Any = None


class Bag(TypedDict):
    content: Any


KINDS = [
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 1, 1, 12, 30, 0, 7),
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
    dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    dt.date(2026, 1, 1),
    dt.time(1, 2, 3, 4),
    dt.time(1, tzinfo=BERLIN),
    dt.timedelta(days=-1, microseconds=3),
    decimal.Decimal("1.10"),
    uuid.UUID(int=7),
    bytearray(b"ab"),
    (),
    (1, [2, (3,)]),
    {1, (2, 3)},
    frozenset({frozenset({1})}),
    {dt.date(2026, 1, 1): {1}, ("a", 1): 2},
    [1, "a", None, 2.5, b"b", {"c": [True]}],
]


@pytest.mark.parametrize("value", KINDS, ids=repr)
def test_a_value_without_a_hint_arrives_as_it_went(value: Any) -> None:
    came = decode_any(encode_exact(value))
    assert came == value
    assert type(came) is type(value)
    assert getattr(came, "tzinfo", None) == getattr(value, "tzinfo", None)
    assert getattr(came, "fold", 0) == getattr(value, "fold", 0)


def test_plain_values_are_not_touched() -> None:
    for value in (None, 1, "a", b"b", 2.5, {"a": 1}, [1, 2], {"a": {"b": [1, 2, {"c": 3}]}}):
        assert encode_exact(value) == msgspec.msgpack.encode(value)
    flat = {"id": 1, "text": "x"}
    assert exact(flat) is flat


def test_subclasses_and_dataclasses_are_marked_where_no_hint_speaks() -> None:
    assert decode_any(encode_exact(Spot(1, 2))) == (1, 2)
    assert decode_any(encode_exact(OrderedDict(a=(1,)))) == {"a": (1,)}
    assert decode_any(encode_exact([Unreadable(1, 2)])) == [{"other": 1, "rest": 2}]
    assert decode_any(encode_exact([Loose("a", (1, 2), {3})])) == [{"name": "a", "spot": [1, 2], "rest": {3}}]


@pytest.mark.parametrize(
    ("hint", "is_it"),
    [
        (Any, True),
        (object, True),
        (dict, True),
        (list[Any], True),
        (dict[str, Any] | None, True),
        (Loose, True),
        (Bag, True),
        (int, False),
        (tuple[int, ...], False),
        (list[dict[str, int]], False),
        (dt.datetime, False),
        (type(None), False),
        (Literal["a", "b"], False),
        (Annotated[int, np.zeros(2)], False),
        (Annotated[Any, "said"], True),
        ("Missing", False),
    ],
)
def test_hints_that_leave_the_type_to_the_value(hint: Any, is_it: bool) -> None:
    assert is_open(hint) is is_it


class Taker(Agent):
    @handler
    def text(self, text: str, count: int) -> str: ...

    @handler
    def loose(self, name: str, value: Any) -> Any: ...


def test_hinted_arguments_go_straight_to_the_encoder() -> None:
    assert spec_of(Taker.text).schema.encode_args is codec.encode
    assert spec_of(Taker.loose).schema.encode_args is not codec.encode


def test_what_arrives_damaged_is_an_error_with_its_kind() -> None:
    for content in (("decimal", "abc"), ("datetime", "x"), ("ndarray", ["|O", [1], b"12345678"]), ("cat", 1)):
        raw = encode([msgspec.msgpack.Ext(CODE, encode(content))])
        with pytest.raises(ValueError, match=content[0]):
            decode_any(raw)


def test_a_value_without_an_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(codec.UNENCODABLE):
        encode_exact(endless)


# numpy ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::3],
        np.array(["a", "bc"]),
        np.array(["2026-01-01"], dtype="M8[s]"),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8", (2,))]),
        np.array(True),
        np.zeros((0, 2), dtype=np.complex64),
    ],
    ids=lambda array: str(array.dtype),
)
def test_an_array_arrives_with_its_dtype_and_shape(array: np.ndarray) -> None:
    came = decode_any(encode_exact({"a": array}))["a"]
    assert came.dtype == array.dtype
    assert came.shape == array.shape
    assert came.flags.writeable
    np.testing.assert_array_equal(came, array)


def test_numbers_of_numpy_arrive_as_numbers_or_as_the_hint_says() -> None:
    for value, plain in ((np.float32(0.5), 0.5), (np.int8(3), 3), (np.bool_(True), True), (np.str_("a"), "a")):
        came = decode_any(encode_exact([value]))[0]
        assert came == plain
        assert type(came) is type(plain)
    assert decoder_for(np.float32)(encode(0.5)) == np.float32(0.5)
    for wrong in (300, 1.5, "1", True):
        with pytest.raises(msgspec.ValidationError):
            decoder_for(np.int8)(encode(wrong))


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.ma.masked_array([1], [True]), np.complex64(1), np.datetime64("2026-01-01")],
    ids=lambda value: type(value).__name__,
)
def test_what_numpy_has_besides_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="send"):
        encode_exact(value)


def test_the_hint_of_an_array_names_its_dtype() -> None:
    decode = decoder_for(NDArray[np.floating])
    assert decode(encode(np.ones(2, dtype=np.float32))).dtype == np.float32
    with pytest.raises(msgspec.ValidationError, match="ndarray of floating"):
        decode(encode(np.ones(2, dtype=np.int32)))
    with pytest.raises(msgspec.ValidationError, match="Expected `ndarray`, got `list`"):
        decode(encode([1.0]))


# pydantic -------------------------------------------------------------------------------------------------------------
class Inner(BaseModel):
    when: dt.datetime
    ids: frozenset[uuid.UUID] = frozenset()


class Outer(BaseModel, strict=True):
    a: Inner = Field(alias="b")
    b: tuple[int, ...] = Field(alias="c", serialization_alias="d")
    data: bytes = b"\xff"


class Colour(enum.Enum):
    RED = "red"


class Nut(BaseModel, frozen=True):
    size: int


class Many(BaseModel, extra="allow"):
    """One field of each kind that pydantic itself makes of something else."""

    url: HttpUrl = HttpUrl("http://a.example/b")
    address: ipaddress.IPv4Address = ipaddress.IPv4Address("127.0.0.1")
    colour: Colour = Colour.RED
    home: Path = Path("/home")
    price: decimal.Decimal = decimal.Decimal("1.10")
    pairs: dict[tuple[int, int], str] = {(1, 2): "a"}
    nuts: set[Nut] = {Nut(size=1)}
    either: Nut | int = 3
    rest: Any = (1, {2})
    hidden: str = Field(default="kept", exclude=True)


class Secret(BaseModel):
    key: SecretStr


class Names(RootModel[list[str]]):
    pass


def test_a_model_arrives_equal_whatever_its_aliases_and_strictness() -> None:
    inner = Inner(when=dt.datetime(2026, 1, 1), ids=frozenset({uuid.UUID(int=1)}))
    model = Outer(b=inner, c=(1, 2))
    assert decoder_for(Outer)(encode(model)) == model
    assert decoder_for(list[Outer | None])(encode([model, None])) == [model, None]
    assert decoder_for(Names)(encode(Names(["a"]))) == Names(["a"])
    many = Many(more=dt.date(2026, 1, 1))
    assert decoder_for(Many)(encode(many)) == many
    assert decode_any(encode(model)) == {
        "a": {"when": inner.when, "ids": inner.ids},
        "b": (1, 2),
        "data": b"\xff",
    }


def test_a_secret_is_refused_and_not_hidden() -> None:
    with pytest.raises(TypeError, match="SecretStr is no data"):
        encode(Secret(key=SecretStr("s")))


def test_a_model_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Inner: when: Input should be a valid datetime"):
        decoder_for(list[Inner])(encode([{"when": "soon"}]))


# neither --------------------------------------------------------------------------------------------------------------
_WITHOUT = """
import sys
from typing import Any
from three_mode.agents import Agent, AgentRef, handler
from three_mode.agents.handlers.codec import decode_any, decoder_for, encode_exact
from three_mode.agents.handlers.declare import spec_of
from three_mode.messages import LLMRequest, ResponseFormat

class Taker(Agent):
    @handler
    def take(self, text: str, item: Any, peer: AgentRef) -> dict: ...

schema = spec_of(Taker.take).schema
peer = AgentRef("taker/1", None)
schema.decode_call("t/0", "take", schema.encode_call("t/0", "take", ("a", {"b": (1, {2})}, peer), {}))
decode_any(encode_exact([1, {"a": 2}]))
ResponseFormat.of(list[int])
try:
    encode_exact(object())
except TypeError:
    pass
found = {"numpy", "pydantic"} & sys.modules.keys()
assert not found, found
try:
    decode_any(bytes.fromhex(sys.argv[1]))
except ValueError as error:
    print(error)
assert "numpy" not in sys.modules
"""


def test_neither_is_imported_where_the_program_has_not_imported_it() -> None:
    array = encode_exact(np.ones(2)).hex()
    ran = subprocess.run([sys.executable, "-c", _WITHOUT, array], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "numpy is not imported in this process" in ran.stdout
