"""What can be seen of calls: logs, metrics, records, spans. Each name is imported when it is first used."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.observe.logs import JSONFormatter as JSONFormatter
    from three_mode.observe.metrics import Metrics as Metrics
    from three_mode.observe.metrics import PerformanceCheck as PerformanceCheck
    from three_mode.observe.metrics import Snapshot as Snapshot
    from three_mode.observe.records import RecordOptions as RecordOptions
    from three_mode.observe.records import RecordWriter as RecordWriter

_HOME = {
    "JSONFormatter": "logs",
    "Metrics": "metrics",
    "PerformanceCheck": "metrics",
    "RecordOptions": "records",
    "RecordWriter": "records",
    "Snapshot": "metrics",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if name == "Recorder":
        warnings.warn("three_mode.observe.Recorder is now RecordWriter", DeprecationWarning, stacklevel=2)
        return import_module("three_mode.observe.records").RecordWriter
    if home is None:
        raise AttributeError(f"module 'three_mode.observe' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.observe.{home}"), name)
    return value
