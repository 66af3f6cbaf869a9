"""OpenAI's error object, for everything that can go wrong.

Enters: exceptions. Leaves: {"error": {"message", "type", "param", "code"}} with the right status. A fault of ours is a 500
whose cause is in the log and not in the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from luthier.errors import ConfigError, EngineError, LuthierError
from luthier.serving.protocol.base import ErrorAnswer, ErrorBody

log = logging.getLogger(__name__)

TYPES = {401: "authentication_error", 403: "permission_error", 404: "invalid_request_error", 429: "rate_limit_error"}
"""Status -> OpenAI's type; others are invalid_request_error below 500 and server_error from there."""


class APIError(Exception):
    """An answer with a status of its own. param: the field that is wrong.  code: a word for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = self.message.encode("utf-8", "replace").decode()  # half a surrogate pair from the request cannot be sent back
        body = ErrorAnswer(error=ErrorBody(message=message, type=kind, param=self.param, code=self.code))
        return body.model_dump()

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, headers=self.headers)


@contextmanager
def asked_in(field: str) -> Iterator[None]:
    """Names the field of the request that holds the text, where the engine finds that text too long or not its own."""
    try:
        yield
    except EngineError as error:
        raise as_api_error(error, field) from error


def as_api_error(error: Exception, field: str | None = None) -> APIError:
    """What a client is told of an exception. field: where the text came from that the engine was asked to read."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, ConfigError) and "there is no model" in error.message:
        return APIError(404, _one_line(error), param="model", code="model_not_found")
    if isinstance(error, EngineError) and "context is" in error.message:
        return APIError(400, _one_line(error), param=field, code="context_length_exceeded")
    if isinstance(error, EngineError) and "out of memory" in error.message:
        return APIError(503, _one_line(error), code="out_of_memory")
    if isinstance(error, EngineError) and error.message.startswith("prompt "):
        return APIError(400, _one_line(error), param=field, code="invalid_value")
    if isinstance(error, LuthierError):
        return APIError(400, _one_line(error), code="invalid_value")
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return APIError(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, RecursionError):
        return APIError(400, "The request is nested too deeply.", code="invalid_value")
    log.error("a request failed", exc_info=error)
    return APIError(500, "The server failed; its log says why.", code="internal_error")


def install(app: FastAPI) -> None:
    """Every exception becomes an error object."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    for kind in (APIError, LuthierError, RequestValidationError, HTTPException, RecursionError, Exception):
        app.add_exception_handler(kind, answer)


def _invalid(error: RequestValidationError) -> APIError:
    """The first thing that is wrong, with the field's path; how many more there are."""
    found = error.errors()
    first = min(found, key=lambda each: -len(each["loc"])) if len({each["loc"][:2] for each in found}) == 1 else found[0]
    path = ".".join(str(part) for part in first["loc"] if part != "body" and not _is_branch(part))
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        return APIError(400, f"The body is no valid JSON: {reason}", code="invalid_json")
    more = len({each["loc"][:2] for each in found}) - 1
    says = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    message = f"{path or 'body'}: {says}" + (f" (and {more} more)" if more else "")
    return APIError(400, message, param=path or None, code="invalid_value")


def _is_branch(part: object) -> bool:
    """pydantic names the members of a union in a path: "list[constrained-str]", "function-after[...]", "ChosenTool"."""
    return isinstance(part, str) and ("[" in part or "-" in part or part[:1].isupper() or part in ("str", "int", "list"))


def _one_line(error: LuthierError) -> str:
    return f"{error.message} {error.remedy}" if error.remedy else error.message
