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
import json, llama_cpp
llama_cpp.llama_backend_init()
info = llama_cpp.llama_print_system_info()
print(json.dumps({"gpu": bool(llama_cpp.llama_supports_gpu_offload()), "system": info.decode(errors="replace")}))
"""


def checks() -> Iterator[Check]:
    version = installed("llama-cpp-python")
    if version is None:
        yield Check(
            AREA, "llama.cpp", Status.ABSENT, "llama-cpp-python is not installed",
            "pip install 'three-mode[local]' for models on this computer (compiles for some minutes)",
        )  # fmt: skip
        return
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=WITHIN, check=False
    )
    if probe.returncode:
        last = probe.stderr.strip().splitlines()[-1:] or [f"exit code {probe.returncode}"]
        yield Check(
            AREA, "llama.cpp", Status.BROKEN, f"llama-cpp-python {version} does not load: {last[0]}",
            "pip install --force-reinstall --no-binary llama-cpp-python 'three-mode[local]'",
        )  # fmt: skip
        return
    told: dict[str, Any] = json.loads(probe.stdout.strip().splitlines()[-1])
    yield Check(AREA, "llama.cpp", Status.OK, f"llama-cpp-python {version}")
    yield devices(told)


def devices(told: dict[str, Any]) -> Check:
    if told["gpu"]:
        return Check(AREA, "devices", Status.OK, "GPU offload")
    return Check(
        AREA, "devices", Status.OK, "CPU only (built without a GPU backend)",
        "for CUDA: CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-binary llama-cpp-python 'three-mode[local]'",
    )  # fmt: skip
