"""llama.cpp and the devices it can use.

It is asked in a process of its own: a native library that does not fit this processor kills whoever loads it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from three_mode.doctor.check import Check, Status
from three_mode.doctor.runtime import installed

AREA = "local models"
WITHIN = 60.0
_PROBE = """
import json
from local_models import llama
gpu = bool(llama.library().api.llama_supports_gpu_offload())
found = [{"kind": d.kind, "description": d.description, "free": d.free_bytes} for d in llama.devices()]
print(json.dumps({"gpu": gpu, "devices": found}))
"""


def checks() -> Iterator[Check]:
    version = installed("llama-cpp-python")
    if version is None:
        yield Check(
            AREA,
            "llama.cpp",
            Status.ABSENT,
            "llama-cpp-python is not installed",
            "pip install 'three-mode[local]' for models on this computer (compiles for some minutes)",
        )
        return
    probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=WITHIN, check=False)
    if probe.returncode:
        last = probe.stderr.strip().splitlines()[-1:] or [f"exit code {probe.returncode}"]
        yield Check(
            AREA,
            "llama.cpp",
            Status.BROKEN,
            f"llama-cpp-python {version} does not load: {last[0]}",
            compile_again(version),
        )
        return
    told: dict[str, Any] = json.loads(probe.stdout.strip().splitlines()[-1])
    yield Check(AREA, "llama.cpp", Status.OK, f"llama-cpp-python {version}")
    yield devices(told)


def compile_again(version: str | None) -> str:
    """The command that compiles llama.cpp once more. Pip's cache has the wheel that does not fit."""
    return f"pip install --force-reinstall --no-deps --no-cache-dir llama-cpp-python=={version}"


def devices(told: dict[str, Any]) -> Check:
    """What llama.cpp itself lists, with the memory that is free on each."""
    found = "; ".join(
        f"{device['kind']}: {device['description']}, {device['free'] / 2**30:.1f} GiB free"
        for device in told["devices"]
    )
    cuda = f"for CUDA: CMAKE_ARGS=-DGGML_CUDA=on {compile_again(installed('llama-cpp-python'))}"
    if any(device["kind"] in ("gpu", "igpu") for device in told["devices"]):
        return Check(AREA, "devices", Status.OK, found)
    if told["gpu"]:
        return Check(
            AREA,
            "devices",
            Status.LIMITED,
            f"{found}; built for a GPU, and found none",
            "see whether the driver finds it (`nvidia-smi`, `vulkaninfo`); models run on the CPU until then",
        )
    return Check(AREA, "devices", Status.OK, f"{found}; built without a GPU backend", cuda)
