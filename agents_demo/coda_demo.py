"""Hold conversations by Coda's names: tools, memory, personality, events and analytics, on a model of this computer."""

import asyncio
import json
import socket

from rich.console import Console

from three_mode.compat.coda import (
    CodaWebSocketIntegration,
    CodaWebSocketServer,
    LLMConfig,
    LLMError,
    LLMProvider,
    MemoryManager,
    PersonalityManager,
    ProviderConfig,
    ToolManager,
    WebSocketLLMManager,
)

SUM = "What is 21 + 34?"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def talk(manager: WebSocketLLMManager, console: Console) -> None:
    response = await manager.generate_response(SUM)
    console.print(f"{SUM} {response.content}")
    console.print("streamed:", end=" ")
    async for chunk in manager.continue_conversation(response.conversation_id, "Hello!", stream=True):
        console.print(chunk.delta, end="")
    context = await manager.conversation_manager.get_conversation_context(response.conversation_id, max_tokens=4000)
    console.print(f"\nthe conversation has {len(context)} messages")


async def use_managers(manager: WebSocketLLMManager, console: Console) -> None:
    await manager.set_personality_manager(PersonalityManager())
    memory, tools = MemoryManager(), ToolManager()
    await manager.set_memory_manager(memory)
    await manager.generate_response("Remember that I prefer detailed explanations")
    found = await memory.search("which explanations?")
    console.print(f"remembered: {found[0].text!r}")
    await manager.set_tool_manager(tools)
    called = await tools.tools.by_name["calculator"].call({"expression": "2+2"})
    console.print(f"tools: {', '.join(tools.list_tools())}; 2+2 is {called}")
    try:
        await manager.generate_response("Hello!", provider="nobody")
    except LLMError as error:
        console.print(f"error: {error}")
    await memory.close()


async def tell(manager: WebSocketLLMManager, console: Console) -> None:
    analytics = await manager.get_analytics()
    console.print(f"conversations: {analytics['conversations']['total_conversations']}")
    for name in await manager.list_providers():
        status = await manager.get_provider_status(name)
        console.print(f"{name}: available: {status['available']}, {status['request_count']} requests")


async def run(console: Console) -> None:
    local = ProviderConfig(provider=LLMProvider.LOCAL, model="tiny", temperature=0.0, max_tokens=64)
    server = CodaWebSocketServer(port=free_port())
    seen: list[str] = []
    async with server, WebSocketLLMManager(LLMConfig(providers={"local": local})) as manager:
        await manager.set_websocket_integration(CodaWebSocketIntegration(server))
        reader = server.events.open()  # what a WebSocket at `server.url` reads
        await talk(manager, console)
        await use_managers(manager, console)
        await tell(manager, console)
        while "response_complete" not in seen and (data := await reader.get()) is not None:
            seen.append(json.loads(data)["type"])
        server.events.close(reader)
    console.print(f"events of the first answer: {', '.join(dict.fromkeys(seen))}")


def main(words: list[str]) -> None:
    asyncio.run(run(Console(highlight=False)))
