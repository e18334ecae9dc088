"""Run all three modes: 512 agents, an endpoint over HTTP/2, a crash, a local model, and how long each mode takes.

It needs no key, no network and no GPU. The HTTP/2 requests stay on this machine: their figure leaves out the network
and the model's own time, and says so. Where SmolLM2 was pulled, it answers a question too. What needs no model comes
first: llama.cpp may still be compiling.
"""

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from agents_demo._llama import ready
from agents_demo._picture import draw
from local_models import files
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler, on
from three_mode.connection import ConnectionOptions
from three_mode.messages import Text
from three_mode.serve import App, Connected, ServeOptions, Tls, serve
from three_mode.testing.certificates import Certificates
from transports.http2 import PoolOptions

AGENTS, THINKERS = 512, 64
SMALL, REAL = "tiny", "smollm2"
PICTURE = Path("results") / "three_modes.svg"


def request_to(model: str, text: str, system: str = "", tokens: int = 32) -> LLMRequest:
    instructions = [{"role": "system", "content": system}] if system else []
    return LLMRequest(
        model=model,
        messages=[*instructions, {"role": "user", "content": text}],
        temperature=0,
        max_tokens=tokens,
        within=60,
    )


class Scout(Agent):
    """One of many: it counts the news, and votes."""

    def __init__(self) -> None:
        self.count = 0

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.count += 1

    @handler
    def vote(self, about: str) -> bool:
        return self.random.random() < 0.5 + len(about) / 100

    @handler
    def process(self) -> int:
        return os.getpid()


class Thinker(Agent):
    """Agent that asks the local model, with a secret of its own in the prompt that no other agent may learn."""

    @handler
    async def recall(self) -> bool:
        secret = self.name.replace("/", "")
        reply = await self.llm.chat_completion(
            request_to("agent:brain", "What is your code?", f"Your code is {secret}.")
        )
        return secret in reply.content


