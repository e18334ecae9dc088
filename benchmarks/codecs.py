"""Codecs: the time to encode and decode a request, an answer and a stream."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import msgspec

from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate, timed
from three_mode.messages import (
    Chunk,
    Finish,
    LLMRequest,
    LLMResponse,
    Message,
    Text,
    TextDelta,
    Usage,
    UsageUpdate,
    fold,
    from_json,
    from_msgpack,
    to_json,
    to_msgpack,
)

CALLS = 500
REQUEST = LLMRequest(
    model="agent:brain",
    messages=[Message("system", "You are brief."), Message("user", "What is the capital of France?" * 4)],
    temperature=0.0,
    max_tokens=64,
    within=5.0,
)
RESPONSE = LLMResponse(parts=(Text("Paris. " * 20),), model="brain", provider="local", usage=Usage(40, 60))
CHUNKS: list[Chunk] = [*(TextDelta(" Paris") for _ in range(100)), UsageUpdate(Usage(40, 100)), Finish()]


def subjects_for(value: LLMRequest | LLMResponse) -> dict[str, Callable[[], Any]]:
    """Subjects that encode and decode a value."""
    kind = type(value)
    tree = msgspec.to_builtins(value)
    return {
        "three-mode, msgpack": lambda: from_msgpack(kind, to_msgpack(value)),
        "three-mode, JSON": lambda: from_json(kind, to_json(value)),
        "msgpack of plain dicts, unchecked": lambda: msgpack.unpackb(msgpack.packb(tree)),
        "json of plain dicts, unchecked": lambda: json.loads(json.dumps(tree)),
    }


def pydantic_subject() -> Callable[[], Any]:
    """Subject that encodes and decodes an answer of the openai SDK."""
    from openai.types.chat import ChatCompletion

    reply = ChatCompletion.model_validate(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris. " * 20}}
            ],
            "usage": {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100},
        }
    )
    return lambda: ChatCompletion.model_validate_json(reply.model_dump_json())


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    cases = {
        "a request, there and back": subjects_for(REQUEST),
        "an answer, there and back": subjects_for(RESPONSE),
    }
    if importlib.util.find_spec("openai"):
        cases["an answer, there and back"]["pydantic (the openai SDK's ChatCompletion)"] = pydantic_subject()
    else:
        yield Missing(case="an answer, there and back", subject="pydantic", how_to_get="pip install openai")
    cases["100 chunks into an answer"] = {"three-mode, fold": lambda: fold(CHUNKS)}
    for case, subjects in cases.items():
        context.progress(case)
        samples = alternate({name: timed(work, CALLS) for name, work in subjects.items()}, context.rounds(30))
        for name, seconds in samples.items():
            yield Row(case=case, subject=name, unit="us", samples=[1e6 * s for s in seconds])


BENCHMARK = Benchmark(
    summary="a request, an answer and a stream, through the codecs",
    run=run,
    targets=[
        Target(
            case="an answer, there and back",
            subject="three-mode, msgpack",
            peer="msgpack of plain dicts, unchecked",
            at_most=1.0,
        )
    ],
    notes="Ours come back as checked, typed values; the plain ones unchecked.",
)
