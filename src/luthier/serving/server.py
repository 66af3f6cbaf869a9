"""The API as a running server.

Enters: the config. Leaves: nothing until it is stopped (Ctrl-C, SIGTERM); answers under way are then cancelled.
Never: listens beyond this machine without a key.
"""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.serving.app import create_app
from luthier.serving.security import LOCAL
from luthier.workflows.serve import Service

log = logging.getLogger(__name__)

CLOSING_S = 3
"""How long requests may go on after the server was asked to stop."""


def check(config: Config) -> None:
    """Raise ConfigError for settings that must not be served, before a model is loaded."""
    if config.api_host not in LOCAL and not config.secret("api_key"):
        raise ConfigError(
            f"api_host is {config.api_host}, so other machines could ask: a key is required.",
            "Give one (--api-key KEY, or the environment variable API_KEY), or listen on 127.0.0.1.",
        )


def run(config: Config) -> None:
    """Load the model and serve it."""
    check(config)
    listener = listen(config.api_host, config.api_port)
    service = Service(config)
    app = create_app(service, config)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info("serving %s", service.answerer.describes)
    log.info("models: %s", ", ".join(service.models))
    print(f"http://{shown}:{port}/v1   (docs: http://{shown}:{port}/docs)", file=sys.stderr, flush=True)
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=CLOSING_S, server_header=False)
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    finally:
        service.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is known before a model is loaded. Raises ConfigError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"{host} port {port} cannot be listened on: {error.strerror}.",
            "Another port: --port 8001, or --port 0 for a free one.",
        ) from error
    listener.set_inheritable(True)
    return listener
