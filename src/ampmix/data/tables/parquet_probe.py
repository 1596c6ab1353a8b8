"""Try in a separate process to read a Parquet file that could end its reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROBE = """
import sys
try:
    import polars
    path, most, at = sys.argv[1], int(sys.argv[2]), 0
    file = polars.scan_parquet(path, glob=False, hive_partitioning=False)
    height = file.select(polars.len()).collect().item()
    if not most:
        while height := file.slice(at, 16384).collect().height:
            at += height
    elif height <= most:
        polars.read_parquet(path, glob=False, hive_partitioning=False)
except BaseException:
    pass  # whoever asks finds that out too, and says it better
print("alive", flush=True)
"""


def survived(path: Path, most: int = 0) -> bool:
    """Return True if a process that reads the file survives.

    A damaged or hostile file can ask Polars for any amount of memory, and where that cannot be had
    its allocator ends the process, past every ``except``. So the file is read in another one first,
    which costs as much as reading it and the start of an interpreter. Errors
    that Python can catch are left to the real reader.

    Args:
        path: the file.
        most: rows up to which it is going to be read, in one piece; 0 if it is read in slices.
    """
    # isolated: a module in the current folder is not what is meant
    command = [sys.executable, "-I", "-c", PROBE, str(path.absolute()), str(most)]
    done = subprocess.run(command, capture_output=True, text=True)
    # 1 is an interpreter that could not begin, of which nothing follows for the file
    return "alive" in done.stdout or done.returncode == 1
