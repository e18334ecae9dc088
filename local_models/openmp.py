"""How long the threads of OpenMP, with which llama.cpp and PyTorch compute, stay awake at a barrier."""

import os

SPIN_COUNT = "2000"


def short_spin() -> dict[str, str]:
    """Returns what the environment of such a library should have before it is loaded, where it says nothing of it yet.

    Threads meet at hundreds of barriers per token. By default OpenMP spins there for milliseconds, which starves all
    else that needs a core, and in the end the barrier itself. A short spin costs nothing on an idle machine.
    """
    said = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    return {} if said else {"GOMP_SPINCOUNT": SPIN_COUNT}
