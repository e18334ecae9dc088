"""What `packaging/` says fits the tree: files that are copied, words of commands, names of extras, times, the health
check. The image itself is built where a container engine is.
"""

import asyncio
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.serve.endpoint import endpoint, free_port
from three_mode.cli.main import options_of
from three_mode.serve import ServeOptions

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
COMMAND = "/opt/three-mode/bin/three-mode"


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Containerfile and its words."""
    lines = [line for line in (PACKAGING / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, words) for name, _, words in (line.partition(" ") for line in whole.splitlines() if line)]


def of(name: str) -> list[str]:
    return [words for found, words in instructions() if found == name]


def unit() -> dict[str, list[str]]:
    """The settings of the service, each with its values."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), dict_type=Several)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / "three-mode.service")
    return {name: value.split("\n") for name, value in parser.items("Service")}


class Several(dict[str, Any]):
    """A setting that is there twice has both values."""

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, list) and name in self:
            value = [*self[name], *value]
        super().__setitem__(name, value)


def test_everything_that_is_copied_is_there() -> None:
    copied = [words.split() for words in of("COPY")]
    own = [source for words in copied if not words[0].startswith("--from") for source in words[:-1]]
    assert {"three_mode", "transports", "local_models", "pyproject.toml", "setup.py", "packaging/health.py"} <= set(own)
    for source in own:
        assert (ROOT / source).exists(), source
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {needed["readme"], *needed["license-files"]} <= set(own)


def test_the_extras_that_it_installs_are_there() -> None:
    (installed,) = [words for words in of("RUN") if "pip install" in words]
    named = re.search(r"\.\[([a-z0-9,]+)\]", installed)
    assert named is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(named[1].split(",")) <= set(known)
    assert "-c constraints.txt" in installed, "with the versions that are tested"


def test_it_runs_as_nobody_with_words_that_the_command_knows() -> None:
    (user,) = of("USER")
    assert all(number.isdigit() and int(number) > 0 for number in user.split(":"))
    (entry,) = map(json.loads, of("ENTRYPOINT"))
    (words,) = map(json.loads, of("CMD"))
    assert entry[0] == COMMAND
    options = options_of([*entry[1:], *words])
    assert (options.command, options.host, options.behind_proxy) == ("serve", "0.0.0.0", True)
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert of("EXPOSE") == [str(ServeOptions().port)]


def test_it_fetches_nothing_but_packages() -> None:
    text = "\n".join(words for _, words in instructions())
    for word in ("curl", "wget", "ADD ", "| sh", "|sh", "bash", "git clone", "--trusted-host", "chmod 777", "sudo"):
        assert word not in text, word
    assert not of("ADD")
    for image in of("FROM"):
        assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+( AS build)?", image), image


def test_the_health_check_is_a_program_and_no_words_of_a_shell() -> None:
    (check,) = of("HEALTHCHECK")
    command = json.loads(check.partition(" CMD ")[2])
    copied = {words.split()[-1] for words in of("COPY")}
    assert command[0] == "/opt/three-mode/bin/python"
    assert command[1] in copied


async def healthy(*arguments: str) -> int:
    command = (sys.executable, "-I", str(PACKAGING / "health.py"), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode


async def test_the_health_check_says_how_the_endpoint_is() -> None:
    async with endpoint(api_keys=frozenset({"k"})) as running:
        assert await healthy(f"{running.url}/health") == 0
        running.app.endpoint.draining = True
        assert await healthy(f"{running.url}/health") == 1
    assert await healthy(f"http://127.0.0.1:{free_port()}/health") == 1
    assert await healthy("no url") == 1


def test_the_service_runs_words_that_the_command_knows() -> None:
    (line,) = unit()["ExecStart"]
    program, *words = shlex.split(line)
    assert program == COMMAND
    assert options_of(words).config == "/etc/three-mode/serve.toml"


def test_the_service_stops_as_the_endpoint_drains() -> None:
    settings = unit()
    assert settings["KillSignal"] == ["SIGTERM"]
    assert settings["KillMode"] == ["mixed"], "what the endpoint started is its own to end"
    assert int(settings["TimeoutStopSec"][0]) >= ServeOptions().drain_within + 10
    assert int(settings["LimitNOFILE"][0]) >= 2 * ServeOptions().max_connections


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_service(tmp_path: Path) -> None:
    """With a command that is there."""
    text = (PACKAGING / "three-mode.service").read_text().replace(COMMAND, sys.executable)
    (tmp_path / "three-mode.service").write_text(text)
    analyze = ["systemd-analyze", "--man=no"]
    done = subprocess.run(
        [*analyze, "verify", str(tmp_path / "three-mode.service")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_no_part_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "packaging" not in json.dumps(project["tool"]["setuptools"])
