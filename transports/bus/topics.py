"""Topics, patterns and names: check them, and match topics against patterns.

A topic is words between dots: `news.eu.sport`. A pattern is a topic with `*` for exactly one word and, at its end, `>`
for one or more words. A topic is matched once, and the result is kept.
"""

from collections.abc import Iterable

from transports.bus.errors import BadAddress

TOPIC_BYTES = 255
NAME_BYTES = 255


def check_topic(topic: str) -> str:
    """Return `topic`, or raise BadAddress if it is not well formed."""
    if not topic:
        raise BadAddress(f"a topic is words between dots, such as news.eu; got {topic!r}")
    if len(topic.encode("utf-8", "surrogatepass")) > TOPIC_BYTES:
        raise BadAddress(f"a topic has at most {TOPIC_BYTES} bytes; {topic[:40]!r}... has more")
    for word in topic.split("."):
        if not word or word in ("*", ">") or any(c.isspace() or c == "\0" for c in word):
            raise BadAddress(
                f"{topic!r} is no topic: words between dots, none empty, no spaces, * and > only in patterns"
            )
    try:
        topic.encode()
    except UnicodeEncodeError:
        raise BadAddress(f"{topic!r} is no topic: it is not valid Unicode") from None
    return topic


def check_pattern(pattern: str) -> str:
    """Return `pattern`, or raise BadAddress if it is not well formed."""
    if not pattern:
        raise BadAddress(f"a pattern is words between dots, such as news.* or news.>; got {pattern!r}")
    words = pattern.split(".")
    for place, word in enumerate(words):
        if word == ">" and place != len(words) - 1:
            raise BadAddress(f"{pattern!r} is no pattern: > stands only at the end")
    plain = ".".join("x" if word in ("*", ">") else word for word in words)
    check_topic(plain)
    return pattern


def check_name(name: str) -> str:
    """Return `name`, or raise BadAddress if it is not well formed."""
    if not name or name.startswith("@") or any(c.isspace() or c == "\0" for c in name):
        raise BadAddress(f"{name!r} is no name: text without spaces that does not start with @, such as scout/7")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BadAddress(f"{name!r} is no name: it is not valid Unicode") from None
    if size > NAME_BYTES:
        raise BadAddress(f"a name has at most {NAME_BYTES} bytes; {name[:40]!r}... has more")
    return name


def matches(pattern: str, topic: str) -> bool:
    """Return whether `topic` matches `pattern`."""
    if pattern == topic:
        return True
    wanted, words = pattern.split("."), topic.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(w in ("*", word) for w, word in zip(wanted, words, strict=True))


def count_matching(patterns: Iterable[tuple[str, int]], topic: str) -> int:
    """Sum the counts of the patterns that match `topic`."""
    return sum(count for pattern, count in patterns if matches(pattern, topic))
