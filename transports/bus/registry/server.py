"""Registry server: a thread that reads Unix sockets, applies messages to `RegistryState`, and sends the answers.

The process of one member hosts it. In a thread it answers while that process's event loop is busy, it needs no process,
and it ends with its host. Then the members elect another host (see `election.py`).
"""

import logging
import os
import selectors
import threading
import time
from collections.abc import Sequence

from transports.bus.errors import BusError, JoinFailed, Overloaded
from transports.bus.events import MemberInfo
from transports.bus.registry import wire
from transports.bus.registry.channel import UnixChannel, peer_credentials
from transports.bus.registry.election import HostingRight
from transports.bus.registry.lateness import Lateness, is_alive
from transports.bus.registry.pacing import ChangePacing
from transports.bus.registry.places import Places
from transports.bus.registry.seats import Seat, Shards
from transports.bus.registry.state import RegistryState

log = logging.getLogger("three_mode.bus.registry")
HELLO_WITHIN = 5.0  # seconds after which a connection without Hello is dropped
NEWCOMERS_WITHIN = 3.0  # seconds that newcomers wait at most for members that are late
GRACE = 1.0  # seconds that the members of a registry that died have to come back; longer where they live
CONNECTIONS = 2048  # open at once
ACCEPTS = 64  # connections accepted in one turn, between messages of members
ENDED = "the registry stopped: another member, or this one again, hosts it from now on"


