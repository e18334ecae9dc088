"""What travels between processes: orders, errors, class paths and dead letters."""
