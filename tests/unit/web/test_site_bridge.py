"""A request of the front through an ASGI application, and its answer back."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tokenmarket.core.wire import Inbound
from tokenmarket.web.site import bridge


class Kept:
    """A client that keeps what it was given."""

    def __init__(self) -> None:
        self.cancellable = False
        self.gone = False
        self.begun = False
        self.status = 0
        self.head = b""
        self.pieces: list[bytes] = []
        self.whole = False

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self.status, self.head, self.whole = status, head, True
        self.pieces.append(body)

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        self.begun = True
        self.status, self.head = status, head

    def write(self, data: bytes) -> bool:
        self.pieces.append(data)
        return True

    async def drained(self) -> None:
        self.pieces.append(b"|")

    def end(self, data: bytes) -> None:
        self.pieces.append(data)


async def _echo(request: Request) -> Response:
    body = (await request.body()).decode()
    facts = {"path": request.path_params, "query": dict(request.query_params), "body": body}
    return JSONResponse(facts, headers={"x-one": "1"})


async def _stream(request: Request) -> Response:
    async def pieces():
        yield b"one"
        yield b"two"

    return StreamingResponse(pieces(), media_type="text/plain")


APP = Starlette(
    routes=[
        Route("/echo/{name}", _echo, methods=["POST"]),
        Route("/stream", _stream),
    ]
)


def _inbound(method: str, path: str, body: bytes = b"", query: bytes = b"") -> Inbound:
    headers = {b"host": b"here:80"}
    return Inbound("req_1", method, path, query, headers, body, "127.0.0.1", 0, 0)


async def test_a_whole_answer_leaves_in_one_write() -> None:
    client = Kept()
    inbound = _inbound("POST", "/echo/caf%C3%A9", b"hello", b"a=1")
    await bridge.call(APP, inbound, client, scheme="http")
    assert client.whole
    assert client.status == 200
    assert client.pieces == ['{"path":{"name":"café"},"query":{"a":"1"},"body":"hello"}'.encode()]
    assert b"x-one: 1\r\n" in client.head
    assert b"content-length" not in client.head  # the front writes it


async def test_a_stream_waits_for_a_slow_client() -> None:
    client = Kept()
    await bridge.call(APP, _inbound("GET", "/stream"), client, scheme="http")
    assert not client.whole
    assert client.pieces == [b"one", b"|", b"two", b"|", b""]


async def test_an_encoded_slash_is_no_slash_and_broken_percent_signs_find_nothing() -> None:
    for path in ("/echo/a%2Fb", "/echo/%zz", "/echo/%"):
        client = Kept()
        await bridge.call(APP, _inbound("POST", path), client, scheme="http")
        assert client.status == 200, path
        assert b"/" not in client.pieces[0].split(b'"name":')[1].split(b"}")[0], path
