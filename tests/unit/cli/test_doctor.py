"""The doctor finds what is there, says what to do about what is not, and survives what it did not foresee."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from three_mode.cli import main
from three_mode.doctor import Check, Status, bus, checkup, kernel, limits, models, remote, runtime
from three_mode.doctor import checkup as checkup_module  # noqa: F401
from three_mode.doctor.checkup import _AREAS
from transports.bus import BlockingBus, BusOptions


def test_this_machine_can_run_three_mode() -> None:
    found = {check.name: check for check in checkup()}
    assert not [check for check in found.values() if check.needed_but_broken]
    assert {"python", "transports", "memfd", "seals", "pidfd", "zeromq", "http/2", "open files"} <= set(found)


def test_every_finding_that_is_not_well_says_what_to_do() -> None:
    assert not [check for check in checkup() if check.status is not Status.OK and not check.advice]


def test_the_carrier_is_shown_by_a_bus_that_ran_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check = bus.carrier()
    assert (check.status, check.found.partition(":")[0]) == (Status.OK, "rings")
    monkeypatch.setattr("transports.bus.choice.rings_available", lambda: (False, "none today"))
    check = bus.carrier()
    assert (check.status, check.found.partition(";")[0]) == (Status.LIMITED, "zmq: none today")
    assert check.advice
    monkeypatch.setattr("transports.bus.bus.choose", _refused)
    assert bus.carrier().status is Status.BROKEN


def test_who_spins_is_shown_beside_the_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bus.spin().status is Status.OK
    name = f"spin-{os.getpid()}"
    with BlockingBus.join(name, BusOptions(label="host-1", spin=0.02)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
        check = bus.spin()
        assert (check.status, check.found) == (Status.OK, f"keep a core after each message: host-1 on {name} for 20 ms")
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
        assert (bus.spin().status, bus.spin().found[-10:]) == (Status.LIMITED, "; cores: 1")


def _refused(*_: object) -> None:
    raise OSError(13, "Permission denied")


def test_a_feature_the_kernel_refuses_is_limited_not_broken() -> None:
    def refused() -> None:
        raise PermissionError(1, "Operation not permitted")

    def unknown() -> None:
        raise AttributeError("module 'os' has no attribute 'pidfd_open'")

    for use in (refused, unknown):
        check = kernel.feature("pidfd", use, "Linux 5.3")
        assert check.status is Status.LIMITED
        assert "Linux 5.3" in check.advice


def test_the_packages_for_models_of_hugging_face_are_found_or_named() -> None:
    there = models.transformers_check("5.24.0", "2.13.0+cpu")
    assert (there.status, there.found) == (Status.OK, "transformers 5.24.0, torch 2.13.0+cpu")
    half = models.transformers_check("5.24.0", None)
    assert (half.status, half.found) == (Status.ABSENT, "no torch")
    assert "three-mode[hf]" in half.advice
    assert models.transformers_check(None, None).found == "no transformers and torch"


def test_another_package_named_transports_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Path(runtime.__file__).resolve().parents[2]
    assert runtime.shadowing(home).status is Status.OK
    check = runtime.shadowing(tmp_path)
    assert check.status is Status.BROKEN
    assert "pip uninstall transports" in check.advice


def test_shadowing_as_a_user_would_meet_it(tmp_path: Path) -> None:
    (tmp_path / "transports").mkdir()
    (tmp_path / "transports" / "__init__.py").write_text("")
    root = Path(runtime.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "three_mode.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""},
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert not told["healthy"]
    assert next(check for check in told["checks"] if check["name"] == "transports")["status"] == "broken"


@pytest.mark.parametrize(
    ("soft", "hard", "status"),
    [
        (1024, 1024, Status.LIMITED),
        (1024, 524288, Status.LIMITED),
        (65536, 65536, Status.OK),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, Status.OK),
    ],
)
def test_too_few_open_files(soft: int, hard: int, status: Status) -> None:
    check = limits.open_files(soft, hard)
    assert check.status is status
    assert ("ulimit -n" in check.advice) == (status is Status.LIMITED and hard > soft)


def test_one_core_is_said() -> None:
    assert limits.cores(1).status is Status.LIMITED
    assert limits.cores(8).status is Status.OK


def test_no_shared_memory_is_no_problem(tmp_path: Path) -> None:
    assert limits.shared_memory(tmp_path / "not-there").status is Status.OK


def test_a_missing_ring_leaves_zeromq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transports.bus._ring", None)
    assert bus.native_ring().status is Status.LIMITED
    assert bus.zeromq().status is Status.OK


def test_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remote, models, runtime):
        monkeypatch.setattr(module, "installed", lambda _: None)
    assert remote.http2().status is Status.BROKEN
    assert next(models.checks()).status is Status.ABSENT
    assert runtime.event_loop().status is Status.LIMITED


def test_providers_that_can_be_called_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-secret-key-of-the-test")
    monkeypatch.delenv("QWEN_API_KEY", raising=False)
    check = remote.providers()
    able, _, lacking = check.found.partition(";")
    assert (check.status, "deepseek" in able, "qwen" in lacking) == (Status.OK, True, True)
    assert "sk-secret" not in check.found
    monkeypatch.setenv("LLM_TIMEOUT", "soon")
    assert remote.providers().status is Status.LIMITED


def test_a_native_library_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    check = next(models.checks())
    assert check.status is Status.BROKEN
    assert "exit code -4" in check.found


def test_devices_are_those_that_llama_cpp_lists() -> None:
    from local_models.llama import devices

    check = next(check for check in models.checks() if check.name == "devices")
    assert check.status is Status.OK
    for device in devices():
        assert f"{device.kind}: {device.description}, " in check.found


@pytest.mark.parametrize(
    ("gpu", "kinds", "status", "says", "advice"),
    [
        (True, ["cpu", "gpu"], Status.OK, "gpu: A gpu, 2.0 GiB free", ""),
        (True, ["cpu"], Status.LIMITED, "found none", "nvidia-smi"),
        (False, ["cpu"], Status.OK, "built without a GPU backend", "GGML_CUDA"),
    ],
)
def test_a_gpu_that_could_be_used_and_is_not_is_said(
    gpu: bool, kinds: list[str], status: Status, says: str, advice: str
) -> None:
    found = [{"kind": kind, "description": f"A {kind}", "free": 2 << 30} for kind in kinds]
    check = models.devices({"gpu": gpu, "devices": found})
    assert check.status is status
    assert says in check.found
    assert advice in check.advice


def test_a_check_that_fails_unforeseen_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:

    def bad() -> Iterator[Check]:
        raise RuntimeError("surprise")
        yield

    monkeypatch.setattr(sys.modules["three_mode.doctor.checkup"], "_AREAS", (("area", bad), _AREAS[0]))
    found = list(checkup())
    assert found[0].needed_but_broken
    assert "RuntimeError: surprise" in found[0].found
    assert found[1].name == "python"


def test_json_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["healthy"] is True
    assert main(["doctor"]) == 0
    assert "memfd" in capsys.readouterr().out
