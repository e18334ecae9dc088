"""What `/mcp` holds of its bus, and lets go when the endpoint ends."""

from typing import Any

import httpx
import pytest

from tests.support.agents.until import until
from tests.support.mcp.cast import Weather
from tests.support.mcp.served import weather
from tests.support.serve.endpoint import free_port
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.surfaces.mcp.bus_tools import BusTools

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


async def test_an_endpoint_that_ends_watches_its_bus_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    heard = BusTools._changed

    def changed(tools: BusTools, change: Any) -> None:
        told.append(change)
        heard(tools, change)

    monkeypatch.setattr(BusTools, "_changed", changed)
    port = free_port()
    async with weather() as orc:
        app = App(Connected(orc.llm, orc.bus), ServeOptions(port=port), agents=orc)
        async with serve(app), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            said = await http.post("/mcp", json=LIST)
            assert [tool["name"] for tool in said.json()["result"]["tools"]]
            await orc.spawn(Weather, name="more")
            await until(lambda: bool(told))
        told.clear()
        seen: list[Any] = []
        watch = orc.bus.watch(seen.append)  # it is told after those that came before it
        await orc.spawn(Weather, name="others")
        await until(lambda: bool(seen))
        watch.close()
        assert not told
