"""One trace through agents, models and tools in several processes, with the names of the gen_ai conventions."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents.gen_ai_cast import Brain, Planner, Weather
from tests.support.calls.traces import Traces, attributes_of
from three_mode import Orchestrator, errors
from three_mode.agents import OrchestratorOptions
from three_mode.observe import AgentTracer

OPTIONS = OrchestratorOptions(tracer="tests.support.agents.gen_ai_cast:traced")


class Written:
    """The spans that all processes wrote to a file."""

    def __init__(self, path: Path) -> None:
        self.spans: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]

    def one(self, name: str, handler: str | None = None) -> dict[str, Any]:
        (span,) = (
            span
            for span in self.spans
            if span["name"] == name and handler in (None, span["attributes"].get("three_mode.handler"))
        )
        return span

    def path_of(self, span: dict[str, Any]) -> list[str]:
        """The names of a span's parents, from the top."""
        by_id = {each["context"]["span_id"]: each for each in self.spans}
        names = []
        while (parent := by_id.get(span["parent_id"])) is not None:
            assert parent["context"]["trace_id"] == span["context"]["trace_id"]
            span = parent
            names.append(span["name"])
        return names[::-1]


async def test_an_agents_run_is_one_trace_through_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_FILE", str(tmp_path / "spans"))
    async with Orchestrator(hosts=3, options=OPTIONS) as orc:
        planners = await orc.spawn(Planner, name="planner")
        await orc.spawn(Weather, name="weather")
        await orc.spawn(Brain, name="brain")
        assert await planners.ask(Planner.plan, "and the weather?") == "it rains"
    written = Written(tmp_path / "spans")
    (called,) = (each for each in written.spans if each["name"] == "invoke_agent weather")
    assert written.path_of(called) == ["invoke_agent planner", "execute_tool of"]
    assert called["attributes"]["gen_ai.operation.name"] == "invoke_agent"
    assert called["attributes"]["gen_ai.agent.name"] == "weather"
    assert called["attributes"]["three_mode.agent"] == "weather/0"
    assert called["kind"] == "SpanKind.INTERNAL"
    rounds = [each for each in written.spans if each["name"] == "chat brain/0"]
    asked = [each for each in written.spans if each["name"] == "invoke_agent brain"]
    assert len(rounds) == len(asked) == 2
    assert all(written.path_of(each) == ["invoke_agent planner"] for each in rounds)
    assert all(written.path_of(each) == ["invoke_agent planner", "chat brain/0"] for each in asked)
    assert len({each["context"]["trace_id"] for each in written.spans}) == 1
    assert "Bern" not in (tmp_path / "spans").read_text(), "arguments are content"


async def test_asks_and_streams_invoke_agents_and_broadcasts_are_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_FILE", str(tmp_path / "spans"))
    async with Orchestrator(hosts=2, options=OPTIONS) as orc:
        planners = await orc.spawn(Planner, name="planner")
        weather = await orc.spawn(Weather, name="weather")
        assert await planners.ask(Planner.ask, "Rome") == ["rain in Rome"] * 2
        assert (await orc.broadcast("news.eu", {}).settled(1.0)).seen == 1
        await weather.tell(Weather.of, "Oslo")
        with pytest.raises(errors.ThreeModeError):
            await weather.ask(Weather.of, "nowhere")
    written = Written(tmp_path / "spans")
    assert written.path_of(written.one("invoke_agent weather", "hours")) == ["invoke_agent planner"]
    answered, failed = (
        each
        for each in written.spans
        if each["attributes"].get("three_mode.handler") == "of" and "invoke" in each["name"]
    )
    assert written.path_of(answered) == ["invoke_agent planner"]
    assert failed["attributes"]["error.type"] == "ValueError"
    assert "nowhere" not in json.dumps(failed)
    assert written.one("process weather.of")["attributes"]["messaging.operation.type"] == "process"
    assert written.one("process weather.read")


async def test_a_program_that_calls_an_agent_as_a_model_is_at_the_top_of_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_FILE", str(tmp_path / "spans"))
    async with Orchestrator(hosts=1, options=OPTIONS) as orc:
        await orc.spawn(Brain, name="brain")
        assert await orc.llm.ask("and?", model="agent:brain/0") == "it rains"
        await orc.llm.embed("agent:brain/0", "a")
    written = Written(tmp_path / "spans")
    asked = written.one("invoke_agent brain", "chat_completion")
    assert written.path_of(asked) == ["chat brain/0"]
    assert written.path_of(written.one("invoke_agent brain", "embed")) == ["embeddings brain/0"]


def test_an_invocation_is_measured_and_a_reader_that_leaves_is_no_failure() -> None:
    traces = Traces()
    tracer = AgentTracer(traces.provider, traces.meters)
    with tracer.invoking("scout/7", "score", "", "orchestrator"):
        pass
    with pytest.raises(GeneratorExit), tracer.invoking("scout/8", "explain", "", "orchestrator"):
        raise GeneratorExit
    with pytest.raises(KeyError), tracer.invoking("scout/9", "score", "", "orchestrator"):
        raise KeyError("what was said")
    assert [span.name for span in traces.spans()] == ["invoke_agent scout"] * 3
    assert [attributes_of(span).get("error.type") for span in traces.spans()] == [None, None, "KeyError"]
    assert "what was said" not in str([span.to_json() for span in traces.spans()])
    points = traces.points()["gen_ai.invoke_agent.duration"]
    assert sorted((point.count, (point.attributes or {}).get("error.type", "")) for point in points) == [
        (1, "KeyError"),
        (2, ""),
    ]
