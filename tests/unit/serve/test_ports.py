"""Ports that are kept for workers: nobody else listens there, the workers may."""

import socket

import pytest

from tests.support.serve.endpoint import free_port
from three_mode.errors import ConfigurationError
from three_mode.serve import ServeOptions
from three_mode.serve.ports import kept_ports


def listener(port: int, *, shared: bool) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        place.bind(("127.0.0.1", port))
        place.listen()
    except BaseException:
        place.close()
        raise
    return place


def test_workers_listen_on_a_port_that_is_kept() -> None:
    port = free_port()
    with kept_ports(ServeOptions(port=port)), listener(port, shared=True), listener(port, shared=True):
        with pytest.raises(OSError, match="in use"):
            listener(port, shared=False)
        with socket.create_connection(("127.0.0.1", port), 1):
            pass


def test_a_kept_port_accepts_nothing_by_itself() -> None:
    port = free_port()
    with kept_ports(ServeOptions(port=port)), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_with_a_listener_is_not_kept(shared: bool) -> None:
    port = free_port()
    taken = pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}.*choose another --port")
    with listener(port, shared=shared), taken, kept_ports(ServeOptions(port=port)):
        pass
    with kept_ports(ServeOptions(port=port)):  # and what was not kept is not held
        pass


def test_the_port_for_grpc_is_kept_too() -> None:
    port, other = free_port(), free_port()
    taken = pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{other}.*choose another --grpc")
    with listener(other, shared=True), taken, kept_ports(ServeOptions(port=port, grpc=other)):
        pass
    with listener(port, shared=False):
        pass
