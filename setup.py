"""Builds the bus's native ring; everything else is in pyproject.toml.

The extension is optional: without a C compiler the install still succeeds and the bus runs on ZeroMQ. The extension
uses the limited API, so that one wheel serves every CPython from 3.11 on.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(str(path) for path in Path("transports/bus/native").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("transports/bus/native").glob("*.h"))

# THREE_MODE_SANITIZE=address,undefined builds the ring for the sanitizer run of the tests.
sanitize = os.environ.get("THREE_MODE_SANITIZE")
flags = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"]
if sanitize:
    flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g", "-O1"]

ring = Extension(
    "transports.bus._ring",
    sources=SOURCES,
    depends=HEADERS,
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    extra_compile_args=flags,
    extra_link_args=[f"-fsanitize={sanitize}"] if sanitize else [],
    py_limited_api=True,
    optional=True,
)

setup(
    ext_modules=[ring] if SOURCES and sys.platform == "linux" else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
