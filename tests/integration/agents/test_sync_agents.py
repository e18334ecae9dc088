"""The orchestrator for code without a loop: the same verbs and errors, and an end by Ctrl-C that leaves nothing."""

import inspect
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.agents.agent_cast import Scout, Steady
from tests.support.agents.value_cast import Keeper
from three_mode import agents
from three_mode.errors import BadCall, ConfigurationError, DeadlineExceeded, NoSuchAgent, PeerLost
from three_mode.messages import LLMRequest
from three_mode.sync import AgentGroup, AgentRef, LLMConnection, Orchestrator


@pytest.fixture(scope="module", params=[0, 1])
def orc(request: pytest.FixtureRequest) -> Iterator[Orchestrator]:
    with Orchestrator(hosts=request.param) as running:
        yield running


@pytest.fixture
def scouts(orc: Orchestrator) -> Iterator[AgentGroup]:
    group = orc.spawn(Scout, 4, name="scout", bias=0.5)
    yield group
    orc.stop(orc.group("scout"))


def test_the_verbs(orc: Orchestrator, scouts: AgentGroup) -> None:
    assert scouts[1].ask(Scout.score, "hello", within=2.0) == 5.5
    assert orc.ref("scout/1").ask("score", text="a") == 1.5
    assert list(scouts[3].stream(Scout.explain, "so it is")) == ["so", "it", "is"]
    with scouts[3].stream(Scout.explain, "so it is", within=5.0) as parts:
        assert next(parts) == "so"
    assert orc.broadcast("news.eu", {"id": 1}).settled(within=5.0).seen == 4
    scouts[0].tell(Scout.read, {"id": 2})
    scouts[:2].tell(Scout.read, {"id": 3})
    assert sorted(scouts.gather(Scout.count)) == [1, 1, 2, 3]
    assert orc.any("scout").ask(Scout.plain, "x").startswith("scout/")
    assert scouts.any.name == "scout"
    assert orc.group("scout").names == scouts.names
    assert len(orc.table().agents) == 4
    assert orc.dead_letters() == []


def test_errors_are_the_same(orc: Orchestrator, scouts: AgentGroup) -> None:
    with pytest.raises(BadCall, match="expected str, got int"):
        scouts[0].ask(Scout.score, 5)
    orc.stop(scouts[3])
    with pytest.raises((NoSuchAgent, PeerLost)):
        scouts[3].ask(Scout.count)
    orc.restart(scouts[0])
    assert scouts[0].ask(Scout.count) == 0
    orc.pause([scouts[0], "scout/1"])
    with pytest.raises(DeadlineExceeded):
        scouts[0].ask(Scout.count, within=0.1)
    orc.resume(scouts[:2])
    assert scouts[0].ask(Scout.count) == 0


def test_references_travel_both_ways(orc: Orchestrator) -> None:
    keepers = orc.spawn(Keeper, 2, name="keeper")
    assert keepers[0].ask(Keeper.ask_peer, keepers[1], "hi") == "keeper/1 hi"
    ref: Any = keepers[0].ask(Keeper.me)
    assert isinstance(ref, AgentRef)
    assert ref.ask(Keeper.who, "me") == "keeper/0 me"
    assert ref == keepers[0]
    orc.stop(keepers)


def test_a_connection_reaches_the_agents(orc: Orchestrator) -> None:
    orc.spawn(Echo, name="echo")
    with LLMConnection(bus=orc.bus) as llm:
        request = LLMRequest(model="agent:echo", messages=[{"role": "user", "content": "hi"}])
        assert llm.chat_completion(request).content == "hi"


class Echo(agents.Agent):
    @agents.handler
    def chat_completion(self, request: LLMRequest) -> dict[str, Any]:
        return {"parts": [{"type": "text", "text": request.messages[0].text}], "model": "echo"}


async def test_a_running_loop_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="would block the event loop"), Orchestrator(hosts=0):
        pass


def test_events_of_agents_are_read_and_idempotent_asks_are_tried_again(orc: Orchestrator) -> None:
    with orc.agent_events(agents.AgentsSpawned) as events:
        one = orc.spawn(Steady, name="told")
        assert one.retrying(agents.Retry(attempts=2)).ask(Steady.square, 4, 0.0) == 16
        told = events.next(within=30)
        assert told is not None
        assert told.event.agents == (one.name,)
    with pytest.raises(BadCall):
        one.retrying().ask("square", 4, 0.0)


def test_it_has_every_public_name_of_the_other() -> None:
    for mine, theirs in ((Orchestrator, agents.Orchestrator), (AgentRef, agents.AgentRef)):
        public = {name for name in dir(theirs) if not name.startswith("_")}
        without = {"aclose", "open", "llm", "options"}  # close and `with`; a connection of its own; the argument
        assert public - without <= set(dir(mine)), public - set(dir(mine))


def test_arguments_are_those_of_the_other() -> None:
    for name in ("__init__", "stop", "restart", "pause", "resume", "table", "dead_letters"):
        mine, theirs = (inspect.signature(getattr(kind, name)) for kind in (Orchestrator, agents.Orchestrator))
        assert list(mine.parameters) == list(theirs.parameters)
        assert [one.default for one in mine.parameters.values()] == [one.default for one in theirs.parameters.values()]


_INTERRUPTED = """
    import signal
    from tests.support.agents.agent_cast import Slow
    from three_mode.sync import Orchestrator

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began it with &
        with Orchestrator(hosts=2) as orc:
            slow = orc.spawn(Slow, 2, name="slow")
            print(*(host.pid for host in orc.table().hosts), flush=True)
            slow[0].ask("wait", 60.0, within=60.0)
"""


def test_ctrl_c_ends_the_call_the_agents_and_the_hosts() -> None:
    code = textwrap.dedent(_INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as ran:
        assert ran.stdout is not None
        hosts = [int(pid) for pid in ran.stdout.readline().split()]
        time.sleep(0.3)  # until the call waits
        os.killpg(ran.pid, signal.SIGINT)  # as a terminal does: to the program and to its hosts
        _, errors = ran.communicate(timeout=30)
    assert len(hosts) == 2
    assert ran.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "never awaited" not in errors
    assert not any(psutil.pid_exists(pid) for pid in hosts)
