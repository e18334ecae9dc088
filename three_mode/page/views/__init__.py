"""What a page may look at, a file each."""
