"""Spans and metrics of calls, as OpenTelemetry's SDK gets them: names, attributes, parents, and no content unasked."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.calls.traces import Traces, attributes_of, is_child
from tests.support.providers.servers import connected, hello, several
from three_mode import errors
from three_mode.connection import Observing
from three_mode.messages import LLMRequest, ToolCall
from three_mode.testing import Answer, Fault, Turn
from three_mode.tools import Tools

TOKENS = "gen_ai.client.inference.usage"


async def test_a_call_says_what_was_asked_who_answered_and_what_it_took() -> None:
    traces = Traces()
    async with connected(observe=traces.observing()) as (llm, server):
        request = hello(
            temperature=0.5,
            max_tokens=5,
            stop=("x",),
            extra={"frequency_penalty": 0.25},
            metadata={"conversation": "alice/1"},
            response_format="json",
        )
        reply = await llm.chat_completion(request)
    said = attributes_of(traces.named("chat m"))
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": reply.model,
        "gen_ai.response.id": reply.extra["provider_request_id"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.request.frequency_penalty": 0.25,
        "gen_ai.conversation.id": "alice/1",
        "gen_ai.output.type": "json",
        "server.address": "localhost",
        "server.port": int(server.url.rpartition(":")[2]),
    }
    assert {name: said[name] for name in expected} == expected
    assert "gen_ai.request.stream" not in said
    points = traces.points()
    (duration,) = points["gen_ai.client.inference.duration"]
    assert duration.count == 1
    assert dict(duration.attributes or {}).keys() == {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "server.address",
        "server.port",
    }
    assert duration.explicit_bounds[0] == 0.01
    (used,) = points[f"{TOKENS}.input_tokens"]
    assert (used.value, (used.attributes or {})["gen_ai.token.modality"]) == (12, "text")
    assert [point.value for point in points[f"{TOKENS}.output_tokens"]] == [3]
    assert points["gen_ai.client.inference.operation.input_tokens"][0].sum == 12
    assert "gen_ai.client.inference.time_to_first_chunk" not in points, "it is of streams alone"


async def test_a_stream_is_measured_to_its_first_chunk_and_cached_tokens_are_told() -> None:
    traces = Traces()
    async with connected(observe=traces.observing()) as (llm, server):
        server.always(Turn(cached_tokens=8, reasoning_tokens=2))
        assert await llm.stream(hello()).text() == "Hello world!"
    said = attributes_of(traces.named("chat m"))
    assert said["gen_ai.request.stream"] is True
    assert said["gen_ai.usage.cache_read.input_tokens"] == 8
    assert said["gen_ai.usage.reasoning.output_tokens"] == 2
    (first,) = traces.points()["gen_ai.client.inference.time_to_first_chunk"]
    assert first.sum == pytest.approx(said["gen_ai.response.time_to_first_chunk"])
    assert [point.value for point in traces.points()[f"{TOKENS}.cache_read.input_tokens"]] == [8]


async def test_the_time_from_each_chunk_of_a_stream_to_the_next_is_measured() -> None:
    traces = Traces()
    async with connected(observe=traces.observing()) as (llm, server):
        server.always(Turn(text=("one ", "two ", "three")))
        async with llm.stream(hello()) as stream:
            seen = [chunk async for chunk in stream if chunk.text]
        await llm.chat_completion(hello())
    (gaps,) = traces.points()["gen_ai.client.inference.time_per_output_chunk"]
    assert gaps.count == len(seen) - 1 == 2
    assert gaps.sum >= 0
    assert (gaps.attributes or {})["gen_ai.response.model"] == stream.response().model
    assert gaps.explicit_bounds[:2] == (0.01, 0.02)


async def test_what_fails_breaks_off_or_is_cancelled_says_so() -> None:
    traces = Traces()
    async with connected(observe=traces.observing(), max_retries=0) as (llm, server):
        server.next(Answer(status=429))
        with pytest.raises(errors.RateLimit):
            await llm.chat_completion(hello("refused"))
        server.next(Turn(), fault=Fault(reset_after=4))
        with pytest.raises(errors.StreamInterrupted):
            await llm.stream(hello("cut")).text()
        server.next(Turn(), fault=Fault(stall_before_head=60))
        task = asyncio.ensure_future(llm.chat_completion(hello("left")))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    refused, cut, left = (traces.named(f"chat {name}") for name in ("refused", "cut", "left"))
    assert attributes_of(refused)["error.type"] == "RateLimit"
    assert attributes_of(refused)["http.response.status_code"] == 429
    assert attributes_of(cut)["gen_ai.response.finish_reasons"] == ("error",)
    assert attributes_of(left)["error.type"] == "CancelledError"
    assert not any(span.status.is_ok for span in (refused, cut, left))
    failed = {
        (point.attributes or {})["gen_ai.request.model"]: (point.attributes or {})["error.type"]
        for point in traces.points()["gen_ai.client.inference.duration"]
    }
    assert failed["refused"] == "RateLimit"
    assert failed["left"] == "CancelledError"


async def test_after_a_fallback_the_span_names_who_answered() -> None:
    traces = Traces()
    async with several(("openai", "anthropic"), observe=traces.observing()) as (llm, servers):
        servers["openai"].always(Answer(status=500))
        await llm.chat_completion(hello())
    said = attributes_of(traces.named("chat m"))
    assert said["gen_ai.provider.name"] == "anthropic"
    assert said["server.port"] == int(servers["anthropic"].url.rpartition(":")[2])
    (point,) = traces.points()["gen_ai.client.inference.duration"]
    assert (point.attributes or {})["gen_ai.provider.name"] == "anthropic"


async def test_vectors_have_a_span_and_a_duration_of_their_own() -> None:
    traces = Traces()
    async with connected(observe=traces.observing(), max_retries=0) as (llm, server):
        embedded = await llm.embed("vectors", ["a", "b"], dimensions=4)
        server.next(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.embed("broken", ["a"])
    said = attributes_of(traces.named("embeddings vectors"))
    assert said["gen_ai.embeddings.dimension.count"] == 4
    assert said["gen_ai.usage.input_tokens"] == embedded.usage.input_tokens
    assert attributes_of(traces.named("embeddings broken"))["error.type"] == "ServerError"
    assert sum(point.count for point in traces.points()["gen_ai.client.embeddings.duration"]) == 2


async def test_bare_prompts_and_documents_in_order_have_operations_of_their_own() -> None:
    traces = Traces()
    async with connected(observe=traces.observing(), max_retries=0) as (llm, server):
        await llm.chat_completion(LLMRequest(prompt="Once", model="m"))
        await llm.rerank("ranker", "red", ["blue", "red"])
        server.next(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.rerank("broken", "red", ["blue", "red"])
    said = attributes_of(traces.named("text_completion m"))
    assert said["gen_ai.operation.name"] == "text_completion"
    assert attributes_of(traces.named("rerank ranker"))["gen_ai.usage.input_tokens"] == 12
    assert attributes_of(traces.named("rerank broken"))["error.type"] == "ServerError"
    points = traces.points()
    assert sum(point.count for point in points["gen_ai.client.operation.duration"]) == 2
    assert "gen_ai.client.embeddings.duration" not in points
    assert [point.count for point in points["gen_ai.client.inference.duration"]] == [1]


async def test_nothing_that_was_said_is_in_a_span_unless_it_is_asked_for() -> None:
    def secret_tool(word: str) -> str:
        """Gives a word back."""
        return f"result-{word}"

    async def told(**more: Any) -> tuple[Traces, str]:
        traces = Traces()
        async with connected(observe=traces.observing(**more)) as (llm, server):
            call = ToolCall("c1", "secret_tool", {"word": "argument"})
            server.next(Turn(text=(), tool_calls=(call,), finish="tool_calls"))
            server.next(Turn(text=("answer-text",)))
            messages = [{"role": "system", "content": "system-text"}, {"role": "user", "content": "user-text"}]
            await llm.run(LLMRequest(messages=messages, model="m"), [secret_tool])
            server.always(Answer(status=500))
            with pytest.raises(errors.ThreeModeError):
                await llm.chat_completion(hello())
        return traces, str([(span.name, dict(span.attributes or {}), span.events) for span in traces.spans()])

    words = ("system-text", "user-text", "answer-text", "argument", "result-argument")
    _, unasked = await told()
    assert not [word for word in words if word in unasked]
    traces, asked = await told(span_content=True)
    assert [word for word in words if word in asked] == list(words)
    first, last, *_ = (attributes_of(span) for span in traces.spans() if span.name == "chat m")
    assert json.loads(first["gen_ai.system_instructions"]) == [{"type": "text", "content": "system-text"}]
    assert json.loads(first["gen_ai.output.messages"])[0]["parts"][0]["name"] == "secret_tool"
    assert json.loads(last["gen_ai.input.messages"])[-1]["parts"] == [
        {"type": "tool_call_response", "id": "c1", "response": "result-argument"}
    ]


async def test_a_run_is_one_trace_with_its_rounds_and_its_tools() -> None:
    traces = Traces()

    async def outer(word: str) -> str:
        """Calls a model itself."""
        return (await llm.chat_completion(hello("inner"))).content

    def broken() -> str:
        """Fails."""
        raise ValueError("no such thing")

    async with connected(observe=traces.observing()) as (llm, server):
        calls = (ToolCall("c1", "outer", {"word": "x"}), ToolCall("c2", "broken"))
        server.next(Turn(text=(), tool_calls=calls, finish="tool_calls"))
        await llm.run(hello(), Tools([outer, broken]))
    run, outer_span = traces.named("invoke_agent"), traces.named("execute_tool outer")
    rounds = [span for span in traces.spans() if span.name == "chat m"]
    assert len(rounds) == 2
    assert all(is_child(span, run) for span in (*rounds, outer_span, traces.named("execute_tool broken")))
    assert is_child(traces.named("chat inner"), outer_span)
    assert run.parent is None
    said = attributes_of(outer_span)
    assert (said["gen_ai.operation.name"], said["gen_ai.tool.name"]) == ("execute_tool", "outer")
    assert (said["gen_ai.tool.call.id"], said["gen_ai.tool.type"]) == ("c1", "function")
    failed = traces.named("execute_tool broken")
    assert attributes_of(failed)["error.type"] == "ValueError"
    assert "no such thing" not in str(failed.to_json())
    assert attributes_of(run)["gen_ai.usage.input_tokens"] == 24
    tools = {
        (point.attributes or {})["gen_ai.tool.name"]: (point.attributes or {}).get("error.type")
        for point in traces.points()["gen_ai.execute_tool.duration"]
    }
    assert tools == {"outer": None, "broken": "ValueError"}
    points = traces.points()
    assert [point.count for point in points["gen_ai.invoke_agent.duration"]] == [1]
    assert [(point.count, point.sum) for point in points["gen_ai.invoke_agent.inference_calls"]] == [(1, 3)]
    assert [(point.count, point.sum) for point in points["gen_ai.invoke_agent.tool_calls"]] == [(1, 2)]


async def test_a_streamed_run_that_is_left_ends_its_spans() -> None:
    traces = Traces()
    async with connected(observe=traces.observing()) as (llm, server):
        server.next(Turn(text=(), tool_calls=(ToolCall("c1", "slow"),), finish="tool_calls"))

        async def slow() -> str:
            """Waits."""
            await asyncio.sleep(60)
            return ""

        async with llm.run_stream(hello(), [slow]) as events:
            async for event in events:
                if type(event).__name__ == "ToolStarted":
                    break
            await asyncio.sleep(0.05)
    assert attributes_of(traces.named("execute_tool slow"))["error.type"] == "CancelledError"
    assert traces.named("invoke_agent").status.is_ok, "its reader had what it wanted"


async def test_calls_are_children_of_the_programs_span() -> None:
    traces = Traces()
    async with connected(observe=traces.observing()) as (llm, _):
        with traces.tracer.start_as_current_span("mine"):
            await llm.chat_completion(hello("whole"))
            await llm.stream(hello("streamed")).text()
            await llm.embed("vectors", "a")
    mine = traces.named("mine")
    for name in ("chat whole", "chat streamed", "embeddings vectors"):
        assert is_child(traces.named(name), mine)


async def test_metrics_alone_leave_spans_to_others() -> None:
    traces = Traces()
    async with connected(observe=Observing(metrics=True, meter=traces.meter)) as (llm, server):
        server.next(Turn(text=(), tool_calls=(ToolCall("c1", "get_time"),), finish="tool_calls"))

        def get_time() -> str:
            """The time now."""
            return "12:30"

        with traces.tracer.start_as_current_span("mine"):
            await llm.run(hello(), [get_time])
    assert [span.name for span in traces.spans()] == ["mine"]
    assert not attributes_of(traces.named("mine"))
    assert {"gen_ai.client.inference.duration", "gen_ai.execute_tool.duration"} <= traces.points().keys()
