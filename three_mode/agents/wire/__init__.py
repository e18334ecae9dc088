"""Values that travel between processes: orders, reports, errors, class paths and dead letters."""
