"""How llama.cpp is compiled: our part of its build in a small project with the same names, and one build at a time."""

import fcntl
import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import llama_wheel
from scripts.llama_wheel import AMX_MARK

# What our file relies on: a front that forces the programs' library on, and the targets by their names.
FRONT = """
cmake_minimum_required(VERSION 3.21)
project(front C CXX)
set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
add_subdirectory(vendor/llama.cpp)
add_library(mtmd SHARED vendor/llama.cpp/tools/mtmd/mtmd-helper.cpp vendor/llama.cpp/tools/mtmd/one.cpp)
"""
ENGINE = """
cmake_minimum_required(VERSION 3.14...3.28)
project("llama.cpp" C CXX)
option(LLAMA_BUILD_COMMON "" OFF)
add_library(ggml-cpu SHARED cpu.c)
add_library(llama SHARED src/llama.cpp)
if(LLAMA_BUILD_COMMON)
  add_library(llama-common SHARED common.cpp)
endif()
"""
SOURCES = {
    "CMakeLists.txt": FRONT,
    "vendor/llama.cpp/CMakeLists.txt": ENGINE,
    "vendor/llama.cpp/cpu.c": "int cpu(void) { return 1; }",
    "vendor/llama.cpp/src/llama.cpp": "int llama() { return std::string(LLAMA).size(); }",  # only the header has them
    "vendor/llama.cpp/src/models/models.h": '#include <string>\n#define LLAMA "llama"\n',
    "vendor/llama.cpp/common.cpp": "#error it is not to be compiled",
    "vendor/llama.cpp/tools/mtmd/mtmd-helper.cpp": "int helper() { return 1; }",
    "vendor/llama.cpp/tools/mtmd/one.cpp": "int one() { return 1; }",
}


def test_the_programs_are_left_out_and_the_processors_code_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    arguments = shlex.split(llama_wheel.build_environment()["CMAKE_ARGS"])  # as scikit-build-core splits them
    for command in (["cmake", "-S", ".", "-B", "build", *arguments], ["cmake", "--build", "build"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    libraries = {path.name: path.read_bytes() for path in (tmp_path / "build").rglob("lib*.so")}
    assert set(libraries) == {"libggml-cpu.so", "libllama.so", "libmtmd.so"}
    assert {name for name, body in libraries.items() if AMX_MARK in body} == {"libggml-cpu.so"}
    compiled = {Path(each["file"]).name: each["command"] for each in json.loads(_commands(tmp_path))}
    assert "-O1" in compiled["mtmd-helper.cpp"]
    assert "-O1" not in compiled["llama.cpp"]


def _commands(folder: Path) -> str:
    return (folder / "build" / "compile_commands.json").read_text()


def packed(folder: Path, version: str, library: bytes) -> Path:
    """A wheel with one library."""
    folder.mkdir(exist_ok=True)
    path = folder / f"llama_cpp_python-{version}-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llama_cpp/lib/libggml-cpu.so", library)
    return path


def test_a_wheel_that_would_crash_on_this_processor_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = llama_wheel.requirement().partition("==")[2]
    packed(tmp_path / "other", "0.0.1", AMX_MARK)
    assert llama_wheel.wheel(tmp_path / "other") is None
    unmarked = packed(tmp_path / "unmarked", version, b"code")
    marked = packed(tmp_path / "marked", version, b"code " + AMX_MARK)
    for amx in (False, True):
        monkeypatch.setattr(llama_wheel, "has_amx", lambda amx=amx: amx)
        assert llama_wheel.wheel(marked.parent) == marked
        assert llama_wheel.wheel(unmarked.parent) == (None if amx else unmarked)


def test_one_process_builds_and_the_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in {"VENV": tmp_path, "WHEELS": tmp_path / "wheels"}.items():
        monkeypatch.setattr(llama_wheel, name, path)
    monkeypatch.setattr(llama_wheel, "LOG", tmp_path / "log")
    monkeypatch.setattr(llama_wheel, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(llama_wheel, "build", lambda *_: pytest.fail("two build at once"))
    (tmp_path / "log").write_text("  [5/10] one\n  [6/10] two\nerror: no such thing\n")
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert llama_wheel.build_once() == 0
        assert llama_wheel._locked()
        builder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"], env=os.environ)
        fcntl.flock(lock, fcntl.LOCK_UN)
    with pytest.raises(SystemExit, match="no such thing"):
        llama_wheel.finish(builder)
    assert "60%" in capsys.readouterr().out
