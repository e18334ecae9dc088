"""Subjects of `talks`: a conversation of a thousand turns, kept by each library in the way that it keeps one."""

import importlib.util
import os
import re
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._peers import add_packages, how_to_get
from three_mode import LLMConnection, LLMRequest
from three_mode.conversations import Conversations, Window
from three_mode.messages import LLMResponse, Text, Usage

add_packages("openai-agents")
Turn = tuple[str, str]
ANSWER_ID = "msg_68a1f7c0d5b4819c8f0e2d3c4b5a69780123456789abcdef"  # as long as those of the API


class InstantModel(LLMConnection):
    """A connection whose model answers at once, with the next of its answers: what is left is the conversation's own
    work."""

    def __init__(self, answers: Sequence[str]) -> None:
        super().__init__("openai", "k", "http://127.0.0.1:9/v1", model="m")
        self._answers = answers
        self._asked = 0

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        """The next answer."""
        return self._answer()

    async def _answer(self) -> LLMResponse:
        text = self._answers[self._asked % len(self._answers)]
        self._asked += 1
        return LLMResponse(parts=(Text(text),), model="m", provider="openai", usage=Usage(100, 50), request_id="call_1")


def turns(count: int) -> list[Turn]:
    """Questions of a sentence and answers of a paragraph, out of Python's own help texts."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    sentences = [sentence for sentence in re.split(r"(?<=[.:]) ", text) if len(sentence) > 20]
    found: list[Turn] = []
    at = 0
    for number in range(count):
        question = sentences[at % len(sentences)]
        size = 2 + number % 5
        answer = " ".join(sentences[(at + 1 + each) % len(sentences)] for each in range(size))
        found.append((question, answer))
        at += 1 + size
    return found


def file_size(path: Path) -> int:
    """Bytes of a database and of the files beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


class OurTalk:
    """`Talk.add` of three-mode: both messages of a turn in one write, index included."""

    name, package = "three-mode", None

    async def run(self, path: Path, talk: Sequence[Turn]) -> tuple[float, float]:
        """Seconds of appending all turns, and of reading all messages."""
        async with Conversations(path) as talks:
            opened = await talks.open("alice/1")
            started = time.perf_counter()
            for question, answer in talk:
                await opened.add(question, answer, model="m")
            between = time.perf_counter()
            assert len(await opened.messages()) == 2 * len(talk)
            return between - started, time.perf_counter() - between


class OurSay:
    """`Talk.say` of three-mode: two writes a turn, and a window of all turns for each."""

    name, package = "three-mode, say", None

    async def run(self, path: Path, talk: Sequence[Turn]) -> tuple[float, float]:
        """Seconds of saying all turns, and of reading all messages."""
        llm = InstantModel([answer for _, answer in talk])
        async with llm, Conversations(path, llm) as talks:
            opened = await talks.open("alice/1", window=Window(tokens=8000))
            started = time.perf_counter()
            for question, _ in talk:
                await opened.say(question)
            between = time.perf_counter()
            assert len(await opened.messages()) == 2 * len(talk)
            return between - started, time.perf_counter() - between


class AgentsSDK:
    """`SQLiteSession` of the OpenAI Agents SDK, which keeps items in the format of the Responses API."""

    name, package = "OpenAI Agents SDK, SQLiteSession", "agents"
    how_to_get = how_to_get("openai-agents")

    async def run(self, path: Path, talk: Sequence[Turn]) -> tuple[float, float]:
        """Seconds of appending all turns, and of reading all items."""
        from agents import SQLiteSession

        session = SQLiteSession("alice/1", str(path))
        started = time.perf_counter()
        for question, answer in talk:
            content = {"type": "output_text", "text": answer, "annotations": [], "logprobs": []}
            message = {"id": ANSWER_ID, "content": [content], "role": "assistant", "status": "completed"}
            await session.add_items([{"role": "user", "content": question}, message | {"type": "message"}])
        between = time.perf_counter()
        assert len(await session.get_items()) == 2 * len(talk)
        ended = time.perf_counter()
        session.close()
        return between - started, ended - between


class LangGraph:
    """`SqliteSaver` of LangGraph, which keeps a checkpoint of all messages a step; here one step a turn."""

    name, package = "LangGraph, SqliteSaver", "langgraph.checkpoint.sqlite"
    how_to_get = "pip install langgraph langgraph-checkpoint-sqlite"

    async def run(self, path: Path, talk: Sequence[Turn]) -> tuple[float, float]:
        """Seconds of appending all turns, and of reading the last checkpoint."""
        from langchain_core.messages import AIMessage, HumanMessage
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.sqlite import SqliteSaver

        with SqliteSaver.from_conn_string(str(path)) as saver:
            config: Any = {"configurable": {"thread_id": "alice/1", "checkpoint_ns": ""}}
            messages: list[Any] = []
            started = time.perf_counter()
            for question, answer in talk:
                messages += [HumanMessage(question), AIMessage(answer)]
                checkpoint = empty_checkpoint()
                checkpoint["channel_values"] = {"messages": messages}
                config = saver.put(config, checkpoint, {"source": "loop", "step": len(messages), "parents": {}}, {})
            between = time.perf_counter()
            found = saver.get({"configurable": {"thread_id": "alice/1"}})
            assert found is not None
            assert len(found["channel_values"]["messages"]) == 2 * len(talk)
            return between - started, time.perf_counter() - between


def installed(subject: Any) -> bool:
    """Whether the package of a subject is here."""
    if subject.package is None:
        return True
    try:
        return importlib.util.find_spec(subject.package) is not None
    except ModuleNotFoundError:
        return False


def fresh(folder: Path) -> Iterator[Path]:
    """Paths of new files, one after another; the file before is removed."""
    number = 0
    while True:
        number += 1
        path = folder / f"talk{number}.db"
        yield path
        for file in folder.glob(path.name + "*"):
            os.unlink(file)
