"""Options of the server, and what the package exports."""

import pytest

from transports.http2 import server
from transports.http2.server import ServerOptions


def test_exports() -> None:
    assert server.__all__ == ["Application", "Cycle", "RequestHead", "Server", "ServerOptions"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 0},
        {"streams": 0},
        {"head_within": 0.0},
        {"body_rate": 0},
        {"frame_bytes": 16_383},
        {"frame_bytes": 1 << 24},
        {"body_window": 1 << 31},
        {"resets_per_second": -1},
        {"port": -1},
    ],
)
def test_limits_that_would_serve_nobody_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServerOptions(**wrong)  # type: ignore[arg-type]


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        ServerOptions().port = 1  # type: ignore[misc]
