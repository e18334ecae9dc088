"""Both servers, for the tests that are marked with `on_each_server`."""

from tests.support.cluster.server import each_server

__all__ = ["each_server"]