class RegistryServer:
    """Registry of one bus, behind a listening Unix socket."""

    def __init__(self, right: HostingRight, bus: str, carrier: str, layout: int, shards: Shards) -> None:
        self._right, self._listener = right, right.listener
        self._open()
        self._channels: dict[Seat, UnixChannel] = {}
        self._silent: dict[Seat, float] = {}  # connections without Hello -> since when
        self._broken: list[tuple[Seat, str]] = []
        self._deferred: list[tuple[Seat, wire.Hello, list[int]]] = []
        self._grace_until = 0.0
        self._look_at = 0.0  # next look at members that are not back yet
        self._lateness = Lateness()
        self._pace = ChangePacing()
        self._stopping = False
        self._ended_alone: bool | None = None
        self._places = Places(right.paths.lock)
        self.dropped = 0  # connections ended for garbage, for silence, or because they are another user's
        self.state = RegistryState(bus, carrier, layout, shards, self._send, self._places)
        self._thread = threading.Thread(target=self._run, name=f"bus-registry-{bus}", daemon=True)

    def start(self, known: Sequence[MemberInfo], after_a_death: bool) -> None:
        """Start the thread. `known`: members of the registry before this one, as far as this process knows them."""
        ids = {info.id for info in known}
        self.state.expect([*known, *(info for info in self._right.members if info.id not in ids)])
        self._lateness = Lateness()
        self._look_at = self._lateness.since + GRACE
        if after_a_death:
            self._grace_until = self._look_at
        self._start_thread()

    def _open(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def _start_thread(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the messages that members have already sent."""
        self._stopping = True
        os.write(self._wake_write, b"x")
        self._thread.join(2.0)
        if not self._thread.is_alive():
            os.close(self._wake_read)
            os.close(self._wake_write)

    @property
    def alone(self) -> bool:
        """Whether no member is left: none is here, and none whose process lives may come back."""
        if self._ended_alone is None:
            return not self.state.members and not any(map(self._may_be_there, self.state.expected))
        return self._ended_alone

    def _may_be_there(self, info: MemberInfo) -> bool:
        return is_alive(info.pid) and self._places.has(info)

    def close_after_fork(self) -> None:
        """Close the sockets in the child of a fork; the connections stay the parent's."""
        self._listener.close()
        self._places.close()
        for channel in self._channels.values():
            channel.sock.close()

    # --- the thread -------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        selector = self._selector
        try:
            selector.register(self._listener, selectors.EVENT_READ, None)
            selector.register(self._wake_read, selectors.EVENT_READ, None)
            stopping = False
            while not stopping:
                stopping = self._stopping  # one more turn then: messages sent before must not be lost
                self._turn(selector.select(0 if stopping else self._patience()), stopping)
        except Exception:
            log.exception(ENDED)
        finally:
            self._finish()

    def _turn(self, ready: Sequence[tuple[selectors.SelectorKey, int]], stopping: bool) -> None:
        for key, events in ready:
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, Seat):
                self._serve(key.data, events)
        now = time.monotonic()
        self._tick(now)
        if self.state.unannounced and (stopping or not self._pace.wait(now)):
            self.state.announce()
            self._pace.sent(now, time.monotonic(), self.state.members)
        else:
            self.state.answer()
        self._drop_broken()

    def _finish(self) -> None:
        self._listener.close()
        if not self._stopping:
            self._right.release(remove=False)  # else `stop` is waited for, and the right is released after it
        for channel in self._channels.values():
            channel.close()
        self._selector.close()
        self.state.close()
        self._ended_alone = self.alone
        self._places.close()
        for _, _, fds in self._deferred:
            for fd in fds:
                os.close(fd)

    def _patience(self) -> float | None:
        """Return the seconds to wait for messages before other work is due."""
        if self.state.unannounced:
            return self._pace.wait(time.monotonic())
        if self._grace_until:
            return 0.05
        if self.state.waits:
            return 0.2
        return 1.0 if self._silent or self.state.expected else None

    def _tick(self, now: float) -> None:
        if self.state.waits:
            self.state.expire(now)
        if self.state.expected and now >= self._look_at:
            self._look_at = now + GRACE
            late = self._lateness
            self.state.forget_expected(lambda info: late.may_come_back(info.pid, now) and self._places.has(info))
            self.state.free_places(self._may_be_there)
        if self._grace_until and not self._newcomers_wait(now):
            self._grace_until = 0.0
            deferred, self._deferred = self._deferred, []
            for seat, hello, fds in deferred:
                if seat in self._channels:
                    self._handle(seat, hello, fds)
                else:  # it sent Hello twice
                    for fd in fds:
                        os.close(fd)
        while self._silent:
            seat, since = next(iter(self._silent.items()))  # the oldest
            if now - since <= HELLO_WITHIN:
                break
            self._drop(seat, "it did not say Hello")

    def _newcomers_wait(self, now: float) -> bool:
        """Whether members that are late come first: a writer that joined before a RELIABLE reader is back would not
        wait for it."""
        if not self.state.late:
            return False
        if now - self._lateness.since >= NEWCOMERS_WITHIN:
            return False
        return now < self._grace_until or any(self._lateness.may_come_back(info.pid, now) for info in self.state.late)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError as error:  # out of descriptors: a later one may fit again
            log.warning("the registry cannot accept a member: %s", error)
            time.sleep(0.01)
            return False
        try:
            _, uid = peer_credentials(sock)
        except OSError:
            sock.close()
            return True
        if uid not in (os.getuid(), 0) or len(self._channels) >= CONNECTIONS:
            self.dropped += 1
            log.warning("the registry refused a connection of user %d (%d are open)", uid, len(self._channels))
            sock.close()
            return True
        seat = Seat()
        try:
            self._selector.register(sock, selectors.EVENT_READ, seat)
        except OSError as error:
            log.warning("the registry cannot serve a connection: %s", error)
            sock.close()
            return True
        channel = self._channels[seat] = UnixChannel(sock)
        channel.limit = wire.HELLO_LIMIT
        self._silent[seat] = time.monotonic()
        return True

    def _serve(self, seat: Seat, events: int) -> None:
        channel = self._channels.get(seat)
        if channel is None:
            return
        if events & selectors.EVENT_READ:
            try:
                for body, fds in channel.receive():
                    try:
                        message = wire.from_member(body)
                    except BusError:
                        for fd in fds:
                            os.close(fd)
                        raise
                    if channel.scarce:
                        self._handle_without_files(seat, message)
                    else:
                        self._handle(seat, message, fds)
                    if seat not in self._channels:
                        return  # dropped meanwhile, and its socket closed
            except OSError as error:
                self._drop(seat, f"its connection broke: {error}", garbage=False)
            except EOFError:
                self._drop(
                    seat,
                    "its process ended" if seat.info is not None else "it closed before Hello",
                    garbage=False,
                )
            except BusError as error:
                self._drop(seat, f"it sent what it must not: {error}")
        if events & selectors.EVENT_WRITE and seat in self._channels:  # after reading: its last message may be Bye
            try:
                channel.flush()
                if not channel.pending:
                    self._selector.modify(channel.sock, selectors.EVENT_READ, seat)
            except OSError as error:
                self._broken.append((seat, f"its connection broke: {error}"))

    def _handle(self, seat: Seat, message: wire.FromMember, fds: list[int]) -> None:
        if isinstance(message, wire.Hello):
            self._silent.pop(seat, None)
            channel = self._channels.get(seat)
            if channel is not None:
                channel.limit = wire.MESSAGE_LIMIT
            if self._grace_until and not message.id:  # returning members choose their slots first
                self._deferred.append((seat, message, fds))
                return
        try:
            self.state.handle(seat, message, fds)
            if seat.ended:  # it said Bye
                self._drop(seat, "left", garbage=False)
        except BusError as error:
            self.state.answer()
            self._refuse(seat, error)
            self._drop(seat, f"it sent what it must not: {error}")
        except OSError as error:  # of this process: out of descriptors, for example
            self._refuse(seat, Overloaded(f"the registry cannot serve this member: {error}"))
            self._drop(seat, f"it cannot be served: {error}", garbage=False)
        except Exception as error:  # not foreseen: it ends the member whose message it was, not the registry
            log.exception("the registry failed at a %s", type(message).__name__)
            self._drop(seat, f"its {type(message).__name__} made the registry fail: {error!r}")

    def _handle_without_files(self, seat: Seat, message: wire.FromMember) -> None:
        """Refuse a message whose descriptors had no room in this process; the member lives on, and tries again."""
        text = f"the registry, in process {os.getpid()}, may open no more files: raise its RLIMIT_NOFILE"
        log.warning("%s", text)
        if isinstance(message, wire.Hello):
            self._refuse(seat, JoinFailed(text))
            self._drop(seat, text, garbage=False)
        else:
            self.state.refuse(seat, getattr(message, "token", 0), Overloaded(text))

    def _refuse(self, seat: Seat, error: BusError) -> None:
        """Give a member the reason before its connection ends, if its socket takes it now."""
        text = str(error)[: wire.REASON_LIMIT]
        self._send(seat, wire.pack(wire.RequestRefused(0, error.code, text)), ())

    def _send(self, seat: Seat, data: bytes, fds: Sequence[int]) -> None:
        channel = self._channels.get(seat)
        if channel is None:
            return
        try:
            waiting = channel.pending
            channel.send(data, fds)
            if channel.pending and not waiting:
                self._selector.modify(channel.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, seat)
        except ConnectionError:
            pass  # it has closed: what it sent before is read in the next turn, Bye among it, and then its end
        except (OSError, OverflowError) as error:
            self._broken.append((seat, f"it cannot be told anything: {error}"))

    def _drop_broken(self) -> None:
        while self._broken:
            broken, self._broken = self._broken, []
            for seat, reason in broken:
                self._drop(seat, reason, garbage=False)
            self.state.answer()

    def _drop(self, seat: Seat, reason: str, garbage: bool = True) -> None:
        channel = self._channels.pop(seat, None)
        if channel is None:
            return
        self._silent.pop(seat, None)
        for waiting in [item for item in self._deferred if item[0] is seat]:
            self._deferred.remove(waiting)
            for fd in waiting[2]:
                os.close(fd)
        if garbage:
            self.dropped += 1
            log.warning("the registry drops a member: %s", reason)
        self._selector.unregister(channel.sock)
        self.state.gone(seat, reason)
        channel.close()
