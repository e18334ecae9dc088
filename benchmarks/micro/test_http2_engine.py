"""HTTP/2 of a call, without sockets: h2 by itself, and the transport's engine."""

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection

from transports.http2 import PoolOptions, SSEDecoder
from transports.http2.engine import ClientEngine

HEAD = (
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"localhost:8443"),
    (b":path", b"/v1/chat/completions"),
    (b"authorization", b"Bearer " + b"k" * 35),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"user-agent", b"benchmark/1"),
    (b"content-length", b"200"),
)
ANSWER = (
    (b":status", b"200"),
    (b"content-type", b"application/json"),
    (b"content-length", b"300"),
    (b"server", b"benchmark"),
    (b"date", b"Fri, 20 Nov 2026 11:00:00 GMT"),
)
WINDOW = 2**20
EVENTS = b'data: {"choices":[{"index":0,"delta":{"content":"hello world"}}]}\n\n' * 100


def conversation(client: H2Connection, server: H2Connection) -> Any:
    """Prepares calls; the server's half runs outside the measurement where possible."""
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())

    def prepare() -> tuple[tuple[int, bytes], dict[str, Any]]:
        stream_id = client.get_next_available_stream_id()
        send(client, stream_id)
        server.receive_data(client.data_to_send())
        for connection in (client, server):
            if connection.inbound_flow_control_window < WINDOW // 32:
                connection.increment_flow_control_window(WINDOW // 32)
        server.receive_data(client.data_to_send())
        server.send_headers(stream_id, list(ANSWER))
        server.send_data(stream_id, b"y" * 300, end_stream=True)
        return (stream_id, server.data_to_send()), {}

    return prepare


def send(client: H2Connection, stream_id: int) -> None:
    if isinstance(client, ClientEngine):
        client.open_stream(stream_id, HEAD, ends=False)
        client.send_piece(stream_id, b"x" * 200, ends=True)
    else:
        client.send_headers(stream_id, list(HEAD))
        client.send_data(stream_id, b"x" * 200, end_stream=True)


def stock() -> H2Connection:
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    return client


def ours() -> H2Connection:
    return ClientEngine(PoolOptions(), lambda frame: None)


def serving() -> H2Connection:
    return H2Connection(H2Configuration(client_side=False, header_encoding=None))


def measure_send(benchmark: Any, client: H2Connection) -> None:
    server = serving()
    conversation(client, server)
    client.remote_settings.max_concurrent_streams = 2**31 - 1
    client.remote_settings.acknowledge()

    def one() -> bytes:
        client.outbound_flow_control_window = WINDOW
        stream_id = client.get_next_available_stream_id()
        send(client, stream_id)
        client.streams.pop(stream_id)  # else the count of open streams would be measured
        return client.data_to_send()

    assert benchmark(one)


def measure_receive(benchmark: Any, client: H2Connection) -> None:
    prepare = conversation(client, serving())
    benchmark.pedantic(
        lambda stream_id, data: client.receive_data(data), setup=prepare, rounds=3_000, warmup_rounds=100
    )


def test_send_a_request_with_h2_as_it_comes(benchmark: Any) -> None:
    measure_send(benchmark, stock())


def test_send_a_request_with_the_engine(benchmark: Any) -> None:
    measure_send(benchmark, ours())


def test_receive_a_response_with_h2_as_it_comes(benchmark: Any) -> None:
    measure_receive(benchmark, stock())


def test_receive_a_response_with_the_engine(benchmark: Any) -> None:
    measure_receive(benchmark, ours())


def test_decode_a_hundred_server_sent_events(benchmark: Any) -> None:
    decoder = SSEDecoder()
    assert len(benchmark(decoder.feed, EVENTS)) == 100
