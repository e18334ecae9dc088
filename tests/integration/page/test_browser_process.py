"""The browser of the tests ends with them, also where they are killed."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.agents.until import until
from tests.support.processes import lives

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys, time
from pathlib import Path
from tests.support.serve.devtools import Chromium
with Chromium(Path(sys.argv[1])) as browser:
    print(browser.pid, flush=True)
    time.sleep(100)
"""


async def test_the_processes_of_a_browser_end_when_the_tests_are_killed(tmp_path: Path) -> None:
    words = (sys.executable, "-c", PROGRAM, str(tmp_path))
    tests = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert tests.stdout is not None
        browser = psutil.Process(int(await tests.stdout.readline()))
        all_of_it = [browser, *browser.children(recursive=True)]
        assert len(all_of_it) > 2
        assert all(map(lives, all_of_it))
    finally:
        tests.kill()
        await tests.wait()
    await until(lambda: not any(map(lives, all_of_it)), 20.0)
