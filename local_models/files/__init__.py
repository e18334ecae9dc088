"""Model files on this computer: the catalogue and the download."""
