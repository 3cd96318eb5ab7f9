"""Files, processor, drivers and the installed packages."""
