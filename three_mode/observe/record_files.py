"""Reads records files back: the report that a connection would give of the calls in them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from three_mode.errors import ConfigurationError
from three_mode.observe.call_figures import CallFigures
from three_mode.observe.call_sums import CallTallies, check_dimensions
from three_mode.observe.report import Dimension, Report


def report_of_records(
    paths: str | Path | Iterable[str | Path], by: Dimension | Iterable[Dimension] | None = None
) -> Report:
    """The report of the calls in one records file or several. Lines that are no records are counted in `unreadable`.

    The files are read a line at a time, and need not fit into memory.
    """
    wanted = check_dimensions(by)
    decode = msgspec.json.Decoder(CallFigures).decode
    tallies, unreadable = CallTallies(), 0
    for path in [paths] if isinstance(paths, str | Path) else paths:
        for line in _lines(Path(path)):
            try:
                tallies.add(decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                unreadable += 1
    return tallies.report(wanted, unreadable)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that are not empty."""
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.isspace():
                    yield line
    except OSError as error:
        raise ConfigurationError(
            f"the records {path} cannot be read: {error.strerror}",
            hint="name the file of Observing(records=RecordOptions(path=...))",
        ) from None
