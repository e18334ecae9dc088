"""Checks of llama.cpp, of the devices that it can use, and of the packages for models of Hugging Face.

Those of llama.cpp run in a separate process: a native library that does not fit this processor kills the process that
loads it.
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
print(json.dumps({"gpu": gpu, "devices": found, "amx_is_sound": llama.amx_is_sound()}))
"""


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield from llama_checks()
    yield transformers_check(installed("transformers"), installed("torch"))


def transformers_check(transformers: str | None, torch: str | None) -> Check:
    """Says whether models of Hugging Face can run. PyTorch is not imported, which takes seconds."""
    if transformers is None or torch is None:
        absent = " and ".join(name for name, found in (("transformers", transformers), ("torch", torch)) if not found)
        return Check(
            AREA,
            "transformers",
            Status.ABSENT,
            f"no {absent}",
            "pip install 'three-mode[hf]' for models of Hugging Face; without a GPU, PyTorch's CPU build first",
        )
    return Check(AREA, "transformers", Status.OK, f"transformers {transformers}, torch {torch}")


def llama_checks() -> Iterator[Check]:
    """Checks of llama.cpp."""
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
    probed: dict[str, Any] = json.loads(probe.stdout.strip().splitlines()[-1])
    yield llama_cpp(version, sound=probed["amx_is_sound"])
    yield devices(probed)


def llama_cpp(version: str, *, sound: bool) -> Check:
    """Says which llama.cpp is there, and whether all of it can be used."""
    if sound:
        return Check(AREA, "llama.cpp", Status.OK, f"llama-cpp-python {version}")
    return Check(
        AREA,
        "llama.cpp",
        Status.LIMITED,
        f"llama-cpp-python {version}, without AMX: GCC before 13.3 compiles it so that quantized models crash",
        "`make venv` of a clone compiles it rightly; THREE_MODE_AMX=1 uses it if a later compiler made it",
    )


def compile_again(version: str | None) -> str:
    """Command that compiles llama.cpp again, past the wheel in pip's cache that does not fit."""
    return f"pip install --force-reinstall --no-deps --no-cache-dir llama-cpp-python=={version}"


def devices(probed: dict[str, Any]) -> Check:
    """Lists the devices of llama.cpp, with the free memory of each."""
    found = "; ".join(
        f"{device['kind']}: {device['description']}, {device['free'] / 2**30:.1f} GiB free"
        for device in probed["devices"]
    )
    cuda = f"for CUDA: CMAKE_ARGS=-DGGML_CUDA=on {compile_again(installed('llama-cpp-python'))}"
    if any(device["kind"] in ("gpu", "igpu") for device in probed["devices"]):
        return Check(AREA, "devices", Status.OK, found)
    if probed["gpu"]:
        return Check(
            AREA,
            "devices",
            Status.LIMITED,
            f"{found}; built for a GPU, and found none",
            "see whether the driver finds it (`nvidia-smi`, `vulkaninfo`); models run on the CPU until then",
        )
    return Check(AREA, "devices", Status.OK, f"{found}; built without a GPU backend", cuda)
