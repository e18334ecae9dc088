"""Secrets in a config file are refused: such files are copied, shown and committed. Their values are never repeated."""

import re
from collections.abc import Mapping
from typing import Any

from three_mode.config.place import Path, Place

_KEY = re.compile(
    r"^(?:Bearer\s+\S+|(?:sk|rk|pk|ghp|gho|xox[abp]|hf|gsk|nvapi)[-_][A-Za-z0-9_\-]{12,}|AIza[\w\-]{20,})"
)
_SECRET_HEADERS = re.compile(r"authorization|cookie|token|secret|api-?key", re.IGNORECASE)
_USERINFO = re.compile(r"^[a-z]+://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)


def refuse_secrets(table: Mapping[str, Any], place: Place, path: Path = ()) -> None:
    """Raises an error for the first value that is a key, by its name or by its looks."""
    for name, value in table.items():
        where = (*path, str(name))
        if isinstance(value, Mapping):
            refuse_secrets(value, place, where)
        elif isinstance(value, list):
            refuse_secrets({str(number): each for number, each in enumerate(value)}, place, where)
        elif isinstance(value, str) and _is_secret(where, value):
            raise place.error(where, "is a secret, and files like this are copied and committed", _instead(where))


def _is_secret(path: Path, value: str) -> bool:
    if path[-1] == "api_key":
        return True
    if len(path) > 1 and path[-2] == "headers" and _SECRET_HEADERS.search(path[-1]):
        return True
    return bool(_KEY.match(value) or _USERINFO.match(value))


def _instead(path: Path) -> str:
    if len(path) > 1 and path[-2] == "headers":
        return f'put it into an environment variable and name that here: headers_env = {{"{path[-1]}" = "NAME"}}'
    provider = path[1] if len(path) > 2 and path[0] == "providers" else "PROVIDER"
    variable = provider.upper().replace("-", "_").replace(".", "_")
    return (
        f"set {variable}_API_KEY in the environment or in .env; or name another variable here with "
        'api_key_env = "NAME", or a file that holds the key alone with api_key_file = "PATH"'
    )
