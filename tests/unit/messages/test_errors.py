"""One tree of errors, drawn in its docstring, that crosses process boundaries."""

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode import errors
from three_mode.errors import (
    AllProvidersFailed,
    AuthenticationError,
    BatchInterrupted,
    DeadlineExceeded,
    InvalidRequest,
    MissingExtra,
    Overloaded,
    ProviderOverloaded,
    RateLimit,
    StreamInterrupted,
    ThreeModeError,
)
from three_mode.messages import LLMResponse, Text, decode_error, encode_error, from_json, to_json

ALL = [getattr(errors, name) for name in errors.__all__]


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    (?P<lead>[│├└─ ]*)(?P<name>[A-Z]\w+) ", line)
        if not found:
            continue
        depth = len(found["lead"]) // 4
        above = above[:depth]
        if above:
            drawn[found["name"]] = above[-1][1]
        above.append((depth, found["name"]))
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL if kind is not ThreeModeError}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_copied_pickled_and_sent_as_itself(kind: type[ThreeModeError]) -> None:
    error = kind("it broke", hint="do this", retry_after=1.5)
    for same in (copy.copy(error), pickle.loads(pickle.dumps(error)), decode_error(encode_error(error))):
        assert type(same) is kind
        assert vars(same) == vars(error)
        assert str(same) == "it broke (do this)"


def test_retryable_follows_the_class_unless_somebody_knows_better() -> None:
    assert RateLimit("slow down").retryable
    assert not AuthenticationError("no").retryable
    assert not RateLimit("for ever", retryable=False).retryable


def test_builtin_exceptions_catch_ours_where_people_expect_it() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(ProviderOverloaded, Overloaded)


def test_a_missing_extra_says_what_to_install() -> None:
    assert str(MissingExtra.of("llama-cpp-python", "local")) == (
        "llama-cpp-python is not installed (pip install 'three-mode[local]')"
    )


def test_causes_and_partial_answers_travel_too() -> None:
    partial = LLMResponse(parts=(Text("half"),), provider="one")
    whole = AllProvidersFailed(
        "none answered", causes=(RateLimit("slow", provider="one"), StreamInterrupted("cut", partial=partial))
    )
    assert whole.retryable, "one of the causes may pass"
    same = decode_error(from_json(dict, to_json(encode_error(whole))))
    assert isinstance(same, AllProvidersFailed)
    assert [type(cause) for cause in same.causes] == [RateLimit, StreamInterrupted]
    assert same.causes[1].partial == partial  # type: ignore[attr-defined]


def test_what_may_be_a_lost_batch_travels_too() -> None:
    lost = BatchInterrupted("its answer was lost", job="openai/m/a", candidates=("openai/m/a,b", "openai/m/a,c"))
    same = decode_error(from_json(dict, to_json(encode_error(lost))))
    assert isinstance(same, BatchInterrupted)
    assert (same.job, same.candidates) == (lost.job, lost.candidates)


def test_a_class_we_do_not_know_becomes_the_nearest_one_we_do() -> None:
    told = encode_error(RateLimit("slow", provider="one"))
    told["kind"] = ["RateLimitOfTomorrow", *told["kind"]]
    told["fields"]["tomorrow"] = 1
    assert type(decode_error(told)) is RateLimit


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_data_that_is_no_error_is_one_all_the_same(data: object) -> None:
    assert isinstance(decode_error(data), ThreeModeError)
    assert isinstance(decode_error({"kind": data, "message": data, "fields": data}), ThreeModeError)
    assert isinstance(
        decode_error({"kind": ["AllProvidersFailed"], "message": 1, "fields": {"causes": data}}),
        ThreeModeError,
    )
