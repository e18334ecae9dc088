"""Hosts that are asked for one order: what is silent or cannot be read takes nothing from the answers of the others."""

from typing import Any

import msgspec

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.supervisor.hosts import new_bus_name
from three_mode.agents.wire.orders import ToolReport
from three_mode.serve.bus_verbs import BusVerbs
from three_mode.serve.surfaces.mcp.bus_tools import BusTools
from transports.bus import Bus, DeadlineExceeded, Encoded, NoSuchName

HOSTS = ["host:good", "host:other", "host:silent", "host:gone"]


async def register(bus: Bus) -> None:
    """Takes the names of three hosts."""

    def good(request: Any) -> None:
        request.reply(Encoded(encode([ToolReport("weather", "forecast", "Says it.", {"type": "object"})])))

    await bus.register("host:good", good)
    await bus.register("host:other", lambda request: request.reply({"version": 0}))
    await bus.register("host:silent", lambda request: None)


async def test_each_host_has_its_answer_or_its_error() -> None:
    name = new_bus_name()
    async with await Bus.join(name) as hosts, await Bus.join(name) as bus:
        await register(hosts)
        await bus.wait_for("host:silent")
        answers = await host_answers(bus, [*HOSTS, "host:good"], "tools", decoder_for(list[ToolReport]), 0.5)
        assert list(answers) == HOSTS
        assert [report.handler for report in answers["host:good"]] == ["forecast"]
        assert [type(answers[host]) for host in HOSTS[1:]] == [msgspec.ValidationError, DeadlineExceeded, NoSuchName]


async def test_a_host_of_another_version_hides_no_tools() -> None:
    name = new_bus_name()
    async with await Bus.join(name) as hosts, await Bus.join(name) as bus:
        await register(hosts)
        await bus.wait_for("host:silent")
        with BusVerbs(bus) as verbs:
            tools = BusTools(verbs)
            try:
                assert [tool.name for tool in await tools.tools()] == ["weather_forecast"]
            finally:
                tools.close()
