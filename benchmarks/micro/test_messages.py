"""Values of a call: construction, checks, encoding, folding."""

from typing import Any

from benchmarks.codecs import CHUNKS, REQUEST, RESPONSE
from three_mode.messages import LLMRequest, LLMResponse, fold, from_json, from_msgpack, to_json, to_msgpack


def test_make_and_check_a_request(benchmark: Any) -> None:
    made = benchmark(lambda: LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}]))
    assert made.messages[0].text == "Hello!"


def test_request_to_msgpack(benchmark: Any) -> None:
    assert from_msgpack(LLMRequest, benchmark(to_msgpack, REQUEST)) == REQUEST


def test_request_from_msgpack(benchmark: Any) -> None:
    assert benchmark(from_msgpack, LLMRequest, to_msgpack(REQUEST)) == REQUEST


def test_response_from_json(benchmark: Any) -> None:
    assert benchmark(from_json, LLMResponse, to_json(RESPONSE)) == RESPONSE


def test_fold_a_stream(benchmark: Any) -> None:
    assert benchmark(fold, CHUNKS).usage.output_tokens == 100
