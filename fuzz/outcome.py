"""What may come of an input, and how what may not is kept."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ampmix.errors import AmpmixError

SLOW = 5.0  # seconds of computing for one input
MEMORY = 2**31  # bytes of the whole process, torch and polars included
LONGEST_MESSAGE = 10_000  # characters: an error is a sentence, not the file


@dataclass(frozen=True)
class Finding:
    """An input that was not refused in order; `where` is what tells two findings apart."""

    where: str
    told: str
    data: bytes

    @property
    def name(self) -> str:
        """Of its file: the same for the same input."""
        return hashlib.sha256(self.data).hexdigest()[:16]


@dataclass
class Watch:
    """Feeds a target and keeps one finding of each kind."""

    run: Callable[[bytes], None]
    out: Path | None = None
    tried: int = 0
    refused: int = 0
    slowest: float = 0.0
    found: dict[str, Finding] = field(default_factory=dict)

    def __call__(self, data: bytes) -> None:
        """Try one input."""
        self.tried += 1
        began = time.thread_time()
        try:
            self.run(data)
        except AmpmixError as error:
            self.refused += 1
            if len(str(error)) > LONGEST_MESSAGE:
                self._keep(f"a message of {len(str(error))} characters", _place(error), data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # polars' panics are no Exception
            told = "".join(traceback.format_exception(error)[-12:])
            self._keep(f"{type(error).__name__} {_place(error)}", told, data)
        took = time.thread_time() - began
        self.slowest = max(self.slowest, took)
        if took > SLOW:
            self._keep("slow", f"{took:.1f} s", data)

    def _keep(self, where: str, told: str, data: bytes) -> None:
        where = where if "message" not in where else f"long message {told}"
        if where in self.found:
            return
        self.found[where] = finding = Finding(where, told, data)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{finding.name}.bin").write_bytes(data)
            (self.out / f"{finding.name}.txt").write_text(f"{where}\n{told}\n", "utf-8", "replace")


def _place(error: BaseException) -> str:
    """The last line of ours that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "ampmix" in Path(frame.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].name}:{own[-1].lineno}" if own else "nowhere"
