"""Reads a `.env` file of `NAME=value` lines. The environment stays as it is."""

import re
from pathlib import Path

from three_mode.errors import ConfigurationError

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(?P<value>.*?)\s*$")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_dotenv(path: Path) -> dict[str, str]:
    """Reads names and values of the file; {} where there is no file. A line that is no assignment is an error."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ConfigurationError(f"line {number} of {path.name} is not NAME=value")
        found[match["name"]] = _value(match["value"])
    return found


def _value(raw: str) -> str:
    """Unquotes a value as a shell does.

    Nothing is special in single quotes; escapes work in double quotes; a comment needs a blank before it.
    """
    if raw[:1] == "'" and "'" in raw[1:]:
        return raw[1 : raw.index("'", 1)]
    if raw[:1] == '"':
        match = re.match(r'"((?:[^"\\]|\\.)*)"', raw)
        if match:
            return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], "\\" + escape[1]), match[1])
    return re.split(r"\s#", raw, maxsplit=1)[0].rstrip() if not raw.startswith("#") else ""
