"""A state machine of ring and wake-up: whatever the order of puts, drains and sleeps, nothing is lost without a Gap,
nothing comes twice or torn, and whoever sleeps while something waits has been rung.
"""

import struct
import zlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.bus.rings import Bench


class RingMachine(RuleBasedStateMachine):
    gated = False
    pair = False

    @initialize(capacity=st.sampled_from([4096, 8192]))
    def start(self, capacity: int) -> None:
        self.bench = Bench(capacity, pair=self.pair, gated=self.gated)
        self.put = 0  # accepted so far
        self.accounted = 0  # delivered or told as lost
        self.asleep = False
        self.rung = False

    @rule(size=st.integers(0, 900))
    def write(self, size: int) -> None:
        filler = bytes(self.put % 256 for _ in range(size))
        body = struct.pack("<qI", self.put + 1, zlib.crc32(filler)) + filler
        seq = self.bench.put(body)
        if seq == 0:
            assert self.gated or self.pair
            assert self.put > self.accounted  # only somebody who is behind holds a writer up
            return
        self.put += 1
        assert seq == self.put
        self.rung = self.rung or self.bench.rung()

    @rule(count=st.integers(1, 60))
    def burst(self, count: int) -> None:
        for _ in range(count):
            self.write(100)

    @precondition(lambda self: not self.asleep)
    @rule(limit=st.integers(1, 50))
    def drain(self, limit: int) -> None:
        for record in self.bench.pump.drain(limit):
            if type(record) is tuple:
                what, _, first, last = record
                assert what == 0
                assert not self.gated
                assert not self.pair
                assert first == self.accounted + 1
                self.accounted = last
                continue
            number, crc = struct.unpack_from("<qI", record.body)
            assert number == record.seq == self.accounted + 1
            assert zlib.crc32(record.body[12:]) == crc
            self.accounted = record.seq
        self.bench.pump.handled()
        if not self.pair:
            assert self.bench.reader_page.entry(3)[2] == self.accounted

    @precondition(lambda self: not self.asleep)
    @rule()
    def lie_down(self) -> None:
        waiting = self.put > self.accounted
        self.asleep = self.bench.pump.park()
        assert self.asleep != waiting
        self.rung = False

    @precondition(lambda self: self.asleep)
    @rule()
    def wake(self) -> None:
        """By the doorbell, or for another reason."""
        self.bench.pump.unpark()
        self.asleep = False

    @invariant()
    def sleeper_with_mail_was_rung(self) -> None:
        if hasattr(self, "bench") and self.asleep:
            assert self.rung == (self.put > self.accounted)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.close()


class GatedMachine(RingMachine):
    gated = True


class PairMachine(RingMachine):
    pair = True


for machine in (RingMachine, GatedMachine, PairMachine):
    machine.TestCase.settings = settings(settings.get_profile("default"), stateful_step_count=60, max_examples=60)
TestRing = RingMachine.TestCase
TestGatedRing = GatedMachine.TestCase
TestPair = PairMachine.TestCase
