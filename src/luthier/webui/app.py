"""The web process: one FastAPI application, guarded, with one route a page.

Enters: Settings.  Leaves: a server that runs until it is told to end. Never imports torch; what needs it runs in processes
beside it.
"""

from __future__ import annotations

import logging
import secrets
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.types import ASGIApp

from luthier.runtime.pointers import cache_folder
from luthier.webui.page import Shared, open_page
from luthier.webui.pagepictures import add_route
from luthier.webui.security import Guard
from luthier.webui.settings import Settings

log = logging.getLogger(__name__)

PAGES = {
    "train": "/",
    "runs": "/runs",
    "evaluate": "/evaluate",
    "chat": "/chat",
    "export": "/export",
    "data": "/data",
    "documents": "/documents",
}
"""Page -> its address, in the order of the navigation. A page whose file is not there has no place in it."""

RECONNECT_S = 5.0


def existing_pages() -> dict[str, str]:
    """The pages whose file is there."""
    return {name: path for name, path in PAGES.items() if find_spec(f"luthier.webui.pages.{name}")}


def make_app(settings: Settings) -> ASGIApp:
    """The whole application, guard and all. One a process: NiceGUI keeps its routes in its module."""
    shared = Shared(settings=settings, pages=existing_pages())
    for name, path in shared.pages.items():
        _add_page(name, path, shared)
    add_route(nicegui_app, shared)
    outer = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    nicegui_app.add_static_files("/static", str(files("luthier.webui").joinpath("static")), max_cache_age=3600)
    nicegui_app.on_shutdown(shared.close)
    ui.run_with(
        outer,
        title="Luthier",
        favicon=Path(str(files("luthier.webui").joinpath("static/favicon.svg"))),
        storage_secret=_secret(),
        session_middleware_kwargs={"same_site": "strict", "max_age": 365 * 86400},
        tailwind=False,
        reconnect_timeout=RECONNECT_S,
        message_history_length=200,
        show_welcome_message=False,
        binding_refresh_interval=None,
    )
    return Guard(outer, settings)


def serve(settings: Settings) -> None:
    """Run until Ctrl-C."""
    logging.getLogger("luthier.config.load").setLevel(logging.ERROR)  # the page shows these warnings itself
    uvicorn.run(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        ws_max_size=16 << 20,
        timeout_graceful_shutdown=3,
    )


def _add_page(name: str, path: str, shared: Shared) -> None:
    build = import_module(f"luthier.webui.pages.{name}").build

    @ui.page(path, response_timeout=20)
    async def show() -> None:
        await open_page(name, build, shared)


def _secret() -> str:
    """Signs the cookies of browsers; made once, readable by its user alone."""
    file = cache_folder() / "board.secret"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")
