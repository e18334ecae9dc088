"""Conversations of agents: kept in one file that all hosts share."""

from pathlib import Path

import pytest

from three_mode import Agent, Orchestrator, handler
from three_mode.agents import OrchestratorOptions
from three_mode.conversations import Conversations
from three_mode.errors import ThreeModeError


class Host(Agent):
    """Talks with whoever comes."""

    @handler
    async def chat(self, who: str, text: str) -> int:
        """Says something in the conversation of a person; how many messages it has then."""
        talk = await self.talk(who, system="Be brief.", model="tiny")
        await talk.say(text, max_tokens=2)
        return len(await talk.messages())


@pytest.mark.parametrize("hosts", [0, 2])
async def test_agents_of_all_hosts_share_conversations(tmp_path: Path, hosts: int) -> None:
    path = tmp_path / "talks.db"
    async with Orchestrator(hosts=hosts, options=OrchestratorOptions(talks=str(path))) as orc:
        agents = await orc.spawn(Host, 4, name="host")
        for number in range(4):
            assert await agents[number].ask(Host.chat, "alice", f"say {number}", within=60) == 3 + 2 * number
        assert len(await (await orc.talk("alice")).turns()) == 4
        done = await agents.gather(Host.chat, "bob", "hello", within=60)
        assert sorted(done.values.values()) == [3, 5, 7, 9], "turns of one conversation come one after another"
    async with Conversations(path) as talks:
        assert {info.name: info.turns for info in await talks.list()} == {"alice": 4, "bob": 4}


async def test_without_a_file_the_error_says_how_to_name_one() -> None:
    async with Orchestrator(hosts=0) as orc:
        agents = await orc.spawn(Host, 1, name="host")
        with pytest.raises(ThreeModeError, match="no file keeps conversations"):
            await agents[0].ask(Host.chat, "alice", "hello", within=20)
