"""What a worker is told, and lines that several of them write into one pipe."""

from select import PIPE_BUF

import msgspec

from three_mode.cli.access_lines import together
from three_mode.cli.main import options_of
from three_mode.cli.workers.order import WorkerOrder, read_options, written_options


def test_the_command_line_arrives_as_it_was() -> None:
    words = ["serve", "--port", "81", "--certificate", "a.pem", "--key", "b.pem", "--model", "tiny", "--model", "x=y"]
    given = options_of([*words, "--talks", "t.db", "--grpc", "82", "--access-log", "json", "--behind-proxy"])
    order = WorkerOrder(written_options(given), ["/here"], "bus", {"tiny": "agent:model-1"})
    arrived = msgspec.json.decode(msgspec.json.encode(order), type=WorkerOrder)
    assert arrived == order
    read = vars(read_options(arrived.options))
    assert read == {name: value for name, value in vars(given).items() if name != "parser"}


def test_no_piece_of_the_access_log_is_more_than_a_pipe_takes_at_once() -> None:
    lines = [f"{number} {'x' * (number % 300)}" for number in range(500)]
    pieces = list(together(lines))
    assert b"".join(pieces).decode().splitlines() == lines
    assert all(len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) < len(lines) / 10
    assert list(together(["y" * 2 * PIPE_BUF])) == [b"y" * 2 * PIPE_BUF + b"\n"]
    assert list(together([])) == []
