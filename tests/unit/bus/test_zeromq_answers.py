"""Questions between the members of a ZeroMQ bus."""

from transports.bus.zeromq.queries import PendingQueries


def test_no_two_members_ask_with_the_same_tokens() -> None:
    """An answer to one of them, on a socket that all read, would answer the others' questions too, and wrongly."""
    firsts = {PendingQueries().expect(lambda member, what: None) for _ in range(100)}
    assert len(firsts) == 100
    assert all(0 <= token < 2**63 for token in firsts)
