"""Machines on one computer: they reach each other until one is unplugged, and nothing is left of them."""

import shutil
import socket
import subprocess

import pytest

from three_mode.errors import ModeUnavailable
from three_mode.testing import Machines


@pytest.fixture(autouse=True)
def _machines() -> None:
    why = Machines.refused()
    if why:
        pytest.skip(why)


def said(machines: Machines, listening: socket.socket) -> bytes:
    """What comes through from left to right within a second."""
    with machines.socket("left") as calling:
        calling.settimeout(1.0)
        calling.connect(listening.getsockname())
        answering, _ = listening.accept()
        with answering:
            calling.sendall(b"hello")
            return answering.recv(5)


def test_two_machines_reach_each_other_until_one_is_unplugged() -> None:
    with Machines("left", "right") as machines:
        with machines.socket("right") as listening:
            listening.bind((machines.address("right"), 0))
            listening.listen()
            listening.settimeout(5.0)
            assert said(machines, listening) == b"hello"
            machines.unplug("right")
            with pytest.raises(OSError):
                said(machines, listening)
            machines.plug("right")
            for _ in range(10):
                try:
                    assert said(machines, listening) == b"hello"
                    break
                except OSError:
                    pass  # the cable needs a moment
            else:
                pytest.fail("it is cut off still")


def test_a_command_runs_on_a_machine_and_nothing_is_left_of_it() -> None:
    with Machines("left", "right") as machines:
        command = machines.command("right", ["ip", "-o", "address", "show", "dev", "eth0"])
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert machines.address("right") in shown
        name = machines.namespace("right")
        assert name in _namespaces()
    assert name not in _namespaces()


def _namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout


def test_what_cannot_be_made_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _namespaces()
    monkeypatch.setattr(Machines, "address", lambda machines, name: "nowhere")
    with pytest.raises(ModeUnavailable, match=r"ip .*address add nowhere/24"):
        with Machines("left"):
            pass
    assert _namespaces() == before
    with pytest.raises(ValueError, match="another name"):
        Machines("left", "left")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert "apt-get install iproute2" in Machines.refused()
