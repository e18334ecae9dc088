"""Process that submits a batch, and that a test kills: `python -m tests.support.connection.submits URL PROVIDER FILE
COUNT`. It writes the id of its job."""

import asyncio
import sys

from tests.support.connection.batches import QUICK, numbered
from three_mode import LLMConnection
from three_mode.connection import Account, ConnectionOptions
from three_mode.policies import Policies
from transports.http2 import PoolOptions


async def main(url: str, provider: str, file: str, count: int) -> None:
    options = ConnectionOptions(
        accounts={provider: Account(api_key="sk-secret-key-of-the-test", base_url=url + "/v1")},
        transport=PoolOptions(trust_env=False),
    )
    async with LLMConnection(provider, policies=Policies(retry=QUICK), options=options) as llm:
        job = await llm.batch(numbered(count), later=True, file=file, within=60)
        sys.stdout.write(job.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
