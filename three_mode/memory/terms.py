"""Terms of a text, by which it is found: words in one form, whatever their case, accents or script.

A query is made of terms alone, so that no syntax of a search language reaches the index. Each term names its namespace
(`7_alice`): a query cannot match a memory of another one.
"""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
# Scripts without spaces between words: their terms are pairs of letters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_LONGEST = 40  # letters of a term
# Words of a question that say nothing of what it is about.
_EMPTY_WORDS = """
a about am an and any are as at be been but by can could d did do does for from had has have he her his how i if in is
it its just ll m me my no not of on or our re s she should so some t than that the their them then there these they
this to us ve was we were what when where which who whom why will with would you your
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())


def terms(text: str) -> list[str]:
    """Terms of a text, in order, with repetitions."""
    plain = text.lower()
    if not plain.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        bare = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
        plain = unicodedata.normalize("NFC", bare)
    found: list[str] = []
    for word in _WORD.findall(plain):
        if word.isascii():
            found.append(word[:_LONGEST])
        else:
            found += _pieces(word)
    return found


def query_terms(text: str, most: int = 200) -> list[str]:
    """Different terms of a query, without words that say nothing, unless there are no others."""
    every = list(dict.fromkeys(terms(text)))
    return [term for term in every if term not in _EMPTY][:most] or every[:most]


def indexed(namespace: int, text: str) -> str:
    """Terms of a text as the index stores them."""
    return " ".join(f"{namespace}_{term}" for term in terms(text))


def match(namespace: int, *those: str) -> str:
    """Expression of the index for texts with all of the terms."""
    return " AND ".join(f'"{namespace}_{term}"' for term in those)


def _pieces(word: str) -> list[str]:
    """Terms of a word, of which a part may be in a script without spaces."""
    found: list[str] = []
    at = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > at:
            found.append(word[at : run.start()][:_LONGEST])
        letters = run.group()
        found += [letters[index : index + 2] for index in range(max(1, len(letters) - 1))]
        at = run.end()
    if at < len(word):
        found.append(word[at:][:_LONGEST])
    return found
