"""Sessions of pages: tokens, their end, and the cookie; keys are compared whole."""

from three_mode.page.session import LASTS, MOST, Sessions, cookie, cookie_name, key_matches, token_of


def test_a_token_holds_until_it_ends_or_is_closed() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    token, other = sessions.open(), sessions.open()
    assert token != other
    assert sessions.holds(token)
    assert not sessions.holds(token[:-1])
    assert not sessions.holds("")
    sessions.close(token)
    assert not sessions.holds(token)
    now[0] = LASTS
    assert not sessions.holds(other)
    assert len(sessions) == 0


def test_of_too_many_the_first_ends() -> None:
    sessions = Sessions()
    tokens = [sessions.open() for _ in range(MOST + 1)]
    assert len(sessions) == MOST
    assert not sessions.holds(tokens[0])
    assert sessions.holds(tokens[-1])


def test_each_endpoint_of_a_machine_has_a_cookie_of_its_own() -> None:
    assert cookie_name("127.0.0.1:8080") != cookie_name("127.0.0.1:8081")
    assert token_of("a=b; three_mode_page_8080=t1; three_mode_page_8081=t2", "localhost:8081") == "t2"
    assert token_of("three_mode_page_8080=t1", "localhost:9") is None
    assert token_of(None, None) is None
    given = cookie("t", "localhost:8080", secure=True)
    assert given == "three_mode_page_8080=t; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert "Max-Age=0" in cookie("", "localhost:8080", secure=False)


def test_a_key_is_one_of_those_or_none() -> None:
    assert key_matches("b", ["a", "b"])
    assert not key_matches("", ["a"])
    assert not key_matches("größe", ["a"])
