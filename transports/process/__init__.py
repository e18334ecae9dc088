"""A child process as a stream of lines. Knows nothing of what the lines say."""

from transports.process.child import ChildFailed, ChildLines, ChildOptions, StderrTail

__all__ = ["ChildFailed", "ChildLines", "ChildOptions", "StderrTail"]
