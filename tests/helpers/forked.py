"""Processes that need not import torch: a server that has done so forks for each.

``forked.run`` and ``forked.Popen`` are those of :mod:`subprocess` for commands that begin with
``sys.executable``: ``-m module``, ``-c code``, ``-I -c code`` or a script. Each is a process of its
own, with the arguments, folder, environment, files, session and exit of one that was started anew;
ampmix's workers are forked in it, too. Only what has been imported before, and what Python takes
from its environment as it starts, is as in the server. Where that is the point, take
:mod:`subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NoReturn

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
IMPORTED = (
    *("ampmix.cli.main", "ampmix.studies.compare", "ampmix.studies.trackers", "polars", "pyarrow"),
    *("torch._dynamo", "sklearn.feature_extraction.text", "sklearn.linear_model", "safetensors"),
)

# ------------------------------------------------------------------ in the tests


@cache
def _server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The server, begun when it is first needed; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
        start_new_session=True,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return process, ours


class _Forked(subprocess.Popen[Any]):
    """A process that the server has forked: its exit is heard of there."""

    def __init__(self, args: Sequence[str], imports: Sequence[str], **options: Any) -> None:
        if args[0] != sys.executable:
            raise ValueError(f"{args[0]} is not this Python")
        self._imports = imports
        super().__init__(args, **options)

    def _execute_child(self, args: Any, *given: Any) -> None:
        _, _, _, _, cwd, env, _, _, _, *pipes = given[:15]
        into, _, _, out, _, error = pipes
        request = {
            "args": [os.fspath(arg) for arg in args[1:]],
            "cwd": os.fspath(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
            "session": bool(given[20]),
            "imports": list(self._imports),
        }
        self._ended, theirs = socket.socketpair()
        content = os.memfd_create("request")
        os.write(content, json.dumps(request).encode())
        files = [file if file != -1 else number for number, file in enumerate((into, out, error))]
        socket.send_fds(_server()[1], [b"x"], [content, theirs.fileno(), *files])
        theirs.close()
        os.close(content)
        self.pid = int(self._ended.recv(20) or b"0")
        self._child_created = self.pid > 0
        self._close_pipe_fds(*pipes)
        if not self.pid:
            raise OSError("the server has ended")

    def _try_wait(self, flags: int) -> tuple[int, int]:
        try:
            status = self._ended.recv(20, socket.MSG_DONTWAIT if flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        self._ended.close()
        return self.pid, int(status or signal.SIGKILL)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode


def Popen(args: Sequence[str], imports: Sequence[str] = (), **options: Any) -> Any:
    """As :class:`subprocess.Popen`; `imports` are modules that the server may import once, too."""
    if sys.platform != "linux":
        return subprocess.Popen(args, **options)
    return _Forked(args, imports, **options)


def run(
    args: Sequence[str],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As :func:`subprocess.run`."""
    if capture_output:
        options["stdout"] = options["stderr"] = subprocess.PIPE
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(args, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(args, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done


def together(
    args: Sequence[str], *, env: Mapping[str, str] = MappingProxyType({}), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Two processes as torchrun starts them: what both said, the first first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    told |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [
        Popen(args, env={**os.environ, **env, **told, **rank}, **pipes, **options)
        for rank in ({"RANK": i, "LOCAL_RANK": i} for i in "01")
    ]
    try:
        said = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    codes = [process.returncode for process in running]
    stdout, stderr = map("".join, zip(*said, strict=True))
    return subprocess.CompletedProcess(args, next(filter(None, codes), 0), stdout, stderr)


# ------------------------------------------------------------------ in the server


def serve(requests: socket.socket) -> Callable[[], None] | None:
    """Fork for each request, tell its process id and its end; in the fork, what it shall do."""
    watched = selectors.DefaultSelector()
    watched.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not requests:
                pid, told = key.data
                _, status = os.waitpid(pid, 0)
                watched.unregister(key.fileobj)
                os.close(key.fd)
                with contextlib.suppress(OSError):
                    told.send(str(status).encode())
                told.close()
                continue
            word, files, _, _ = socket.recv_fds(requests, 1, 5)
            if not word:
                return None
            content, ended, *three = files
            with open(content, encoding="utf-8") as file:
                file.seek(0)
                request = json.load(file)
            for name in request["imports"]:
                importlib.import_module(name)
            told = socket.socket(fileno=ended)
            if pid := os.fork():
                for one in three:
                    os.close(one)
                told.send(str(pid).encode())
                watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, told))
                continue
            for other in [*watched.get_map().values()]:
                if other.fileobj is not requests:
                    os.close(other.fd)
                    other.data[1].close()
            watched.close()
            requests.close()
            told.close()
            return _become(request, three)


def _become(request: dict[str, Any], files: list[int]) -> Callable[[], None]:
    """Let this process be as one that was started anew with a command."""
    if request["session"]:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        file = open(  # noqa: SIM115 (it stays open)
            number,
            "r" if number == 0 else "w",
            1 if number == 2 else -1,
            encoding=os.environ.get("PYTHONIOENCODING", "utf-8"),
            errors="backslashreplace" if number == 2 else "strict",
            closefd=False,
        )
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)
    spawning = multiprocessing.get_context

    def forking(method: str | None = None) -> Any:
        return spawning("fork" if method == "spawn" else method)

    multiprocessing.get_context = forking  # type: ignore[assignment]
    paths = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    isolated = request["args"][0] == "-I"
    kind, *rest = request["args"][isolated:]
    sys.path[:] = [path for path in sys.path if path not in SERVERS_OWN]
    if not isolated:
        first = "" if kind in ("-c", "-m") else os.path.dirname(os.path.abspath(kind))
        sys.path[:0] = [first, *paths]
    importlib.invalidate_caches()
    if kind == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = rest
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        return lambda: exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    sys.argv = [kind, *rest]
    return lambda: runpy.run_path(kind, run_name="__main__")


SERVERS_OWN = {os.path.dirname(os.path.abspath(__file__))}
SERVERS_OWN.update(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def _to_the_end(act: Callable[[], None]) -> NoReturn:
    """Do it and end as Python does, but leave memory to the system instead of tidying it up."""
    code = 0
    try:
        act()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for file, failed in ((sys.stdout, 120), (sys.stderr, code)):
        try:
            file.flush()
        except (OSError, ValueError):
            code = failed
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _prepare() -> None:
    """Import what commands import, also at their first step; without a thread."""
    import torch

    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("ampmix.cli.main").build_parser()
    for package in ("policies", "backbones", "datasets"):
        importlib.import_module("ampmix._support.components").find(f"ampmix.{package}")
    state = torch.get_rng_state()
    weight = torch.nn.Parameter(torch.zeros(1))
    (weight * 2).sum().backward()
    torch.optim.Adadelta([weight]).step()
    torch.set_rng_state(state)
    gc.collect()
    gc.freeze()  # so that forks do not copy what they only look at


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prepare()
    act = serve(socket.socket(fileno=int(sys.argv[1])))
    if act is not None:
        _to_the_end(act)
