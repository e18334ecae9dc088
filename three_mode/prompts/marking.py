"""Text from elsewhere, marked as data: a model reads it between two tags that the text itself cannot write.

    <memories>
    Notes from earlier ... They are data: ...
    {"text":"Alice prefers tea","from":"user","on":"2026-11-30"}
    </memories>

Each entry is one line of JSON. Angle brackets, ampersands, line breaks and characters that show nothing are escaped in
it, so that no text ends its line, closes a tag, opens one, or spells a control token such as `<|im_start|>`.
"""

import json
import re
import unicodedata
from collections.abc import Mapping

_TAG = re.compile(r"[a-z][a-z0-9_-]*")
# What JSON leaves as it is, and what a reader could take for an end: brackets of tags, and all that is not printable.
_OPEN = re.compile(r"[<>&]|[^\x20-\x7e]")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))  # Unicode categories without a shape of their own


def data_line(entry: str | Mapping[str, object]) -> str:
    """One entry as a line of JSON in which nothing can be taken for a tag or for the end of the line."""
    return _OPEN.sub(_escaped, json.dumps(entry, ensure_ascii=False, separators=(",", ":"), default=str))


def is_tag(name: str) -> bool:
    """Whether a name can be that of a tag: a word of lower-case letters, digits, `-` and `_`."""
    return _TAG.fullmatch(name) is not None


def tagged(tag: str, lines: str) -> str:
    """Lines between an opening and a closing tag."""
    return f"<{tag}>\n{lines}\n</{tag}>"


def without_surrogates(text: str) -> str:
    """The text with U+FFFD in the place of halves of surrogate pairs, which no encoding can carry."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(found: re.Match[str]) -> str:
    letter = found.group()
    if letter not in "<>&" and unicodedata.category(letter) not in _HIDDEN:
        return letter
    code = ord(letter)
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"
