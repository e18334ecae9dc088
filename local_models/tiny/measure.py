"""Measures the tiny model through the real engine: `python -m local_models.tiny.measure MODEL.gguf [--write]`.

1,000 held-out prompts a task, greedy, all in one batch engine; an answer counts if it is exactly right. `--write` puts the
result beside the model, as JSON. Exits 1 if a task is below its gate.
"""

import argparse
import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from local_models import LoadOptions, LocalModel
from local_models.replies import Reply
from local_models.tiny import tasks
from local_models.tiny import vocabulary as v

GATE = 0.98
PROMPTS = 1000


def chat_of(conversation: tasks.Conversation) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages and tools that the template renders to the conversation's prompt."""
    system, *offered = conversation.system.split(v.TOOL_SPEC)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": conversation.turns[0].user})
    tools = []
    for call in map(json.loads, offered):
        parameters = {"type": "object", "properties": {key: {"type": "string"} for key in call["arguments"]}}
        tools.append({"type": "function", "function": {"name": call["name"], "parameters": parameters}})
    return messages, tools


def right(reply: Reply, answer: str) -> bool:
    if not answer.startswith(v.TOOL_CALL):
        return reply.text == answer and reply.finish == "stop"
    wanted = json.loads(answer.removeprefix(v.TOOL_CALL).removesuffix(v.TOOL_CALL_END))
    return [(call.name, call.parsed) for call in reply.tool_calls] == [(wanted["name"], wanted["arguments"])]


async def accuracy(model: LocalModel, task: str, prompts: int, seed: int) -> tuple[float, list[str]]:
    """The share of exact answers, and some of the wrong ones."""
    rng = random.Random(f"measure {task} {seed}")
    asked = [tasks.one(task, rng, measure=True) for _ in range(prompts)]

    async def ask(number: int, conversation: tasks.Conversation) -> Reply:
        messages, tools = chat_of(conversation)
        return await model.chat(
            messages, temperature=0, max_tokens=96, tools=tuple(tools), agent=str(number % 64)
        )

    replies = await asyncio.gather(*(ask(n, conversation) for n, conversation in enumerate(asked)))
    wrong = [
        f"{conversation.system} | {conversation.turns[0].user} -> {reply.text or reply.tool_calls} (not {answer})"
        for conversation, reply in zip(asked, replies, strict=True)
        if not right(reply, answer := conversation.turns[0].answer)
    ]
    return 1 - len(wrong) / prompts, wrong


async def measure(path: Path, digest: str, prompts: int = PROMPTS, seed: int = 1) -> dict[str, Any]:
    async with await LocalModel.load(path, LoadOptions(sequences=32, context=512)) as model:
        found = {}
        for task in tasks.TASKS:
            found[task], wrong = await accuracy(model, task, prompts, seed)
            print(f"{task:>8} {found[task]:.3f}  " + "\n                ".join(wrong[:3]), flush=True)
        return {
            "sha256": digest,
            "parameters": model.summary.parameters,
            "prompts_per_task": prompts,
            "held_out": "keys chosen by hash, never in training (see tasks.py)",
            "sampling": "greedy, batched",
            "gate": GATE,
            "exact_match": found,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the tiny model on held-out prompts.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    digest = hashlib.sha256(options.model.read_bytes()).hexdigest()
    result = asyncio.run(measure(options.model, digest, options.prompts))
    if options.write:
        options.model.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    return 0 if min(result["exact_match"].values()) >= GATE else 1


if __name__ == "__main__":
    raise SystemExit(main())
