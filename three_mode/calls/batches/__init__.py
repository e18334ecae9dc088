"""Batches that a provider answers within a day: submitted once, polled, resumed after a restart, read in order.

jobs.py       the jobs of a connection             job.py          one of them
plan.py       requests as lines, in batches        submission.py   the way to the provider, with journal.py
collecting.py results, in any order                accounts.py     what they cost
names.py      ids, which say all that a restart needs
"""

from three_mode.calls.batches.job import BatchJob
from three_mode.calls.batches.status import BatchStatus

__all__ = ["BatchJob", "BatchStatus"]
