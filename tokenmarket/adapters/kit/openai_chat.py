"""Chat and legacy completions of every OpenAI-compatible upstream: ``OpenAIChat(Quirks(...))``.

OpenAI's wire format is our inner format, so for OpenAI itself this changes what must change (model
name, ids, limits, usage) and passes the rest. Instances hold data only.
"""

from __future__ import annotations

from tokenmarket.adapters.kit.openai_answer import answer_id, read_text
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.openai_request import build_text
from tokenmarket.adapters.kit.openai_stream import StreamDecoder
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.protocol import Decoder, Head, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request


class OpenAIChat:
    """``POST /chat/completions``."""

    chat = True
    id_prefix = "chatcmpl-"

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        return build_text(request, route, self.quirks)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        return read_text(request, route, head, body, self.quirks, chat=self.chat)

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        return StreamDecoder(
            self.quirks,
            route.prices,
            stream_id=answer_id(self.id_prefix, request),
            model=route.model.id,
            created_s=request.created_s,
            include_usage=request.include_usage,
            chat=self.chat,
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


class OpenAICompletions(OpenAIChat):
    """``POST /completions`` (legacy): ``text`` instead of messages, ``max_tokens`` only."""

    chat = False
    id_prefix = "cmpl-"
