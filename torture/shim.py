"""The library that lets calls of the system fail, and the block of memory that says which."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

OPS = (
    *("open to write", "open to read", "write", "fsync", "rename", "link", "unlink", "mkdir"),
    *("chmod", "read", "close", "truncate", "lock"),
)
COUNT, FAIL_ONCE, FAIL_ON, KILL, TEAR, SIGNAL, SLOW = range(7)
ALL = (1 << len(OPS)) - 1


def mask(*names: str) -> int:
    """The bits of some operations."""
    return sum(1 << OPS.index(name) for name in names)


CHANGES = ALL & ~mask("open to read", "read", "close", "lock")
ROOM = mask("open to write", "write", "link", "mkdir")
NAMES = mask("open to write", "rename", "link", "unlink", "mkdir", "chmod")


class Control(ctypes.Structure):
    """As ``shim.c`` has it."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("mode", "at", "value", "mask")),
        *((name, ctypes.c_long) for name in ("count", "hits", "first_op", "jump")),
        ("per_op", ctypes.c_long * 16),
        ("folder", ctypes.c_char * 4096),
    )


def preload(build: Path) -> None:
    """Start this script anew with the library before all others, unless it is."""
    if "AMPMIX_TORTURE" in os.environ:
        return
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise SystemExit("torture needs Linux and a C compiler (cc)")
    library, source = build / "shim.so", Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O2", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    environment = {**os.environ, **one, "LD_PRELOAD": str(library), "AMPMIX_TORTURE": str(library)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


_MEMORY = mmap.mmap(-1, 4 * mmap.ALLOCATIONGRANULARITY)  # the library asks for it to the end


class Shim:
    """The loaded library, and its block, which forked processes share."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["AMPMIX_TORTURE"])
        self.control = Control.from_buffer(_MEMORY)
        self._library.torture_control(ctypes.c_void_p(ctypes.addressof(self.control)))

    def set(self, folder: Path | None, mode: int = COUNT, at: int = 0, **more: int) -> None:
        """Watch a folder from now on, or none; with what is to happen at the call `at`."""
        self.control.folder = b""
        ctypes.memset(ctypes.addressof(self.control), 0, Control.folder.offset)
        self.control.mode, self.control.at = mode, at
        self.control.mask = more.get("mask", ALL)
        self.control.value, self.control.jump = more.get("value", 0), more.get("jump", 0)
        self.control.folder = str(folder).encode() if folder else b""

    def arm(self) -> None:
        """Signals are for the process that says this."""
        self._library.torture_arm()
