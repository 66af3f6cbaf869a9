"""A live server on a free port, in this process, and clients for it."""

import contextlib
import threading
import time

import pytest
import uvicorn

from luthier.config import load_config
from tests.workflows.conftest import adapters, tiny_folder  # noqa: F401  the same small models


@contextlib.contextmanager
def serving(service=None, **keys):
    """The address of a server with these keys; the starter where no model is named."""
    from luthier.serving.app import create_app
    from luthier.serving.server import listen
    from luthier.workflows.serve import Service

    config = load_config({"do_sample": False, "max_new_tokens": 32, **keys})
    own = service is None
    service = service or Service(config)
    listener = listen("127.0.0.1", 0)
    app = create_app(service, config)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        end = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.02)
        yield Address(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join(30)
        if own:
            service.close()


class Address(str):
    """The root of a server, and the application behind it."""

    def __new__(cls, url, app):
        address = super().__new__(cls, url)
        address.app = app
        return address

    @property
    def gate(self):
        return self.app.state.gate

    @property
    def service(self):
        return self.app.state.service


@pytest.fixture(scope="session")
def starter():
    with serving() as address:
        yield address


@pytest.fixture(scope="session")
def client(starter):
    return client_of(starter)


def client_of(address, **options):
    from openai import OpenAI

    return OpenAI(base_url=f"{address}/v1", **({"api_key": "none", "max_retries": 0, "timeout": 120} | options))
