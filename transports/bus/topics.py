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


class _Node:
    """Word of patterns: the words that may follow it, and whether a pattern ends with it."""

    __slots__ = ("followers", "number")

    def __init__(self) -> None:
        self.followers: dict[str, _Node] = {}
        self.number = 0  # of the pattern that ends here, in the order of `add`; 0: none


class PatternIndex:
    """Patterns, found by the topics that they match without a look at the others."""

    def __init__(self) -> None:
        self._root = _Node()
        self._patterns: dict[int, str] = {}
        self._number = 0

    def add(self, pattern: str) -> None:
        """Add a pattern that is not there yet."""
        node = self._root
        for word in pattern.split("."):
            node = node.followers.setdefault(word, _Node())
        self._number += 1
        node.number = self._number
        self._patterns[self._number] = pattern

    def remove(self, pattern: str) -> None:
        """Remove a pattern that is there."""
        path = [self._root]
        words = pattern.split(".")
        for word in words:
            path.append(path[-1].followers[word])
        del self._patterns[path[-1].number]
        path[-1].number = 0
        while words and not path[-1].number and not path[-1].followers:
            path.pop()
            del path[-1].followers[words.pop()]

    def matching(self, topic: str) -> list[str]:
        """Return the patterns that match `topic`, in the order in which they were added."""
        nodes, found = [self._root], set()
        for word in topic.split("."):
            following = []
            for node in nodes:
                rest = node.followers.get(">")
                if rest is not None:
                    found.add(rest.number)
                for key in (word, "*") if word != "*" else (word,):
                    follower = node.followers.get(key)
                    if follower is not None:
                        following.append(follower)
            nodes = following
        found.update(node.number for node in nodes)
        found.discard(0)
        return [self._patterns[number] for number in sorted(found)]


def count_matching(patterns: Iterable[tuple[str, int]], topic: str) -> int:
    """Sum the counts of the patterns that match `topic`."""
    return sum(count for pattern, count in patterns if matches(pattern, topic))
