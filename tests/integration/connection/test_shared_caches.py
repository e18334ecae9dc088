"""Calls that mean different models, and a cache that they share: none gets the reply of another."""

from pathlib import Path

from tests.support.providers.servers import QUICK, hello, several
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Text
from three_mode.policies import CacheOptions, FallbackOptions, Policies, Route, Target
from three_mode.testing import Answer, Turn


class Named(Agent):
    def __init__(self, says: str) -> None:
        self.says = says

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(self.says),))


async def test_a_route_and_a_direct_call_share_no_reply() -> None:
    first, second = Target("openai", "m"), Target("anthropic", "model-of-anthropic")
    policies = Policies(
        retry=QUICK,
        cache=CacheOptions(),
        coalesce=True,
        routes=(Route("smart", targets=(first, second)),),
        fallback=FallbackOptions(targets=(Target("gemini", "g"),), first_content=20),
    )
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        servers["openai"].next(Answer(status=401))
        servers["anthropic"].always(Turn(text=("of the other",)))
        assert (await llm.chat_completion(hello("smart"))).content == "of the other"
        direct = await llm.chat_completion(hello("m"))
        assert (direct.content, direct.provider) == ("Hello world!", "openai")
        again = await llm.chat_completion(hello("smart"))
        assert (again.content, again.steps[-1].kind) == ("of the other", "cache_hit")


async def test_agents_on_two_buses_share_no_reply(tmp_path: Path) -> None:
    policies = Policies(cache=CacheOptions(path=tmp_path / "cache"))
    request = LLMRequest(model="agent:brain", messages=[{"role": "user", "content": "Who?"}])
    said = []
    for name in ("one", "two", "two"):
        async with Orchestrator(hosts=1) as orc:
            await orc.spawn(Named, name="brain", says=name)
            async with LLMConnection(bus=orc.bus, policies=policies) as llm:
                said += [(await llm.chat_completion(request)).content for _ in range(2)]
    assert said == ["one", "one", "two", "two", "two", "two"]
