"""litellm's part of `llm_calls`, run by the Python of its own environment: calls over HTTP/2, so many at once.

It says "ready", answers each line of its input, a number of calls, with the seconds of a call, and ends when its input
ends.
"""

import asyncio
import gc
import os
import ssl
import sys
import time
from importlib import import_module
from typing import Any


async def seconds_of_a_call(call: Any, calls: int, at_once: int) -> float:
    """Makes the calls, and returns the seconds of one."""

    async def caller() -> None:
        for _ in range(calls // at_once):
            await call()

    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return (time.perf_counter() - began) / (calls // at_once * at_once)


async def main(url: str, authority: str, at_once: int) -> None:
    """Answers the lines of the input."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # keeps its import off the network
    litellm: Any = import_module("litellm")
    openai: Any = import_module("openai")
    litellm.suppress_debug_info = True
    http = openai.DefaultAsyncHttpxClient(http2=True, verify=ssl.create_default_context(cafile=authority))
    messages = [{"role": "user", "content": "Hello!"}]
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0, http_client=http) as client:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            taken = await seconds_of_a_call(
                lambda: litellm.acompletion(model="openai/gpt-4o", messages=messages, client=client, num_retries=0),
                int(line),
                at_once,
            )
            print(taken, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
