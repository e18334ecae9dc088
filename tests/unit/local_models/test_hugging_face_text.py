"""Text of an answer, token by token: what was shown is in the end the text of all tokens, whatever the tokenizer."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from local_models.transformers.text import TokenText


def bytewise(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def wordwise(tokens: Sequence[int]) -> str:
    """A tokenizer like SentencePiece's: each token is a word behind a space, which the first of a text lacks."""
    return "".join(f" w{token}" for token in tokens)[1:]


@given(st.text(max_size=30))
def test_whole_characters_come_as_soon_as_they_are_whole(text: str) -> None:
    answer, shown = TokenText(bytewise), ""
    for token in text.encode():
        piece = answer.feed(token)
        assert "\ufffd" not in piece or "\ufffd" in text
        shown += piece
    assert shown + answer.end() == text


@given(st.binary(max_size=30))
def test_bytes_that_are_no_characters_are_shown_as_such(tokens: bytes) -> None:
    answer = TokenText(bytewise)
    assert "".join([*map(answer.feed, tokens), answer.end()]) == bytewise(tokens)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_spaces_between_words_are_kept(tokens: list[int]) -> None:
    answer = TokenText(wordwise)
    assert "".join([*map(answer.feed, tokens), answer.end()]) == wordwise(tokens)


def test_what_goes_on_from_a_text_begins_with_its_space() -> None:
    assert TokenText(wordwise, before=[1, 2]).feed(3) == " w3"
    assert TokenText(wordwise).feed(3) == "w3"


def test_a_stop_string_over_several_tokens_ends_the_text() -> None:
    answer = TokenText(bytewise, stops=("END",))
    assert "".join(map(answer.feed, b"ab EN")) == "ab "
    assert answer.feed(ord("x")) == "ENx"
    assert "".join(map(answer.feed, b"END no")) == ""
    assert answer.stopped
    assert answer.end() == ""
