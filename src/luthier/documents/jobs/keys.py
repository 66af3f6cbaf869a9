"""The API key: from the environment or the system's keyring, never from a file, and never into one.

Enters: the name that a recipe gives. Leaves: the key, or "" for a server that needs none. hide() takes a key out of any text
before it is stored or shown.
"""

from __future__ import annotations

import os

SERVICE = "luthier"


def find_key(name: str) -> str:
    """The value of the environment variable, else the keyring's entry ("luthier", name), else ""."""
    if value := os.environ.get(name, "").strip():
        return value
    try:
        import keyring
    except ImportError:
        return ""
    try:
        return (keyring.get_password(SERVICE, name) or "").strip()
    except Exception:  # no keyring on this machine: each backend has errors of its own
        return ""


def hide(text: str, key: str) -> str:
    """The text without the key: servers like to repeat it in their errors."""
    return text.replace(key, "[key]") if len(key) >= 4 else text
