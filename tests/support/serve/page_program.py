"""Program with agents on a named bus, which a test kills: `python -m tests.support.serve.page_program NAME`."""

import asyncio
import sys

from tests.support.serve.page_cast import Scout
from three_mode.agents import Orchestrator


async def main() -> None:
    async with Orchestrator(hosts=1, name=sys.argv[1]) as orc:
        await orc.spawn(Scout, 3, name="scout")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
