"""Choice of the cache of replies: in memory, or in a file."""

from three_mode.policies.cache import CacheOptions, MemoryCache, ResponseCache
from three_mode.policies.clock import Clock


def cache_of(options: CacheOptions, clock: Clock) -> ResponseCache:
    """Cache in memory, or in the file that the options name."""
    if options.path is None:
        return MemoryCache(options, clock)
    from three_mode.policies.cache_file import FileCache  # loads SQLite

    return FileCache(options)