class Guide(Agent):
    """Agent that a person talks to: a model to the endpoint. It has other agents vote, or asks the local model."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        question = request.messages[-1].text
        if question == "ping":
            return LLMResponse(parts=(Text("pong"),), model="guide")
        if not question.endswith("go on?"):
            answer = await self.llm.chat_completion(request_to("agent:brain", question))
            return LLMResponse(parts=(Text(answer.content),), model="guide")
        votes = await self.group("scout").gather(Scout.vote, question, within=10)
        text = f"{sum(votes.values.values())} of {len(votes.values)} scouts say yes."
        return LLMResponse(parts=(Text(text),), model="guide")


async def timed(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the median time of so many runs, in seconds."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        spent.append(time.perf_counter() - started)
    return median(spent)


def ms(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


async def run(console: Console) -> None:
    async with AsyncExitStack() as stack:
        console.print(f"[bold]1. {AGENTS} agents in two processes[/bold]")
        started = time.perf_counter()
        with console.status("starting two processes"):
            orc = await stack.enter_async_context(Orchestrator(hosts=2))
            scouts = await orc.spawn(Scout, AGENTS, name="scout")
            await scouts.gather(Scout.process, within=10)
        console.print(
            f"   spawned, and all have answered, in {time.perf_counter() - started:.2f} s; carrier: {orc.bus.carrier}"
        )
        gather = await timed(lambda: scouts.gather(Scout.vote, "rings", within=10), 20)
        console.print(
            f"   broadcast until all {AGENTS} have handled it: {ms(await _broadcasts(orc))}; "
            f"gather from all: {ms(gather)}"
        )

        console.print("\n[bold]2. a person asks, over HTTP/2 and TLS[/bold]")
        await orc.spawn(Guide, name="guide")
        person = await _person(stack, orc)
        await _asked(console, person, "Shall we go on?", f"the endpoint and {AGENTS} agents")

        console.print("\n[bold]3. a crash[/bold]")
        await _crash(console, scouts)

        console.print(f"\n[bold]4. {THINKERS} agents think at once, with one local model[/bold]")
        await ready(console)
        await _think(console, orc)
        await _asked(console, person, "What is 21 + 34?", "the endpoint, an agent and the model")
        if REAL in files.paths():
            await _real(console, orc, person)

        console.print("\n[bold]5. what each mode takes[/bold]")
        with console.status("measuring"):
            figures = await _figures(orc, person, await _broadcasts(orc))
        _show(console, figures)
        path = draw(figures, PICTURE)
        console.print(f"   the picture: {path}" if path else "   (no picture: it needs matplotlib)")
        for known in files.not_here():
            if known.name == REAL:
                console.print(f"   a real model for the next time: {known.advice}")


async def _think(console: Console, orc: Orchestrator) -> None:
    """Load the small model, and have agents ask it all at once."""
    with console.status("loading the model into a process of its own"):
        await orc.model(SMALL, name="brain")
        thinkers = await orc.spawn(Thinker, THINKERS, name="thinker")
    started = time.perf_counter()
    with console.status("thinking"):
        recalled = await thinkers.gather(Thinker.recall, within=120)
    seconds = time.perf_counter() - started
    right = sum(recalled.values.values())
    console.print(f"   {right} of {THINKERS} recalled the secret in their own prompt, all in {seconds:.2f} s")


async def _real(console: Console, orc: Orchestrator, person: LLMConnection) -> None:
    """Have a real model beside the small one, and ask it over HTTP/2."""
    with console.status(f"loading {REAL} into a process of its own"):
        await orc.model(REAL, name=REAL)
    question = "What is the capital of France, and what is it known for? Answer in two sentences."
    started = time.perf_counter()
    with console.status("asking"):
        reply = await person.chat_completion(request_to(REAL, question, tokens=64))
    seconds = time.perf_counter() - started
    console.print(f"   {REAL}: {question} [italic]{reply.content.strip()}[/italic]")
    console.print(f"   {reply.usage.completion_tokens} tokens in {seconds:.2f} s, with the prompt before them")


async def _asked(console: Console, person: LLMConnection, question: str, through: str) -> None:
    started = time.perf_counter()
    reply = await person.chat_completion(request_to("guide", question))
    console.print(f"   {question} [italic]{reply.content.strip()}[/italic]")
    console.print(f"   answered in {ms(time.perf_counter() - started)}, through {through}")


async def _broadcasts(orc: Orchestrator) -> float:
    for number in range(20):  # the first ones find cold caches
        await orc.broadcast("news.eu", {"id": number}).settled(1.0)
    return await timed(lambda: orc.broadcast("news.eu", {"id": 1}).settled(1.0), 100)


async def _person(stack: AsyncExitStack, orc: Orchestrator) -> LLMConnection:
    """Return a connection that is on no bus: it talks to the endpoint as to any provider."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    certificates = Certificates()
    _, chain, key = certificates.write(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = App(Connected(orc.llm, orc.bus), ServeOptions(port=port, tls=Tls(Path(chain), Path(key))))
    await stack.enter_async_context(serve(app))
    transport = PoolOptions(ssl_context=certificates.client_context(), trust_env=False)
    connection = LLMConnection(
        base_url=f"https://localhost:{port}/v1",
        mode="human_ai",
        options=ConnectionOptions(transport=transport),
    )
    return await stack.enter_async_context(connection)


async def _crash(console: Console, scouts: Any) -> None:
    os.kill(await scouts[0].ask(Scout.process), signal.SIGKILL)
    killed = time.perf_counter()
    lost = (await scouts.gather(Scout.process, within=5)).errors
    while True:
        answers = await scouts.gather(Scout.process, within=5)
        if answers.complete:
            break
        await asyncio.sleep(0.005)
    names = sorted({type(error).__name__ for error in lost.values()}) or ["nothing"]
    console.print(
        f"   one process killed with -9: {len(lost)} callers got {', '.join(names)}, none hung; "
        f"all {AGENTS} answer again after {ms(time.perf_counter() - killed)}"
    )


async def _figures(orc: Orchestrator, person: LLMConnection, broadcast: float) -> list[tuple[str, float, str]]:
    """Return what was measured, in seconds, and what had been claimed for it."""
    ask = orc.ref("scout/7")
    async with LLMConnection() as here:
        await here.prepare(SMALL)
        ping = request_to("agent:guide", "ping")
        human = await timed(lambda: person.chat_completion(request_to("guide", "ping")), 100)
        agents = await timed(lambda: ask.ask(Scout.vote, "?"), 500)
        as_request = await timed(lambda: orc.llm.chat_completion(ping), 200)
        local = await timed(lambda: here.chat_completion(request_to(SMALL, "Hi", tokens=1)), 50)
    return [
        (
            "HUMAN_AI: a request over HTTP/2 to an echo on this machine (no network, no model)",
            human,
            "100-200 ms",
        ),
        ("AI_AI: an agent in another process is asked", agents, "under 1 ms"),
        ("AI_AI: the same as an LLMRequest, through the dispatcher", as_request, "under 1 ms"),
        ("AI_PC: one token of the small model, in the process", local, "under 10 ms"),
        (f"broadcast, until all {AGENTS} agents in 2 processes have handled it", broadcast, "0.318 ms"),
        (
            f"{AGENTS} HTTP/2 requests to the echo, one after another",
            human * AGENTS,
            "80,000 x the line above",
        ),
    ]


def _show(console: Console, figures: list[tuple[str, float, str]]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("what", overflow="fold")
    table.add_column("measured", justify="right")
    table.add_column("had been claimed", justify="right")
    for what, seconds, claim in figures:
        table.add_row(what, ms(seconds), claim)
    console.print(table)
    factor = figures[-1][1] / figures[-2][1]
    console.print(
        f"   So a broadcast is {factor:,.0f} x faster than as many calls one after another, where a call costs no "
        f"network; with a network of 50 ms a call it would be {AGENTS * 0.05 / figures[-2][1]:,.0f} x, and most of "
        "that the network's."
    )


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))


if __name__ == "__main__":
    main([])
