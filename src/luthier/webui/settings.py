"""How one web process was started: address, token, folders, limits. Never changes afterwards."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from luthier.errors import ConfigError

MB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """token: what a browser must show once; None: whoever reaches the page may use it.  folders: what may be read and written.

    upload_mb: largest file that is taken.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    folders: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    upload_mb: int = 512

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def allow(self, path: str | Path, what: str = "this path") -> Path:
        """path, absolute with links followed. Raises ConfigError where it lies outside the allowed folders."""
        real = Path(path).expanduser().resolve()
        if any(real.is_relative_to(folder.resolve()) for folder in self.folders):
            return real
        raise ConfigError(
            f"{what} {path} lies outside the folders that this page may use.",
            f"Start the page with: luthier webui --allow {real if real.is_dir() else real.parent}",
        )
