"""A provider on this machine for demos that show remote ones: it needs no key and no network."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from three_mode import sync
from three_mode.testing import ScriptedProvider

SETTINGS = Path(__file__).with_name("example.env")


@contextmanager
def scripted_providers(*names: str) -> Iterator[ScriptedProvider]:
    """One scripted provider for all names. Keys and addresses come from the environment, and the rest from
    `example.env`, as `.env` of a folder in which the demo runs."""
    server, before, here = ScriptedProvider("http/1.1"), dict(os.environ), Path.cwd()
    sync.run(server.__aenter__())
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, ".env").write_text(SETTINGS.read_text())
            os.chdir(folder)
            for name in names:
                os.environ[f"{name}_API_KEY"] = "a-key-of-the-demo"
                os.environ[f"{name}_BASE_URL"] = server.url + "/v1"
            yield server
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        sync.run(server.__aexit__(None, None, None))
