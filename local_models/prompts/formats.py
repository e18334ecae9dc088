"""Formats of strings in JSON Schema: the GBNF of those that have one, and their check. Pure.

A format that is not here says nothing: JSON Schema lets it be a remark.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime, time

_TO_29 = '"0" [1-9] | [12] [0-9]'
_YEAR_TO_DAY = (
    '[1-9] [0-9]{3} "-" '
    f'("02-" ({_TO_29}) | ("04" | "06" | "09" | "11") "-" ({_TO_29} | "30")'
    f' | ("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" ({_TO_29} | "3" [01]))'
)
_HOURS = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]'
_CLOCK = f'{_HOURS} ":" [0-5] [0-9] ("." [0-9]{{1,6}})?'
_ZONE = f'("Z" | [+-] {_HOURS})'
_HEX = "[0-9a-f]"
_BYTE = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9]? [0-9])'
_GROUPS = f"{_HEX}{{1,4}}"
_GROUPS = f'({_GROUPS} (":" {_GROUPS}){{0,5}})?'
_LABEL = "[A-Za-z0-9] ([A-Za-z0-9-]{0,61} [A-Za-z0-9])?"
_COUNT = "[0-9]{1,9}"
_DAYS = f'{_COUNT} "Y" ({_COUNT} "M")? ({_COUNT} "D")? | {_COUNT} "M" ({_COUNT} "D")? | {_COUNT} "D"'
_SECONDS = f'{_COUNT} ("." [0-9]{{1,6}})? "S"'
_TIMES = f'{_COUNT} "H" ({_COUNT} "M")? ({_SECONDS})? | {_COUNT} "M" ({_SECONDS})? | {_SECONDS}'

# What stands between the quotes.
BODIES = {
    "date": _YEAR_TO_DAY,
    "time": f"{_CLOCK} {_ZONE}?",
    "date-time": f'{_YEAR_TO_DAY} "T" {_CLOCK} {_ZONE}',
    "duration": f'"P" (({_DAYS}) ("T" ({_TIMES}))? | {_COUNT} "W" | "T" ({_TIMES}))',
    "uuid": f'{_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}}',
    "ipv4": f'{_BYTE} ("." {_BYTE}){{3}}',
    "ipv6": f'{_HEX}{{1,4}} (":" {_HEX}{{1,4}}){{7}} | {_GROUPS} "::" {_GROUPS}',
    "email": f'[A-Za-z0-9_+-]+ ("." [A-Za-z0-9_+-]+)* "@" {_LABEL} ("." {_LABEL})* "." [A-Za-z]{{2,24}}',
    "base64": '([A-Za-z0-9+/]{4})* ([A-Za-z0-9+/]{2} "==" | [A-Za-z0-9+/]{3} "=")?',
    "hostname": f'{_LABEL} ("." {_LABEL})*',
    "uri": r'[a-zA-Z] [a-zA-Z0-9+.-]* ":" [!#-;=?-Z_a-z~\x5B\x5D]+',
}
#: The formats whose GBNF allows nothing that the check refuses.
EXACT = frozenset({"base64", "uuid"})


def _read(reader: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            reader(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return fits


def _matches(pattern: str) -> Callable[[str], bool]:
    """None of these patterns can try one text in many ways."""
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _date(text: str) -> None:
    if len(text) != 10:
        raise ValueError
    date.fromisoformat(text)


def _time(text: str) -> None:
    if not _is_clock(text):
        raise ValueError
    time.fromisoformat(_without_leap_second(text))


def _date_time(text: str) -> None:
    if text[10:11] not in ("T", "t", " ") or not _is_clock(text[11:]):
        raise ValueError
    datetime.fromisoformat(text[:10] + "T" + _without_leap_second(text[11:]))


_is_clock = _matches(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,12})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?")


def _without_leap_second(text: str) -> str:
    """A time as Python reads it: no second 60, and no more than its digits behind the point."""
    clock, rest = text[:8], text[8:]
    digits = re.match(r"\.([0-9]+)", rest)
    if digits is not None:
        rest = "." + digits[1][:6].ljust(6, "0") + rest[digits.end() :]
    return (clock[:6] + "59" if clock.endswith(":60") else clock) + rest.upper()


def _hostname(text: str) -> bool:
    return 0 < len(text) <= 253 and all(map(_is_label, text.split(".")))


_is_label = _matches(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_is_local_part = _matches(r"[^\s@\"(),:;<>\[\\\]]{1,64}")


def _email(text: str) -> bool:
    local, at, host = text.rpartition("@")
    plain = bool(at) and _is_local_part(local) and ".." not in local and not local.startswith(".")
    return plain and not local.endswith(".") and "." in host and _hostname(host)


_is_duration = _matches(
    r"P(?:[0-9]+W|(?=.)(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?(?:T(?=.)(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+(?:\.[0-9]+)?S)?)?)"
)
_CHECKS: dict[str, Callable[[str], bool]] = {
    "date": _read(_date),
    "time": _read(_time),
    "date-time": _read(_date_time),
    "duration": lambda text: _is_duration(text.removeprefix("-")),
    "uuid": _matches(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "ipv4": _read(ipaddress.IPv4Address),
    "ipv6": _read(ipaddress.IPv6Address),
    "email": _email,
    "hostname": _hostname,
    "uri": _matches(r"[a-zA-Z][a-zA-Z0-9+.-]*:[^\s<>\"{}|\\^`]+"),
    "base64": _read(lambda text: base64.b64decode(text, validate=True)),
}


def fits_format(name: str, text: str) -> bool:
    """Whether a text has a format; a format that is not known fits every text."""
    check = _CHECKS.get(name)
    return check is None or check(text)
