"""One API over three modes."""
