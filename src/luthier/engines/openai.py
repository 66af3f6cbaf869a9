"""Any server that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, Ollama, Luthier's own) as an engine.

Prompts go two ways:
    token ids       to /v1/completions, in the local tokenizer and template: what was trained is what is asked
    a Conversation  to /v1/chat/completions, where the server writes it in its own template

Enters: prompts. Leaves: completions as they come, WORKERS at a time. Never: loads a model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import httpx2

from luthier.engines.base import BASE, Completion, FinishReason, Sampling
from luthier.errors import EngineError
from luthier.types import Conversation, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORKERS = 16
"""Requests under way at once: enough for a server that batches."""

WAIT_S = 600.0
"""How long one answer may take."""

RETRIES = 3

Prompt = Sequence[int] | Conversation


class OpenAIEngine:
    """See engines/base.py for the contract; a prompt may also be a Conversation.

    url: the root of the API, with /v1.  model: its name there, None for the first that the server lists.
    tokenizer: the model's, for prompts that are token ids; None where only conversations are asked.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self._tokenizer = url.rstrip("/"), tokenizer
        self._client = httpx2.Client(headers=headers, timeout=httpx2.Timeout(WAIT_S, connect=10.0))
        self.model = model or self._first_model()

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling], *, adapter: str | None = None
    ) -> Iterator[Completion]:
        """Completions in the order in which they finish. sampling: one for all prompts, or one for each."""
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = [
                pool.submit(self._whole, index, prompt, each, adapter)
                for index, (prompt, each) in enumerate(zip(prompts, samplings, strict=True))
            ]
            try:
                for job in as_completed(jobs):
                    yield job.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        adapter: str | None = None,
    ) -> Iterator[str]:
        """Pieces of the answer's text as they come; reasoning that the server tells apart stands in <think> again."""
        path, body = self._request(prompt, sampling, adapter)
        pieces = _Pieces()
        with self._client.stream("POST", f"{self.url}{path}", json=body | {"stream": True}) as answer:
            if answer.status_code != 200:
                answer.read()
                raise self._refused(answer)
            for line in answer.iter_lines():
                if cancelled():
                    return
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:") or data == "[DONE]":
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise EngineError(f"{self.url}: {_message(event)}")
                for choice in event.get("choices", ()):
                    yield from pieces.push(choice.get("delta") or {"content": choice.get("text")})
        yield from pieces.flush()

    # ---- how it is done ----

    def _whole(self, index: int, prompt: Prompt, sampling: Sampling, adapter: str | None) -> Completion:
        path, body = self._request(prompt, sampling, adapter)
        answer = self._post(path, body)
        try:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            text = choice["text"] if "text" in choice else "".join([*(p := _Pieces()).push(choice["message"]), *p.flush()])
            ended: FinishReason = "length" if choice.get("finish_reason") == "length" else "stop"
        except (KeyError, IndexError, TypeError):
            raise EngineError(f"{self.url} gave an answer that is not OpenAI's: {str(answer)[:200]}") from None
        ids = tuple(self._tokenizer.encode(text, add_special_tokens=False)) if self._tokenizer else ()
        known = 0 if isinstance(prompt, Conversation) else len(prompt)
        return Completion(index=index, ids=ids, text=text, finish_reason=ended, prompt_tokens=usage.get("prompt_tokens", known))

    def _request(self, prompt: Prompt, sampling: Sampling, adapter: str | None) -> tuple[str, dict[str, Any]]:
        """(path, body) of a prompt. Raises EngineError for a setting that OpenAI's protocol has no word for."""
        if sampling.num_beams > 1 or sampling.grammar is not None:
            raise EngineError("beams and grammars cannot be asked of another server.", "Set num_beams: 1.")
        body: dict[str, Any] = {
            "model": self.model if adapter in (None, BASE) else adapter,
            "temperature": 0 if sampling.greedy else sampling.temperature,
            "max_tokens": sampling.max_new_tokens,
        }
        body |= {} if sampling.greedy else {"top_p": sampling.top_p}
        # words that vLLM, SGLang, llama.cpp and Luthier know and OpenAI does not: only where they change something
        for name, off in (("top_k", 0), ("min_p", 0), ("repetition_penalty", 1), ("presence_penalty", 0),
                          ("frequency_penalty", 0), ("seed", None)):  # fmt: skip
            value = getattr(sampling, name)
            if value != off and not (sampling.greedy and name in ("top_k", "min_p")):
                body[name] = value
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
        body |= {"logit_bias": {str(id): bias for id, bias in sampling.logit_bias}} if sampling.logit_bias else {}
        if not isinstance(prompt, Conversation):
            return "/completions", body | {"prompt": list(prompt)}
        tools = [{"type": "function", "function": dict(tool)} for tool in prompt.tools]
        body |= {"tools": tools} if tools else {}
        return "/chat/completions", body | {"messages": _messages(prompt)}

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer; asked again where it is busy."""
        for attempt in range(RETRIES + 1):
            try:
                answer = self._client.post(f"{self.url}{path}", json=dict(body))
            except httpx2.HTTPError as error:
                raise self._unreachable(error) from error
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code not in (429, 503) or attempt == RETRIES:
                raise self._refused(answer)
            time.sleep(2.0**attempt)
        raise AssertionError

    def _first_model(self) -> str:
        try:
            answer = self._client.get(f"{self.url}/models")
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status_code != 200:
            raise self._refused(answer)
        try:
            return answer.json()["data"][0]["id"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise EngineError(f"{self.url}/models lists no model.", "Name one: engine_model") from None

    def _unreachable(self, error: Exception) -> EngineError:
        return EngineError(f"{self.url} does not answer: {error}", "Start the server, or mend engine_url.")

    def _refused(self, answer: httpx2.Response) -> EngineError:
        try:
            message = _message(answer.json())
        except ValueError:
            message = answer.text[:200]
        remedy = "Give its key: engine_key" if answer.status_code == 401 else None
        return EngineError(f"{self.url} refuses with status {answer.status_code}: {message}", remedy)


class _Pieces:
    """What a server tells apart (reasoning, tool calls), as one text again: <think>, and calls as Qwen writes them."""

    def __init__(self) -> None:
        self._thinks = False
        self._calls: list[dict[str, str]] = []

    def push(self, message: Mapping[str, Any]) -> Iterator[str]:
        """message: a whole one, or a delta."""
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought:
            yield thought if self._thinks else f"<think>\n{thought}"
            self._thinks = True
        if message.get("content"):
            yield from self._end_of_thought()
            yield message["content"]
        for call in message.get("tool_calls") or ():
            number = call.get("index") if call.get("index") is not None else len(self._calls)
            while len(self._calls) <= number:
                self._calls.append({"name": "", "arguments": ""})
            for part in ("name", "arguments"):
                self._calls[number][part] += (call.get("function") or {}).get(part) or ""

    def flush(self) -> Iterator[str]:
        yield from self._end_of_thought()
        for call in self._calls:
            body = f'{{"name": {json.dumps(call["name"], ensure_ascii=False)}, "arguments": {call["arguments"] or "{}"}}}'
            yield f"\n<tool_call>\n{body}\n</tool_call>"

    def _end_of_thought(self) -> Iterator[str]:
        if self._thinks:
            self._thinks = False
            yield "\n</think>\n\n"


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    """OpenAI's messages. Calls without an id get one, and results go to the calls before them in order."""
    written: list[dict[str, Any]] = []
    waiting: list[str] = []
    for number, message in enumerate(conversation.messages):
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            waiting = [call.id or f"call_{number}_{k}" for k, call in enumerate(message.tool_calls)]
            entry["tool_calls"] = [_call(id, message, k) for k, id in enumerate(waiting)]
        if message.role == "tool":
            entry["tool_call_id"] = waiting.pop(0) if waiting else f"call_{number}"
        written.append(entry)
    return written


def _call(id: str, message: Message, number: int) -> dict[str, Any]:
    call = message.tool_calls[number]
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, Mapping) else body
    return str(error.get("message", error) if isinstance(error, Mapping) else error)[:500]
