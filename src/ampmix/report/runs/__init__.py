"""The report on recorded runs, a section a file."""
