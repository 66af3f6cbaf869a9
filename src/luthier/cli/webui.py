"""`luthier webui`: the web page from which everything can be done without code.

What enters: where to listen, and what the page may touch. What leaves: a server that runs until Ctrl-C. Runs that it started
go on.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from luthier.errors import ConfigError

command = typer.Typer(add_completion=False)


@command.command()
def webui(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one, with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    auth: Annotated[
        str | None, typer.Option(help="Token that a browser must show; made up on an open address if left out.")
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option(help="A further folder that the page may read and write; may be given again.")
    ] = None,
    upload_mb: Annotated[int, typer.Option(min=1, help="Largest file that may be uploaded.")] = 512,
) -> None:
    """Open the Board: train, follow runs, evaluate, chat, export, and look after data, in a browser.

    It listens on this machine alone unless --host says otherwise; on another address it asks for a token. It reads and writes
    the folder it is started in, and those of --allow. Closing the page, or ending this command, never ends a run.

    Example: luthier webui --port 7860
    """
    from luthier.runtime.pointers import cache_folder
    from luthier.webui.settings import Settings

    missing = [folder for folder in allow or [] if not folder.expanduser().is_dir()]
    if missing:
        raise ConfigError(f"--allow {missing[0]}: there is no such folder.")
    folders = (Path.cwd(), *(folder.expanduser().resolve() for folder in allow or []))
    settings = Settings(host=host, port=port, token=auth, folders=folders, upload_mb=upload_mb)
    if settings.token is None and not settings.is_local:
        settings = Settings(host=host, port=port, token=secrets.token_urlsafe(16), folders=folders, upload_mb=upload_mb)
    _refuse_taken_port(host, port)
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(cache_folder() / "board"))  # read when nicegui is imported
    from luthier.webui.app import serve

    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    query = f"/?token={settings.token}" if settings.token else ""
    print(f"Luthier Board: http://{shown}:{port}{query}", file=sys.stderr)
    serve(settings)


def _refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error.strerror}.",
                f"Another program may have it (a Board that runs already?). Choose another: --port {port + 1}",
            ) from None
