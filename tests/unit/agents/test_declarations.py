"""What decorators and type hints say, and what a call that does not fit gets."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from three_mode.agents import Agent, handler, on
from three_mode.agents.handlers.codec import encode
from three_mode.agents.handlers.declare import HandlerKind as Kind
from three_mode.agents.handlers.declare import spec_of, specs_of
from three_mode.agents.runtime.broadcast import check_listener
from three_mode.errors import BadCall, ConfigurationError


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


class Worker(Agent):
    @handler
    async def score(self, text: str, weight: float = 1.0) -> float:
        return len(text) * weight

    @handler
    def place(self, point: Point, where: Path, colour: Colour = Colour.RED) -> Point:
        return point

    @handler(concurrent=4, idempotent=True)
    async def many(self, *, number: int, label: str = "x") -> int:
        return number

    @handler
    async def parts(self, text: str) -> Any:
        yield text

    @on("news.*")
    @on("alarm.>", delivery="reliable", replay=3)
    def read(self, item: dict[str, Any]) -> None: ...

    def helper(self) -> None: ...


class Better(Worker):
    async def score(self, text: str, weight: float = 2.0) -> float:
        return weight


def call(name: str, *given: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    schema = specs_of(Worker)[name].schema
    return schema.decode_call("worker/0", name, schema.encode_call("worker/0", name, given, named))


def test_a_class_has_the_handlers_it_declares_and_no_others() -> None:
    specs = specs_of(Worker)
    assert {name: spec.kind for name, spec in specs.items()} == {
        "score": Kind.COROUTINE,
        "place": Kind.PLAIN,
        "many": Kind.COROUTINE,
        "parts": Kind.STREAM,
        "read": Kind.PLAIN,
    }
    assert specs["many"].options.concurrent == 4
    assert specs["many"].options.idempotent
    assert [topic.pattern for topic in specs["read"].options.topics] == ["alarm.>", "news.*"]
    assert specs["read"].options.topics[0].delivery == "reliable"


def test_an_override_without_a_decorator_stays_a_handler() -> None:
    assert specs_of(Better)["score"].function is Better.score
    assert spec_of(Worker.score).name == "score"


def test_arguments_travel_by_order_by_name_and_by_hint() -> None:
    assert call("score", "hello") == (("hello", 1.0), {})
    assert call("score", weight=2, text="hello") == (("hello", 2.0), {})
    assert call("place", Point(1, 2), Path("/srv/x"), Colour.RED) == (
        (Point(1, 2), Path("/srv/x"), Colour.RED),
        {},
    )
    assert call("many", number=3) == ((), {"number": 3, "label": "x"})
    assert call("place", point={"x": 1}, where="a/b")[0][:2] == (Point(1, 0), Path("a/b"))


@pytest.mark.parametrize(
    ("given", "named", "argument", "said"),
    [
        ((), {}, "text", "is missing"),
        (("a", 1.0, 2), {}, None, "takes 2 arguments, not 3"),
        (("a",), {"wait": 1}, "wait", "is no parameter"),
        (("a",), {"text": "b"}, "text", "given twice"),
        ((object(),), {}, "text", "cannot be sent"),
        (("a", {1: object()}), {}, "weight", "cannot be sent"),
    ],
)
def test_a_call_that_cannot_fit_is_refused_by_the_caller(
    given: tuple[Any, ...], named: dict[str, Any], argument: str | None, said: str
) -> None:
    with pytest.raises(BadCall, match=said) as caught:
        specs_of(Worker)["score"].schema.encode_call("worker/7", "score", given, named)
    assert (caught.value.agent, caught.value.handler, caught.value.argument) == (
        "worker/7",
        "score",
        argument,
    )


@pytest.mark.parametrize(
    ("name", "raw", "argument", "said"),
    [
        ("score", encode([5]), "text", "expected str, got int"),
        ("score", encode({"text": "a", "weight": "heavy"}), "weight", "expected float, got str"),
        ("score", encode({"weight": 1.0}), "text", "is missing"),
        ("score", encode([]), None, "takes 1 to 2 arguments"),
        ("score", encode(["a", 1.0, 2.0]), None, "takes 1 to 2 arguments"),
        ("score", encode({"text": "a", "loud": True}), None, "loud"),
        ("place", encode([{"x": "one"}, "a"]), "point", "expected int, got str at .x"),
        ("place", encode([{"x": 1}, 7]), "where", "got int"),
        ("place", encode([{"x": 1}, "a", "blue"]), "colour", "blue"),
        ("score", b"\xc1", None, "cannot be read"),
        ("score", b"", None, "cannot be read"),
    ],
)
def test_a_call_that_does_not_fit_names_agent_handler_argument_and_what_was_expected(
    name: str, raw: bytes, argument: str | None, said: str
) -> None:
    with pytest.raises(BadCall) as caught:
        specs_of(Worker)[name].schema.decode_call("worker/7", name, raw)
    assert said in str(caught.value)
    assert f"worker/7.{name}" in str(caught.value)
    assert caught.value.argument == argument


def test_declarations_that_cannot_work_say_so_and_what_to_do() -> None:
    class Wrong(Agent):
        @handler
        async def open(self, *everything: int) -> None: ...

        @handler
        async def late(self, within: float) -> None: ...

        @on("news")
        def two(self, first: int, second: int) -> None: ...

        @on("news")
        async def flow(self, item: int) -> Any:
            yield item

    with pytest.raises(ConfigurationError, match=r"\*everything.*list them"):
        _ = specs_of(Wrong)["open"].schema
    with pytest.raises(ConfigurationError, match=r"'within'.*rename"):
        _ = specs_of(Wrong)["late"].schema
    with pytest.raises(ConfigurationError, match="takes one argument"):
        check_listener(specs_of(Wrong)["two"])
    with pytest.raises(ConfigurationError, match="streams"):
        check_listener(specs_of(Wrong)["flow"])
    with pytest.raises(ConfigurationError, match="async def numbers"):

        @handler
        def numbers(self: Any) -> Any:
            yield 1

    with pytest.raises(ConfigurationError, match="at least 1"):
        handler(concurrent=0)
    with pytest.raises(ConfigurationError, match="lossy, latest or reliable"):
        on("news", delivery="sometimes")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no handler"):
        spec_of(Worker.helper)


def test_a_hint_that_is_no_data_is_an_error_at_the_call() -> None:
    class Odd(Agent):
        @handler
        def take(self, thing: complex | None) -> None: ...

    schema = specs_of(Odd)["take"].schema
    with pytest.raises(BadCall, match="complex"):
        schema.decode_call("odd/0", "take", encode(["1"]))


def test_an_agent_made_by_hand_says_that_it_is_on_no_bus() -> None:
    with pytest.raises(ConfigurationError, match=r"Orchestrator\.spawn"):
        _ = Worker().name


@pytest.mark.parametrize("pattern", ["", "a..b", "a.>.b", "a b"])
def test_a_pattern_that_is_none_is_said_at_the_spawn(pattern: str) -> None:
    class Wrong(Agent):
        @on("fine.*")
        @on(pattern)
        def hear(self, item: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"hear: .*pattern|hear: .*topic"):
        check_listener(specs_of(Wrong)["hear"])
