"""A route that splits, on a real connection: users keep to their side, and replies say which it was."""

import json
from collections import Counter, defaultdict

from tests.support.providers.servers import HELLO, connected
from three_mode import LLMRequest
from three_mode.policies import Policies, Route, Target

ROUTE = Route("trial", (Target("openai", "one"), Target("openai", "two")), by="split", key="user")


async def test_users_keep_to_their_side() -> None:
    async with connected(policies=Policies(routes=(ROUTE,))) as (llm, server):
        sides = defaultdict(set)
        for turn in range(2):
            for user in range(12):
                request = LLMRequest(model="trial", messages=HELLO, metadata={"user": f"user{user}"})
                if turn:
                    reply = await llm.chat_completion(request)
                else:
                    async with llm.stream(request) as stream:
                        await stream.text()
                    reply = stream.response()
                sides[user].add(json.loads(server.seen[-1].body)["model"])
                assert reply.steps[0].kind == "routed"
                assert reply.steps[0].model in sides[user]
        assert all(len(models) == 1 for models in sides.values()), "plain and streamed"
        count = Counter(model for models in sides.values() for model in models)
        assert set(count) == {"one", "two"}
        assert llm.spent(model="one").calls == 2 * count["one"], "each side has its figures"
        assert b"user1" not in b"".join(seen.body for seen in server.seen), "metadata never goes to a provider"
