"""One look at an endpoint before a job: does it answer, which model, JSON, reasoning, how fast.

Enters: the recipe's endpoint. Leaves: a Probe. Three small calls; nothing is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from luthier.documents.jobs.client import Client
from luthier.documents.jobs.faults import fault_of_error, fault_of_status
from luthier.documents.jobs.keys import find_key, hide
from luthier.documents.jobs.reply import BadReply, Reply, read_json, read_reply
from luthier.documents.jobs.schemas import ANSWER
from luthier.documents.recipe import EndpointPart
from luthier.errors import EngineError

ASKED = 'Answer with this JSON alone, and nothing else: {"answer": "yes", "quotes": ["yes"]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """json: it kept to the format that was asked for.  json_mode, json_schema: the server takes response_format
    json_object, json_schema.

    reasoning: the field or tag in which it thinks, None where it does not.  tokens_per_s: of one call alone.
    """

    model: str
    json: bool
    json_mode: bool
    json_schema: bool
    reasoning: str | None
    seconds: float
    tokens_per_s: float

    def text(self) -> str:
        words = "keeps to JSON" if self.json else "does NOT keep to JSON: a larger model is needed"
        taken = [name for name, works in (("object", self.json_mode), ("schema", self.json_schema)) if works]
        mode = f"json_mode: {' and '.join(taken)} works" if taken else "json_mode: object and schema are refused"
        thinks = f"thinks in {self.reasoning}" if self.reasoning else "shows no reasoning"
        return f"{self.model}: {words}; {mode}; {thinks}; {self.seconds:.1f} s, {self.tokens_per_s:.0f} tokens/s for one call"


def probe(endpoint: EndpointPart) -> Probe:
    """Raises EngineError where the endpoint does not answer, with the reason."""
    return asyncio.run(_probe(endpoint))


async def _probe(endpoint: EndpointPart) -> Probe:
    key = find_key(endpoint.api_key_env)
    body = {"model": endpoint.model, "messages": [{"role": "user", "content": ASKED}], **endpoint.extra_body}
    if endpoint.max_tokens is not None:
        body["max_tokens"] = endpoint.max_tokens
    async with Client(endpoint, key) as client:
        reply, seconds = await _call(client, body, key)
        takes_mode = await _takes(client, body, {"type": "json_object"}, key)
        schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER}}
        takes_schema = await _takes(client, body, schema, key)
    try:
        found = read_json(reply.text)
    except BadReply:
        found = None
    return Probe(
        model=reply.model or endpoint.model,
        json=isinstance(found, dict) and "answer" in found,
        json_mode=takes_mode,
        json_schema=takes_schema,
        reasoning=reply.thinking_origin,
        seconds=seconds,
        tokens_per_s=reply.tokens_out / seconds if seconds else 0.0,
    )


async def _takes(client: Client, body: dict, response_format: dict, key: str) -> bool:
    try:
        await _call(client, body | {"response_format": response_format}, key)
    except EngineError:
        return False
    return True


async def _call(client: Client, body: dict, key: str) -> tuple[Reply, float]:
    try:
        answer = await client.send(body)
    except client.errors as error:
        raise EngineError(
            f"the endpoint does not answer: {fault_of_error(error).message}", "Is it running, at this address?"
        ) from None
    if not 200 <= answer.status < 300:
        message = hide(fault_of_status(answer.status, answer.headers, answer.body).message, key)
        raise EngineError(f"the endpoint refused the call: {message}", "Look at endpoint.* and at the key's variable.")
    try:
        return read_reply(answer.body), answer.ms / 1000
    except BadReply as bad:
        raise EngineError(
            f"the endpoint answered, but {bad}.", "Is endpoint.base_url an OpenAI-compatible address (it mostly ends in /v1)?"
        ) from None
