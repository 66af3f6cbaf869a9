"""What an error of an endpoint means: try again later, give up this unit, or stop the job and tell the user.

Enters: an HTTP status with headers and body, or an exception of the connection. Leaves: a Fault.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
STOP = {
    401: "the endpoint does not accept the API key",
    402: "the account has no credit left",
    403: "the endpoint refuses this account or model",
    404: "there is no such address or model at the endpoint",
}
BILLING = (
    "insufficient_quota",
    "insufficient balance",
    "billing",
    "arrearage",
    "余额不足",
    "欠费",
    "exceeded your current quota",
)
MOST_WAIT_S = 300.0


class Fault(NamedTuple):
    """action: again, fail or stop.  code: short, for counts.  message: for a person.  wait_s: as the server asked, else 0."""

    action: str
    code: str
    message: str
    wait_s: float = 0.0


def fault_of_status(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """For every status but 2xx."""
    said = _message(body)
    if any(word in said.lower() for word in BILLING):
        return Fault("stop", "billing", f"the account has no credit left (HTTP {status}: {said})")
    if status in STOP:
        return Fault("stop", f"http_{status}", f"{STOP[status]} (HTTP {status}: {said})")
    if status in AGAIN:
        return Fault("again", f"http_{status}", f"HTTP {status}: {said}", retry_after(headers))
    return Fault("fail", f"http_{status}", f"HTTP {status}: {said}")


def fault_of_error(error: Exception) -> Fault:
    """For an exception of the HTTP client: cut connections, timeouts, unknown hosts."""
    name = type(error).__name__
    code = "timeout" if "Timeout" in name else "connection"
    return Fault("again", code, f"{name}: {error}" if str(error) else name)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait by Retry-After (seconds or a date) or retry-after-ms; 0 where the server does not say."""
    lowered = {key.lower(): value for key, value in headers.items()}
    try:
        if "retry-after-ms" in lowered:
            return min(MOST_WAIT_S, max(0.0, float(lowered["retry-after-ms"]) / 1000))
        value = lowered.get("retry-after", "")
        if not value:
            return 0.0
        if value.replace(".", "", 1).isdigit():
            return min(MOST_WAIT_S, float(value))
        return min(MOST_WAIT_S, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, TypeError):
        return 0.0


def _message(body: bytes) -> str:
    """What the server says, in at most 300 characters."""
    text = body[:4000].decode("utf-8", "replace")
    try:
        data: Any = json.loads(text)
        error = data.get("error", data) if isinstance(data, dict) else data
        if isinstance(error, dict):
            text = " ".join(str(error[key]) for key in ("code", "message", "detail") if error.get(key)) or text
        else:
            text = str(error)
    except json.JSONDecodeError:
        pass
    return " ".join(text.split())[:300]
