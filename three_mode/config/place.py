"""Place of a setting: the file it is in, with its line, or the argument that brought it."""

import re

from three_mode.errors import ConfigurationError

Path = tuple[str, ...]
_HEADER = re.compile(r"^\s*\[+(?P<name>[^\[\]]+)\]+")
_ASSIGNMENT = re.compile(r"""^\s*(?P<name>[\w.\-"' ]+?)\s*=""")


class Place:
    """Where a table of settings is. `text` is that of a TOML file, whose lines errors name; "" names none."""

    def __init__(self, name: str, text: str = "", prefix: Path = ()) -> None:
        self.name = name
        self._lines = _lines_of(text)
        self._prefix = prefix

    def of(self, path: Path) -> str:
        """The place of one setting: `three_mode.toml:7`, or the name alone where its line is not known."""
        line = self._line(path)
        return self.name if line is None else f"{self.name}:{line}"

    def error(self, path: Path, problem: str, hint: str | None = None) -> ConfigurationError:
        """The error of one setting: its line, its name, and what is wrong with it."""
        line = self._line(path)
        where = self.name if line is None else f"line {line} of {self.name}"
        return ConfigurationError(f"{where}: {'.'.join(path)} {problem}", hint=hint)

    def _line(self, path: Path) -> int | None:
        """The line of a setting, or of the table that it is written in."""
        whole = self._prefix + path
        for length in range(len(whole), len(self._prefix), -1):
            line = self._lines.get(whole[:length])
            if line is not None:
                return line
        return None


def _lines_of(text: str) -> dict[Path, int]:
    """The line of each table and setting of a TOML text."""
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _split(header["name"])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault(table + _split(assignment["name"]), number)
    return found


def _split(dotted: str) -> Path:
    """The parts of a dotted name; dots in quotes do not count."""
    return tuple(part.strip().strip("\"'") for part in re.findall(r""""[^"]*"|'[^']*'|[^.]+""", dotted))
