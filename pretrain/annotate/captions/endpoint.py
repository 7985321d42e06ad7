"""Captions by a language model behind an OpenAI-compatible endpoint."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.captions.language_model import LanguageModelCaptions, Message, Unanswered
from pretrain.annotate.captions.template import CODE_VERSION as TEMPLATE_VERSION
from pretrain.annotate.errors import AnnotatorOptionError, AnnotatorRefusedError

_CODE_VERSION = 1
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_PASSING = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
"""Status codes that another try may do away with."""


class EndpointError(AnnotatorRefusedError):
    """An endpoint refuses to answer, and asking again would not help."""


class EndpointCaptions(LanguageModelCaptions):
    """Captions by a model that a server answers for (OpenAI, vLLM, llama.cpp, Ollama and others).

    A server that is busy or not there is asked again, each time after twice as long a wait, or
    after as long as it says; then the template's caption stands. A server that refuses (a wrong
    key, an unknown model) is an error: it would refuse every clip.

    Args:
        url: up to where ``/chat/completions`` follows, such as ``http://localhost:8000/v1``.
        model: as the server names it.
        key_variable: environment variable that holds the key, or None for a server that asks none.
        prompt: see :class:`LanguageModelCaptions`.
        max_tokens: at which an answer is cut off.
        timeout_s: seconds to wait for an answer.
        retries: further tries.
        parallel: questions at once.
        body: further fields of the request; with the value None a field is left out, such as
            ``{max_tokens: null, max_completion_tokens: 96}`` for servers that have renamed it.
        seed, distractors, caution: see
            :class:`~pretrain.annotate.captions.template.TemplateCaptions`.
        batch_size: clips at once.

    Raises:
        AnnotatorOptionError: an option is out of its range, there is no such prompt, or the
            variable holds no key.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key_variable: str | None = None,
        prompt: str = "spatial_caption",
        max_tokens: int = 96,
        timeout_s: float = 60.0,
        retries: int = 4,
        parallel: int = 8,
        body: Mapping[str, Any] | None = None,
        seed: int = 0,
        distractors: int = 4,
        caution: float = 1.25,
        batch_size: int = 32,
    ) -> None:
        super().__init__(prompt, seed, distractors, caution)
        if max_tokens < 1 or timeout_s <= 0 or retries < 0 or parallel < 1 or batch_size < 1:
            raise AnnotatorOptionError(
                "Expected max_tokens, parallel and batch_size of at least 1, timeout_s above 0 and "
                f"retries of at least 0, got {max_tokens}, {parallel}, {batch_size}, {timeout_s} "
                f"and {retries}."
            )
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise AnnotatorOptionError(
                f"Expected url to begin with http:// or https://, got {url!r}."
            )
        if key_variable is not None and not os.environ.get(key_variable):
            raise AnnotatorOptionError(
                f"Expected the endpoint's key in the environment variable {key_variable}, which is "
                "not set. Export it, or set captions.key_variable=null for a server without keys."
            )
        self.name = "endpoint"
        self.batch_size = batch_size
        self._url = url.rstrip("/") + "/chat/completions"
        self._key_variable = key_variable
        self._timeout_s, self._retries, self._parallel = timeout_s, retries, parallel
        fields: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": max_tokens}
        fields.update(body or {})
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self.fingerprint = hash_parts(
            "endpoint",
            (_CODE_VERSION, TEMPLATE_VERSION),
            url,
            self._fields,
            self._prompt,
            (seed, distractors, caution),
        )

    def ask(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """See :class:`LanguageModelCaptions`.

        Raises:
            EndpointError: the server refuses.
        """
        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(self._answer, conversations))

    def _answer(self, messages: Sequence[Message]) -> str:
        wait, problem = _FIRST_WAIT_S, ""
        for attempt in range(self._retries + 1):
            try:
                return self._post(messages)
            except urllib.error.HTTPError as error:
                said = error.read(300).decode("utf-8", "replace")
                if error.code not in _PASSING:
                    raise EndpointError(
                        f"Expected an answer of {self._url}, got status {error.code}: {said}. "
                        "Check captions.url, captions.model and the key."
                    ) from error
                problem = f"status {error.code}"
                wait = _asked_wait(error.headers.get("Retry-After"), wait)
            except (OSError, ValueError, LookupError, TypeError) as error:
                problem = f"{type(error).__name__}: {error}"
            if attempt < self._retries:
                time.sleep(min(wait, _LONGEST_WAIT_S))
                wait *= 2
        return Unanswered(f"{problem} ({self._retries + 1} tries)")

    def _post(self, messages: Sequence[Message]) -> str:
        headers = {"Content-Type": "application/json"}
        if self._key_variable is not None:
            headers["Authorization"] = f"Bearer {os.environ[self._key_variable]}"
        data = json.dumps({**self._fields, "messages": list(messages)}).encode()
        request = urllib.request.Request(self._url, data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
            answer = json.load(response)["choices"][0]["message"]["content"]
        if not isinstance(answer, str):
            raise TypeError(f"expected text as the answer's content, got {answer!r}")
        return answer


def _asked_wait(header: str | None, otherwise: float) -> float:
    """Seconds that a server asks to be left alone."""
    try:
        return max(float(header or ""), 0.0)
    except ValueError:
        return otherwise
