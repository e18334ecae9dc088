"""A trace id goes through every process that a call goes through."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents.agent_cast import Caller, Scout, Slow
from three_mode import Orchestrator
from three_mode.agents import OrchestratorOptions
from three_mode.agents.handlers.tracing import OpenTelemetry
from three_mode.errors import ConfigurationError, MissingExtra


async def test_one_trace_through_three_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spans"
    monkeypatch.setenv("TRACE_FILE", str(path))
    options = OrchestratorOptions(tracer="tests.support.agents.tracing:FileTracer")
    async with Orchestrator(hosts=3, options=options) as orc:
        callers = await orc.spawn(Caller, 3, name="caller")
        await orc.spawn(Scout, 2, name="scout")
        slow = await orc.spawn(Slow, name="slow")
        assert await callers[0].ask(Caller.ring, ["caller/1", "caller/2"]) == [
            "caller/0",
            "caller/1",
            "caller/2",
        ]
        assert await callers[1].ask(Caller.through, "scout/0", "a b") == ["a", "b"]
        assert (await orc.broadcast("news.eu", {}).settled(1.0)).seen == 2
        assert (await orc.broadcast("work.a", {"n": 1}).settled(1.0)).seen == 1
        assert await slow.ask(Slow.wait, 0.0) == "done"
    by_trace: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for line in path.read_text().splitlines():
        trace, *rest = line.split()
        by_trace[trace].add(tuple(rest))
    ring = next(spans for spans in by_trace.values() if any(span[2] == "ring" for span in spans))
    assert ring == {
        ("orchestrator", "caller/0", "ring"),
        ("caller/0", "caller/1", "ring"),
        ("caller/1", "caller/2", "ring"),
    }
    stream = next(spans for spans in by_trace.values() if any(span[2] == "through" for span in spans))
    assert ("caller/1", "scout/0", "explain") in stream
    read = next(spans for spans in by_trace.values() if any(span[2] == "read" for span in spans))
    assert {span[1] for span in read} == {"scout/0", "scout/1"}


async def test_opentelemetry_spans_of_other_processes_have_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    path = tmp_path / "spans"
    monkeypatch.setenv("TRACE_FILE", str(path))
    options = OrchestratorOptions(tracer="tests.support.agents.tracing:opentelemetry")
    async with Orchestrator(hosts=2, options=options) as orc:
        callers = await orc.spawn(Caller, 2, name="caller")
        assert await callers[0].ask(Caller.ring, ["caller/1"]) == ["caller/0", "caller/1"]
    spans = [json.loads(line) for line in path.read_text().splitlines()]
    by_agent = {span["attributes"]["messaging.destination.name"]: span for span in spans}
    first, second = by_agent["caller/0"], by_agent["caller/1"]
    assert second["context"]["trace_id"] == first["context"]["trace_id"]
    assert second["parent_id"] == first["context"]["span_id"]
    assert second["attributes"]["messaging.client.id"] == "caller/0"
    assert "ring" in second["name"]


async def test_a_tracer_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no_such"):
        async with Orchestrator(hosts=1, options=OrchestratorOptions(tracer="no_such:thing")):
            pass


def test_opentelemetry_is_an_extra_and_carries_the_parent() -> None:
    try:
        import opentelemetry.sdk.trace as sdk
        from opentelemetry import trace
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError:
        with pytest.raises(MissingExtra, match=r"three-mode\[otel\]"):
            OpenTelemetry()
        return
    exporter: Any = InMemorySpanExporter()
    provider: Any = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = OpenTelemetry(provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with tracer.handling("scout/7", "score", parent, "orchestrator"):
        assert trace.get_current_span().get_span_context().is_valid
        assert parent.split("-")[1] in tracer.outgoing("x/1", "y")
    (span,) = exporter.get_finished_spans()
    assert span.name == "process scout.score"
    assert format(span.context.trace_id, "032x") == parent.split("-")[1]
    assert span.attributes["messaging.destination.name"] == "scout/7"
