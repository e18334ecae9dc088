"""What can be seen of calls: logs, metrics, records, spans."""

from three_mode.observe.logs import JSONFormatter
from three_mode.observe.metrics import Metrics, PerformanceCheck, Snapshot
from three_mode.observe.records import RecordOptions, RecordWriter

__all__ = ["JSONFormatter", "Metrics", "PerformanceCheck", "RecordOptions", "RecordWriter", "Snapshot"]
