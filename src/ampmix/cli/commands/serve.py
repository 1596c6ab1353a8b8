"""Serve MODEL over HTTP: batches of texts in, labels and probabilities out, and a page to try."""

from __future__ import annotations

import argparse
import contextlib
import socket

from ampmix._support.cores import cores
from ampmix.errors import AmpmixError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix serve` takes."""
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="NAME", help="address to listen at (%(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="port, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--most-texts", type=int, default=1000, metavar="N", help="texts a request (%(default)s)"
    )
    parser.add_argument(
        "--most-bytes", type=int, default=2**20, metavar="N", help="bytes a request (%(default)s)"
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="give no label where the likeliest class has a probability below P (0)",
    )
    parser.add_argument(
        "--threads", type=int, default=cores(), metavar="N", help="PyTorch threads (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command, until it is interrupted."""
    _check(arguments)
    from ampmix._support.extras import needed
    from ampmix.integrations.serving import Limits, app_of
    from ampmix.models.classifier import Classifier

    uvicorn = needed("uvicorn", "serve")
    limits = Limits(body=arguments.most_bytes, texts=arguments.most_texts)
    classifier = Classifier.load(arguments.model)
    app = app_of(classifier, limits, arguments.threads, arguments.min_confidence)
    with contextlib.closing(_listening(arguments.host, arguments.port)) as door:
        port = door.getsockname()[1]
        output = arguments.output
        output.remark(f"Serving {arguments.model} at {arguments.host}:{port}; Ctrl-C ends it.")
        output.document({"model": arguments.model, "host": arguments.host, "port": port})
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=5
        )
        uvicorn.Server(config).run(sockets=[door])
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.port < 2**16:
        raise AmpmixError(f"port is {arguments.port}: it must be from 0 to 65535")
    for name in ("threads", "most_texts", "most_bytes"):
        if getattr(arguments, name) < 1:
            told = name.replace("_", "-")
            raise AmpmixError(f"{told} is {getattr(arguments, name)}: it must be 1 or more")
    if not 0 <= arguments.min_confidence <= 1:
        raise AmpmixError(
            f"min-confidence is {arguments.min_confidence:g}: it is a probability, from 0 to 1"
        )


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, so that a port in use is a sentence."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise AmpmixError(
            f"cannot listen at {host}:{port} ({error.strerror or error}): give another --port or "
            "--host"
        ) from error
