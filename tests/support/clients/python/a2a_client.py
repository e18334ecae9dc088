"""a2a-sdk's client: the card of an agent, and a message to it."""

import asyncio
import json
import sys

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb


async def main() -> None:
    key = {"authorization": f"Bearer {sys.argv[2]}"}
    async with httpx.AsyncClient(headers=key, timeout=30) as http:
        card = await A2ACardResolver(http, f"{sys.argv[1]}/a2a/clerk").get_agent_card()
        client = ClientFactory(ClientConfig(streaming=False, httpx_client=http)).create(card)
        message = pb.Message(message_id="1", role=pb.Role.ROLE_USER, parts=[pb.Part(text="apple")])
        events = [event async for event in client.send_message(pb.SendMessageRequest(message=message))]
    print(json.dumps({"name": card.name, "said": events[-1].task.artifacts[0].parts[0].text}))


asyncio.run(main())
