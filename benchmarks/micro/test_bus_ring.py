"""Ring and frames, one operation at a time: `pytest benchmarks/micro --benchmark-only`."""

from typing import Any

import pytest

from benchmarks.bus_peers.board import PAYLOAD
from tests.support.bus.rings import Bench
from transports.bus.frames import Kind, decode_payload, encode_payload, pack_envelope, unpack_envelope

RAW = encode_payload(PAYLOAD)
ENVELOPE = pack_envelope(Kind.ASK, "scout/7", "@ab12cd34", 12345, 123.456, "", "score")


@pytest.fixture
def bench() -> Any:
    bench = Bench(capacity=1 << 20)
    yield bench
    bench.close()


def test_put(benchmark: Any, bench: Bench) -> None:
    benchmark(bench.put, RAW)


def test_put_and_drain(benchmark: Any, bench: Bench) -> None:
    def both() -> None:
        bench.put(RAW)
        bench.pump.drain(1)

    benchmark(both)


def test_park_and_unpark(benchmark: Any, bench: Bench) -> None:
    def both() -> None:
        bench.pump.park()
        bench.pump.unpark()

    benchmark(both)


def test_encode_payload(benchmark: Any) -> None:
    benchmark(encode_payload, PAYLOAD)


def test_decode_payload(benchmark: Any) -> None:
    benchmark(decode_payload, RAW)


def test_pack_envelope(benchmark: Any) -> None:
    benchmark(pack_envelope, Kind.ASK, "scout/7", "@ab12cd34", 12345, 123.456, "", "score")


def test_unpack_envelope(benchmark: Any) -> None:
    benchmark(unpack_envelope, ENVELOPE)
