"""A recording of real hosts over the endpoint: places, turns, states, requests, and the first divergence."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.agents.recorded import Market, Trader
from tests.support.page.opened import opened
from tests.support.page.recordings import made, write
from three_mode import Orchestrator
from three_mode.agents import OrchestratorOptions
from three_mode.errors import ConfigurationError
from three_mode.page.recordings.film import Film

PROGRAM = "tests.support.agents.recorded"
Client = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "run.rec"
    async with Orchestrator(hosts=1, options=OrchestratorOptions(record=str(path), seed=7)) as orc:
        await orc.spawn(Market, 3, name="market", start=5.0)
        traders = await orc.spawn(Trader, 2, name="trader")
        for item in ("tea", "coffee"):
            await traders[0].ask(Trader.trade, item)
    return path


async def asking(path: Path, *imports: str) -> AsyncIterator[Client]:
    async with opened(path, *imports) as address:
        where, key = address.split("/#key=")
        async with Client(base_url=where, headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            yield client


@pytest_asyncio.fixture
async def client(recording: Path) -> AsyncIterator[Client]:
    async for client in asking(recording, PROGRAM):
        yield client


def copied(path: Path, to: Path, one: bytes, other: bytes) -> Path:
    """A copy in which something is otherwise, once."""
    to.write_bytes(path.read_bytes().replace(one, other, 1))
    return to


async def get(client: Client, path: str, **asked: Any) -> Any:
    reply = await client.get(path, params=asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def indexed(client: Client) -> Any:
    while True:
        film = await get(client, "/page/replay/film")
        if film["indexed"] == film["records"]:
            return film
        await asyncio.sleep(0.05)


async def test_it_says_what_it_is(client: Client) -> None:
    film = await indexed(client)
    assert film["name"] == "run.rec"
    assert film["records"] > 60
    assert film["notes"] == []
    assert film["overview"][0] == [0, film["begin"]]
    assert film["begin"] < film["end"] < film["begin"] + 60
    about = await get(client, "/page/about")
    assert about["recording"] == "run.rec"


async def test_steps_lead_from_message_to_message_of_an_agent(client: Client) -> None:
    at, seen = -1, []
    while True:
        at = (await get(client, "/page/replay/step", at=at, agent="trader/0"))["place"]
        if at is None:
            break
        (line,) = (await get(client, "/page/replay/records", at=at, before=0, after=1))["records"]
        seen.append((line["what"], line["kind"], line["peer"], line["text"]))
    assert [each for each in seen if each[1] == "trade"] == [
        ("got", "trade", "orchestrator", '["tea"]'),
        ("got", "trade", "orchestrator", '["coffee"]'),
    ]
    film = await get(client, "/page/replay/film")
    last = film["records"] - 1
    assert (await get(client, "/page/replay/step", at=last, way="next"))["place"] is None
    assert (await get(client, "/page/replay/step", at=last, way="previous"))["place"] == last - 1
    back = (await get(client, "/page/replay/step", at=last, agent="trader/0", way="previous"))["place"]
    assert back < last
    assert (await get(client, "/page/replay/time", when=film["begin"]))["place"] == 0


async def test_a_turn_has_what_it_got_did_and_answered_and_agents_their_states(client: Client) -> None:
    film = await indexed(client)
    at = (await get(client, "/page/replay/step", at=-1, agent="trader/0"))["place"]
    turn = await get(client, "/page/replay/turn", at=at)
    assert (turn["agent"], turn["turn"], turn["got"]["content"]) == ("trader/0", 1, ["tea"])
    assert {"ask quote", "gather quote", "stream ticks", "now", "broadcast"} <= {step["kind"] for step in turn["steps"]}
    assert isinstance(turn["ended"]["content"], float)
    during = (await get(client, "/page/replay/agents", at=at))["states"]
    assert during["busy"][during["names"].index("trader/0")] == 1
    after = (await get(client, "/page/replay/agents", at=film["records"] - 1))["states"]
    assert sorted(after["names"]) == ["market/0", "market/1", "market/2", "trader/0", "trader/1"]
    assert sum(after["busy"]) == 0


async def test_a_request_is_a_tree_over_agents(client: Client) -> None:
    at = (await get(client, "/page/replay/step", at=-1, agent="market/0"))["place"]
    for by in ("time", "tokens", "cost"):
        found = await get(client, "/page/time/request", at=at, by=by)
        spans = found["tree"]["spans"]
        assert spans[0]["name"] == "trader/0"
        assert [span["name"] for span in spans].count("market/1") == 2
        assert {span.get("parent") for span in spans[1:]} == {0}
        assert len(found["boxes"]) == len(found["tree"]["sums"]) == len(spans)


async def test_a_replay_of_the_same_code_is_the_same(client: Client) -> None:
    assert (await get(client, "/page/replay/divergence"))["state"] == "none"
    assert (await client.post("/page/replay/divergence")).json()["state"] == "running"
    found = await outcome(client)
    assert (found["state"], found["place"]) == ("same", None)
    assert found["outcome"]["messages"] > 10


async def outcome(client: Client) -> Any:
    while True:
        found = await get(client, "/page/replay/divergence")
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.1)


async def test_a_replay_of_other_code_leads_to_the_place_of_the_first_divergence(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copied(recording, tmp_path / "other.rec", b"\xa6coffee", b"\xa6cacaos")  # what the second trade got
    async for client in asking(other, PROGRAM):
        await client.post("/page/replay/divergence")
        found = await outcome(client)
        assert found["state"] == "diverged", found
        (line,) = (await get(client, "/page/replay/records", at=found["place"], before=0, after=1))["records"]
        assert (line["agent"], line["kind"]) == (found["outcome"]["agent"], found["outcome"]["handler"])


async def test_no_class_is_imported_that_was_not_named(recording: Path) -> None:
    async for client in asking(recording, "tests.support.page"):
        await client.post("/page/replay/divergence")
        found = await outcome(client)
        assert found["state"] == "failed"
        assert f"--import {PROGRAM}" in found["outcome"]["failed"]
    async for client in asking(recording):
        assert (await client.post("/page/replay/divergence")).status_code == 403


async def test_a_replay_that_runs_ends_with_the_page(recording: Path) -> None:
    film = Film(recording, [PROGRAM])
    film.divergence.begin()
    await asyncio.sleep(0.2)
    await film.close()
    assert film.divergence.found.state == "running"


async def test_bad_questions_say_what_is_wrong(client: Client) -> None:
    for path, why in (
        ("/page/replay/turn?at=999999", "there is no record 999999"),
        ("/page/replay/turn?at=x", "at is a whole number"),
        ("/page/replay/records?at=-1", "there is no record -1"),
        ("/page/replay/step?way=up", "way is next or previous"),
        ("/page/replay/time", "when is a time"),
        ("/page/time/request?at=0", "belongs to no request"),
        ("/page/time/request?at=0&by=luck", "time, tokens, cost"),
    ):
        reply = await client.get(path)
        assert (reply.status_code, why in reply.text) == (400, True), reply.text
    assert (await client.get("/page/replay/nothing")).status_code == 404
    assert (await client.get("/page/replay/film", headers={"authorization": "Bearer x"})).status_code == 401


async def test_what_is_said_within_is_data_and_a_damaged_end_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.rec", [made("<img src=x onerror=alert(1)>")])
    path.write_bytes(path.read_bytes() + b"\xff" * 8)
    async for client in asking(path):
        film = await get(client, "/page/replay/film")
        assert "cannot be" in film["notes"][0]
        (line,) = (await get(client, "/page/replay/records", at=0))["records"]
        assert line["agent"] == "<img src=x onerror=alert(1)>"


async def test_the_command_opens_a_recording_and_refuses_what_is_none(recording: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "three_mode.cli", "watch", "--no-open"]
    child = await asyncio.create_subprocess_exec(*command, str(recording), stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        address = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().strip()
        where, key = address.split("/#key=")
        async with Client(headers={"x-api-key": key}, timeout=30) as client:
            assert (await get(client, f"{where}/page/replay/film"))["name"] == "run.rec"
    finally:
        child.terminate()
        await child.wait()
    bad = tmp_path / "bad.rec"
    bad.write_text("hello")
    child = await asyncio.create_subprocess_exec(*command, str(bad), stderr=asyncio.subprocess.PIPE)
    _, said = await child.communicate()
    assert child.returncode == 1
    assert b"no recording" in said


async def test_a_bus_has_no_recording_to_show(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be shown"):
        Film(tmp_path / "missing.rec")
