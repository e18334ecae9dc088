"""Handlers that say that they are tools, and how a host and a bus describe them."""

from types import SimpleNamespace
from typing import Any

from tests.support.mcp.cast import Weather
from three_mode import Agent, handler, on
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.runtime.tool_reports import tool_reports
from three_mode.mcp.client.content import content_of
from three_mode.messages import Image, Text
from three_mode.serve.surfaces.mcp.content import answer_of


class Odd(Agent):
    @handler(tool=True)
    async def takes_what_no_model_gives(self, value: complex) -> None: ...

    @handler(tool=True, concurrent=3, idempotent=True)
    @on("news.*")
    async def listens(self, item: dict[str, Any]) -> None: ...


class Heir(Weather):
    async def forecast(self, city: str) -> str:  # type: ignore[override]
        """Another one."""
        return city


def actor(kind: type, group: str) -> Any:
    return SimpleNamespace(group=group, specs=specs_of(kind))


def test_one_report_for_a_group_and_handler() -> None:
    reports = tool_reports([actor(Weather, "weather"), actor(Weather, "weather"), actor(Heir, "heir")])
    names = [(report.group, report.handler) for report in reports]
    assert len(names) == len(set(names)) == 16
    found = {(report.group, report.handler): report for report in reports}
    assert found["weather", "tale"].streams
    assert found["heir", "forecast"].description == "Another one."
    assert list(found["heir", "forecast"].schema["properties"]) == ["city"]
    assert ("weather", "secret") not in found


def test_a_tool_that_no_model_can_call_says_why() -> None:
    reports = {report.handler: report for report in tool_reports([actor(Odd, "odd")])}
    assert "a model cannot give these arguments" in reports["takes_what_no_model_gives"].problem
    assert not reports["listens"].problem


def test_the_flag_stands_beside_the_others() -> None:
    options = specs_of(Odd)["listens"].options
    assert (options.tool, options.concurrent, options.idempotent) == (True, 3, True)
    assert [topic.pattern for topic in options.topics] == ["news.*"]
    assert not specs_of(Weather)["secret"].options.tool


def test_results_as_content() -> None:
    assert answer_of("text").content == [{"type": "text", "text": "text"}]
    assert answer_of({"a": 1}).structured is not None
    assert answer_of([1, {2}]).content == [{"type": "text", "text": "[1,[2]]"}]
    assert answer_of(None).content == []
    image = {"type": "image", "data": b"\x89PNG", "mime": "image/png"}
    (block,) = answer_of(image).content
    assert block == {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}
    assert answer_of({"type": "image", "data": 3}).content[0]["type"] == "text"
    assert answer_of({"type": "image", "url": "ftp://x"}).content[0]["type"] == "text"
    assert answer_of(["\ud800"]).is_error


def test_content_as_what_a_model_reads() -> None:
    def read(*blocks: dict[str, Any]) -> Any:
        return content_of({"content": list(blocks)})

    assert read({"type": "text", "text": "a"}, {"type": "text", "text": "b"}) == "a\nb"
    assert read() == ""
    assert content_of({"structuredContent": {"a": 1}}) == {"a": 1}
    picture = {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}
    assert read(picture) == [Image(data=b"\x89PNG", mime="image/png")]
    assert read(picture | {"data": "?"}) == "[an image that cannot be read]"
    assert read(picture, {"type": "text", "text": "a"})[1] == Text("a")
    assert read({"type": "audio", "data": "", "mimeType": "audio/wav"}) == "[audio: audio/wav]"
    assert read({"type": "resource_link", "name": "plan", "uri": "file:///plan"}) == "[plan: file:///plan]"
    assert read({"type": "resource", "resource": {"uri": "u", "text": "words"}}) == "words"
    assert read({"type": "resource", "resource": {"uri": "u", "blob": "AA=="}}) == "[data: u]"
    assert read({"type": "of-tomorrow"}) == "[of-tomorrow: of no kind that a model reads]"
