"""Agents of the pictures of the page: a desk that asks judges, which ask a small model, and then a provider."""

import asyncio
import logging

from three_mode import Agent, LLMRequest, handler

log = logging.getLogger("city.desk")


class Judge(Agent):
    """Has an opinion, with the help of a model of this computer."""

    @handler
    async def judge(self, question: str) -> str:
        said = [{"role": "user", "content": question}]
        return (await self.llm.chat_completion(LLMRequest(model="tiny", messages=said, max_tokens=12))).content


class Desk(Agent):
    """Asks some judges, one of them twice, and then a model of a provider."""

    @handler
    async def answer(self, question: str) -> str:
        judges = [self.ref(f"judge/{number}") for number in (0, 1, 1)]
        said = await asyncio.gather(*(judge.ask(Judge.judge, question) for judge in judges))
        log.info("%d judges have answered: %s", len(said), ", ".join(said))
        request = LLMRequest(messages=[{"role": "user", "content": f"Sum up: {said}"}], metadata={"label": "answers"})
        return (await self.llm.chat_completion(request)).content
