"""Loading: makes the backend of a model in this process.

To load weights is llama.cpp's work, and to import numpy, the engine and Jinja is Python's: they are done side by side.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from local_models.backend import Claim, granted
from local_models.errors import translate_errors
from local_models.llama.opening import open_model
from local_models.options import LoadOptions

if TYPE_CHECKING:
    from local_models.engine.inprocess import InProcessBackend


async def load_backend(
    path: str, options: LoadOptions, *, own_process: bool = False, claim: Claim = granted
) -> "InProcessBackend":
    """Loads a model on a thread that ends when it is loaded.

    OpenMP keeps a team of threads for each thread that has computed, for as long as that thread lives. Once all teams
    together are larger than the machine, threads sleep at each barrier at once, and a token costs hundreds of wakes: a
    model with two threads on two cores had a third of the speed of one thread.
    """

    def load() -> "InProcessBackend":
        opened = open_model(path, options, own_process=own_process)
        try:
            with translate_errors("run local models"):
                from local_models.engine.inprocess import InProcessBackend
        except BaseException:
            opened.weights.close()
            raise
        return InProcessBackend(opened, options, claim)

    thread = ThreadPoolExecutor(1, thread_name_prefix="local-model-load")
    try:
        loop = asyncio.get_running_loop()
        loading = loop.run_in_executor(thread, load)
        loop.run_in_executor(None, _import_rest)  # nobody waits for it: who needs what it imports imports it too
        return await loading
    finally:
        thread.shutdown(wait=False)


def _import_rest() -> None:
    """Imports what a loaded model needs."""
    with suppress(Exception):  # who needs it meets the error too, and reports it
        import local_models.engine.inprocess
        import local_models.prompts.answer_check
        import local_models.prompts.sandbox  # noqa: F401
