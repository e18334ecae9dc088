"""A run is recorded through real hosts, and replayed into fresh agents: the same, or the first divergence."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agents import recorded as agent_recorded
from tests.support.agents.recorded import Busy, Market, Thinker, Trader
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, OrchestratorOptions
from three_mode.agents.recording.events import Did, Ended, Got, Made
from three_mode.agents.recording.replay import load, replay
from three_mode.errors import ConfigurationError, DeadlineExceeded, PeerLost


async def record(path: Path) -> None:
    async with Orchestrator(hosts=2, options=OrchestratorOptions(record=str(path), seed=7)) as orc:
        await orc.spawn(Market, 3, name="market", start=5.0)
        traders = await orc.spawn(Trader, 2, name="trader")
        for item in ("tea", "coffee"):
            assert await traders[0].ask(Trader.trade, item) != 0
        await asyncio.gather(*(traders[1].ask(Trader.beside, item) for item in ("a", "bb", "ccc")))
        assert await traders[1].ask(Trader.refused) == "NoSuchAgent"
        assert await traders[1].ask(Trader.total) == (2, 1 + 2 + 6)
        await orc.restart(traders[0])
        await traders[0].ask(Trader.trade, "salt")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "run.rec"
    await record(path)
    return path


def test_the_recording_has_every_message_with_its_time(recording: Path) -> None:
    events = load(recording)
    assert {event.agent for event in events if isinstance(event, Made)} >= {"market/2", "trader/1"}
    got = [event for event in events if isinstance(event, Got)]
    assert [event.handler for event in got if event.agent == "trader/0"].count("trade") == 3
    assert any(event.heard for event in got)
    kinds = {event.kind for event in events if isinstance(event, Did)}
    assert kinds >= {"ask", "gather", "group", "stream", "part", "now", "tell", "broadcast", "settled"}
    assert all(event.when > 1.7e9 for event in events)
    assert not any(isinstance(event, Ended) and event.outcome == "error" for event in events)


def test_a_replay_of_the_same_code_is_the_same(recording: Path) -> None:
    replayed = replay(recording)
    assert replayed.divergence is None
    assert replayed.agents == 5
    assert replayed.messages >= 20
    assert replayed.effects >= 20


def test_a_replay_of_other_code_reports_the_first_divergence(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_recorded, "PRICE", 3)
    divergence = replay(recording).divergence
    assert divergence is not None
    assert (divergence.agent, divergence.handler, divergence.turn) == ("trader/0", "trade", 1)
    assert "tell" in divergence.recorded
    assert "tell" in divergence.replayed
    assert "recorded" in str(divergence)


def test_one_that_does_less_or_more_diverges_too(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from three_mode.agents.handlers.declare import specs_of

    async def lazy(self: Trader, item: str) -> float:
        return 1.0

    monkeypatch.setitem(vars(specs_of(Trader)["trade"]), "function", lazy)
    divergence = replay(recording).divergence
    assert divergence is not None
    assert divergence.handler == "trade"
    assert "1.0" in divergence.replayed


def test_a_cut_off_recording_is_replayed_as_far_as_it_goes(recording: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.rec"
    data = recording.read_bytes()
    short.write_bytes(data[: len(data) - 3])
    assert len(load(short)) == len(load(recording)) - 1


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    with pytest.raises(ConfigurationError, match="no recording"):
        replay(path)
    with pytest.raises(ConfigurationError, match="cannot be replayed"):
        replay(tmp_path / "missing")


async def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_text("something")
    with pytest.raises(ConfigurationError, match="another file"):
        async with Orchestrator(hosts=1, options=OrchestratorOptions(record=str(path))):
            pass
    assert path.read_text() == "something"


async def test_the_answers_of_models_are_those_recorded(tmp_path: Path) -> None:
    path = tmp_path / "models.rec"
    async with Orchestrator(hosts=1, options=OrchestratorOptions(record=str(path))) as orc:
        thinker = await orc.spawn(Thinker, name="thinker")
        first = await thinker.ask(Thinker.think, "why?")
        assert first != await thinker.ask(Thinker.think, "why?")
        assert len(first) == 5
    replayed = await asyncio.to_thread(replay, path)
    assert replayed.divergence is None
    assert replayed.messages == 2


async def several_at_once(orc: Orchestrator, busy: AgentGroup) -> None:
    assert await busy[0].ask(Busy.both) == ["slow", "fast"]
    assert await busy[0].ask(Busy.merged) == 6


async def given_up_by_itself(orc: Orchestrator, busy: AgentGroup) -> None:
    assert await busy[0].ask(Busy.impatient) == "too late"
    assert await busy[0].ask(Busy.first, 3) == [0, 1, 2]


async def left_by_callers(orc: Orchestrator, busy: AgentGroup) -> None:
    with pytest.raises(DeadlineExceeded):
        await busy[0].ask(Busy.asks, 60.0, within=0.1)
    with pytest.raises(DeadlineExceeded):
        await busy[0].ask(Busy.sleeps, 0.3, within=0.1)
    async with busy[1].stream(Busy.numbers) as numbers:
        assert [await anext(numbers) for _ in range(3)] == [0, 1, 2]
    await asyncio.sleep(0.3)


async def restarted_while_busy(orc: Orchestrator, busy: AgentGroup) -> None:
    asked = asyncio.create_task(busy[0].ask(Busy.asks, 60.0))
    await asyncio.sleep(0.1)
    await orc.restart(busy[0])
    with pytest.raises(PeerLost):
        await asked


@pytest.mark.parametrize("what", [several_at_once, given_up_by_itself, left_by_callers, restarted_while_busy])
async def test_what_happens_at_once_or_is_left_halfway_is_replayed(tmp_path: Path, what: Any) -> None:
    path = tmp_path / "busy.rec"
    async with Orchestrator(hosts=2, options=OrchestratorOptions(record=str(path))) as orc:
        busy = await orc.spawn(Busy, 3, name="busy")
        await what(orc, busy)
        assert await busy[0].ask(Busy.echo, "end", 0.0) == "end"
    assert (await asyncio.to_thread(replay, path)).divergence is None
