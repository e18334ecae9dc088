"""Measures the tiny model through the real engine: `python -m scripts.tiny_model.measure MODEL.gguf [--write]`.

Each task gets 1,000 held-out prompts, answered greedily and batched; an answer counts if it is exactly right. `--write`
puts the result beside the model, as JSON; the result of another `--seed` is added to the one there. Exits with 1 if a
task is below its gate.
"""

import argparse
import asyncio
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_models import LoadOptions, LocalModel, Reply
from scripts.tiny_model import tasks
from scripts.tiny_model import vocabulary as v

GATE = 0.98  # least exact match of every task
PROMPTS = 1000  # of each task
SEED = 1


def chat_of(conversation: tasks.Conversation) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the messages and tools that the template renders to the prompt of a conversation."""
    system, *offered = conversation.system.split(v.TOOL_SPEC)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": conversation.turns[0].user})
    tools = []
    for call in map(json.loads, offered):
        parameters = {"type": "object", "properties": {key: {"type": "string"} for key in call["arguments"]}}
        tools.append({"type": "function", "function": {"name": call["name"], "parameters": parameters}})
    return messages, tools


def right(reply: Reply, answer: str) -> bool:
    """Whether a reply is exactly the answer, as text or as a tool call."""
    if not answer.startswith(v.TOOL_CALL):
        return reply.text == answer and reply.finish == "stop"
    wanted = json.loads(answer.removeprefix(v.TOOL_CALL).removesuffix(v.TOOL_CALL_END))
    return [(call.name, call.parsed) for call in reply.tool_calls] == [(wanted["name"], wanted["arguments"])]


@dataclass(frozen=True)
class Answer:
    """One measured answer: the conversation, the reply, and whether it is exactly right."""

    conversation: tasks.Conversation
    reply: Reply
    right: bool

    def __str__(self) -> str:
        turn = self.conversation.turns[0]
        said = self.reply.text or self.reply.tool_calls
        return f"{self.conversation.system} | {turn.user} -> {said} (not {turn.answer})"


async def answers(model: LocalModel, task: str, prompts: int, seed: int) -> list[Answer]:
    """Asks so many held-out prompts of a task, all at once."""
    rng = random.Random(f"measure {task} {seed}")

    async def ask(number: int, conversation: tasks.Conversation) -> Answer:
        messages, tools = chat_of(conversation)
        reply = await model.chat(messages, temperature=0, max_tokens=96, tools=tuple(tools), agent=str(number % 64))
        return Answer(conversation, reply, right(reply, conversation.turns[0].answer))

    asked = [tasks.one(task, rng, measure=True) for _ in range(prompts)]
    return await asyncio.gather(*(ask(number, conversation) for number, conversation in enumerate(asked)))


def share(of: list[Answer]) -> float:
    """Returns the part of the answers that are right."""
    return sum(answer.right for answer in of) / len(of)


def by_fact(of: list[Answer]) -> dict[str, float]:
    """Returns the part of recalls that are right, for each kind of fact."""
    kinds: dict[str, list[Answer]] = {key: [] for key in v.KEYS}
    for answer in of:
        kinds[answer.conversation.turns[0].answer.split()[1]].append(answer)
    return {key: round(share(mine), 4) for key, mine in kinds.items() if mine}


async def measure(path: Path, digest: str, prompts: int = PROMPTS, seed: int = SEED) -> dict[str, Any]:
    """Measures a model file on all tasks; returns the result that is kept beside it."""
    async with await LocalModel.load(path, LoadOptions(sequences=32, context=512)) as model:
        found, facts = {}, {}
        for task in tasks.TASKS:
            given = await answers(model, task, prompts, seed)
            found[task] = share(given)
            if task == "recall":
                facts = by_fact(given)
            wrong = [str(answer) for answer in given if not answer.right]
            print(f"{task:>8} {found[task]:.3f}  " + "\n                ".join(wrong[:3]), flush=True)
        return {
            "sha256": digest,
            "parameters": model.summary.parameters,
            "prompts_per_task": prompts,
            "held_out": "keys chosen by hash, never in training (see tasks.py)",
            "sampling": "greedy, batched",
            "gate": GATE,
            "exact_match": found,
            "recall_by_fact": facts,
        }


def added(card: dict[str, Any], result: dict[str, Any], seed: int) -> dict[str, Any]:
    """Adds the result of another seed to the one measured before."""
    if card["sha256"] != result["sha256"]:
        raise SystemExit("the result beside this file is of another model: measure it with the first seed before")
    others = card.get("exact_match_of_other_seeds", {}) | {str(seed): result["exact_match"]}
    return card | {"exact_match_of_other_seeds": others}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the tiny model on held-out prompts.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=SEED, help="which held-out prompts")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    digest = hashlib.sha256(options.model.read_bytes()).hexdigest()
    result = asyncio.run(measure(options.model, digest, options.prompts, options.seed))
    if options.write:
        card = options.model.with_suffix(".json")
        if options.seed != SEED:
            result = added(json.loads(card.read_text()), result, options.seed)
        card.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if min(result["exact_match"].values()) >= GATE else 1


if __name__ == "__main__":
    raise SystemExit(main())
