"""Credentials that are more than one header: minted, fetched and signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.unit.upstream.fake import Clock
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Provider, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import memory_upload
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Credential, CredentialPool, Secret
from tokenmarket.upstream.origin import Headers, Origin
from tokenmarket.upstream.signers import AwsSigner, GoogleSigner, KlingSigner, signer_for

HERE = Origin.parse("https://p.example/v1")
REQUEST = UpstreamRequest("/x", (("content-type", "application/json"),), b"{}")
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

Reply = Callable[[], tuple[int, bytes]]


class TokenServer:
    """Stands for the client: answers the exchange with what the test says."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply = reply or (lambda: (200, token(f"t{len(self.asked)}")))
        self.asked: list[tuple[str, UpstreamRequest, Headers]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(
        self, origin: Origin, request: UpstreamRequest, authorization: Headers, timeouts: Timeouts
    ) -> TokenServer:
        self.asked.append((origin.authority, request, authorization))
        await self.open.wait()
        status, self.body = self.reply()
        self.head = Head(status, {})
        return self

    async def read(self, bytes_max: int) -> bytes:
        return self.body

    def abort(self) -> None: ...


def token(text: str, **more: Any) -> bytes:
    answer = {"access_token": text, "expires_in": 3599, "token_type": "Bearer", **more}
    return json.dumps(answer).encode()


@cache
def rsa_private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def account(**changes: Any) -> str:
    pem = rsa_private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    fields = {
        "type": "service_account",
        "client_email": "a@p.iam.example",
        "private_key": pem.decode(),
        "private_key_id": "k1",
        "token_uri": "https://oauth2.example/token",
        **changes,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def credential(adapter: str, text: str, clock: Clock, base_url: str = BEDROCK) -> Credential:
    provider = Provider("p", adapter, base_url, api_key_env="K")
    return CredentialPool(provider, [("id", Secret(text))], clock, clock).credentials[0]


async def shown(
    credential: Credential,
    server: TokenServer | None = None,
    origin: Origin = HERE,
    request: UpstreamRequest = REQUEST,
) -> Headers:
    client = cast("UpstreamClient", server or TokenServer())
    return await credential.authorize(origin, request, client)


def claims_of(jwt: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000.5)


# ------------------------------------------------------------------------------------- which are


@pytest.mark.parametrize(
    ("adapter", "text", "kind"),
    [
        ("kling", "ak:sk", KlingSigner),
        ("kling", "api-key", None),
        ("kling", "a:b:c", None),
        ("kling", ":sk", None),
        ("kling", "ak:", None),
        ("openai", "a:b", None),
        ("bedrock", "AKID:secret", AwsSigner),
        ("bedrock", "AKID:secret:session", AwsSigner),
        ("bedrock", "ABSKQmVkcm9ja0FQSUtleQ==", None),
        ("vertex", "ya29.ready", None),
        ("vertex", account(), GoogleSigner),
    ],
)
async def test_which_keys_are_more_than_a_header(
    clock: Clock, adapter: str, text: str, kind: type | None
) -> None:
    found = credential(adapter, text, clock)
    if kind is None:
        assert found.signer is None
        assert found.headers == (("authorization", f"Bearer {text}"),)
        assert await shown(found) is found.headers
    else:
        assert isinstance(found.signer, kind)
        assert found.headers == ()


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        ("openai", account()),
        ("vertex", "{not json"),
        ("vertex", '{"client_email":"hidden"}'),
        ("vertex", account(private_key=None)),
        ("vertex", account(private_key="hidden")),
        ("vertex", account(token_uri="http://hidden.example/token")),
        ("vertex", account(token_uri="file:///hidden")),
        ("vertex", account(token_uri=7)),
        ("bedrock", "hidden:"),
        ("bedrock", "hidden:a:b:c"),
        ("bedrock", ":hidden"),
        ("bedrock", "AK\r\nhidden:secret"),
    ],
)
def test_keys_that_cannot_work_are_refused_unseen(clock: Clock, adapter: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"service account|AWS key|private key|header|vertex") as e:
        signer_for(adapter, BEDROCK, text, clock)
    assert "hidden" not in str(e.value)


def test_aws_keys_need_a_region(clock: Clock) -> None:
    for base_url in ("https://p.example", "https://bedrock-runtime.us-east-1.evil.example"):
        with pytest.raises(ValueError, match="REGION"):
            credential("bedrock", "AKID:secret", clock, base_url)


def test_a_signer_stays_while_its_key_stays(clock: Clock) -> None:
    provider = Provider("p", "kling", "https://p.example", api_key_env="K")
    pool = CredentialPool(provider, [("id", Secret("ak:sk"))], clock, clock)
    before = pool.credentials[0]
    pool.update(provider, [("id", Secret("ak:sk"))])
    assert pool.credentials[0] is before
    pool.update(provider, [("id", Secret("ak:other"))])
    assert pool.credentials[0] is not before
    other = Provider("p", "openai", "https://p.example", api_key_env="K")
    pool.update(other, [("id", Secret("ak:other"))])
    assert pool.credentials[0].headers == (("authorization", "Bearer ak:other"),)


# ----------------------------------------------------------------------------------------- Kling


async def test_a_minted_token_is_kept_and_renewed(clock: Clock) -> None:
    kling = credential("kling", "ak:sk", clock)
    first = await shown(kling)
    jwt = dict(first)["authorization"].removeprefix("Bearer ")
    assert claims_of(jwt) == {"iss": "ak", "exp": 1_700_001_800, "nbf": 1_699_999_995}
    clock.now_s += 25 * 60 - 1
    assert await shown(kling) is first
    clock.now_s += 1
    second = await shown(kling)
    assert claims_of(dict(second)["authorization"])["exp"] == 1_700_003_300
    clock.now_s -= 3600  # a clock that was set back
    assert claims_of(dict(await shown(kling))["authorization"])["exp"] == 1_699_999_700


async def test_a_refused_token_is_not_given_again(clock: Clock) -> None:
    kling = credential("kling", "ak:sk", clock)
    first = await shown(kling)
    kling.refused(UpstreamError("rate_limited", "x"), "m", clock.now_s)
    assert await shown(kling) is first
    kling.refused(UpstreamError("auth", "x"), "m", clock.now_s)
    assert await shown(kling) is not first


# ----------------------------------------------------------------------------------------- Google


async def test_an_access_token_is_fetched_kept_and_renewed(clock: Clock) -> None:
    server = TokenServer()
    vertex = credential("vertex", account(), clock)
    first = await shown(vertex, server)
    assert first == (("authorization", "Bearer t1"),)
    authority, request, authorization = server.asked[0]
    assert (authority, request.path, request.method) == ("oauth2.example", "/token", "POST")
    assert authorization == ()
    assert isinstance(request.body, bytes)
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    jwt = form["assertion"][0]
    assert claims_of(jwt) == {
        "iss": "a@p.iam.example",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.example/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }
    signed, _, signature = jwt.rpartition(".")
    rsa_private_key().public_key().verify(
        base64.urlsafe_b64decode(signature + "=="),
        signed.encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    clock.now_s += 3599 - 300 - 1
    assert await shown(vertex, server) is first
    clock.now_s += 1
    assert await shown(vertex, server) == (("authorization", "Bearer t2"),)
    assert len(server.asked) == 2


async def test_many_who_wait_fetch_one_token(clock: Clock) -> None:
    server = TokenServer()
    vertex = credential("vertex", account(), clock)
    server.open.clear()
    waiting = [asyncio.create_task(shown(vertex, server)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()  # the one who began it leaves
    await asyncio.sleep(0)
    server.open.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert set(found[1:]) == {(("authorization", "Bearer t1"),)}
    assert len(server.asked) == 1


async def test_everybody_hears_of_a_failure_and_the_next_one_tries_again(clock: Clock) -> None:
    server = TokenServer(lambda: (503, b""))
    vertex = credential("vertex", account(), clock)
    waiting = [asyncio.create_task(shown(vertex, server)) for _ in range(5)]
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(found, UpstreamError)
        assert found.kind == "connect"
    assert len(server.asked) == 1
    server.reply = lambda: (200, token("t"))
    assert await shown(vertex, server) == (("authorization", "Bearer t"),)


async def test_an_old_token_is_used_to_its_end(clock: Clock) -> None:
    server = TokenServer()
    vertex = credential("vertex", account(), clock)
    first = await shown(vertex, server)
    server.reply = lambda: (503, b"")
    clock.now_s += 3400
    for _ in range(3):
        assert await shown(vertex, server) is first
    assert len(server.asked) == 2  # and not asked about at every request
    clock.now_s += 200
    with pytest.raises(UpstreamError):
        await shown(vertex, server)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":"invalid_grant"}', "auth"),
        (401, b"", "auth"),
        (500, b"", "connect"),
        (302, b"", "connect"),
        (200, b"", "connect"),
        (200, b"[]", "connect"),
        (200, b'{"access_token":7}', "connect"),
        (200, b'{"access_token":""}', "connect"),
        (200, token("a\r\nx: y"), "connect"),
        (200, token("t", expires_in="soon"), "connect"),
    ],
)
async def test_exchanges_that_fail(clock: Clock, status: int, body: bytes, kind: str) -> None:
    vertex = credential("vertex", account(), clock)
    with pytest.raises(UpstreamError) as raised:
        await shown(vertex, TokenServer(lambda: (status, body)))
    assert raised.value.kind == kind


async def test_a_token_of_short_life(clock: Clock) -> None:
    server = TokenServer(lambda: (200, token("t", expires_in=60)))
    vertex = credential("vertex", account(), clock)
    await shown(vertex, server)
    clock.now_s += 29
    await shown(vertex, server)
    assert len(server.asked) == 1
    clock.now_s += 1
    await shown(vertex, server)
    assert len(server.asked) == 2


# ------------------------------------------------------------------------------------------- AWS


async def test_every_request_is_signed_as_it_is_sent(clock: Clock) -> None:
    """The vector of shared/reference/providers/bedrock.md §2, which botocore signed."""
    clock.now_s = 1_795_392_000.9  # 2026-11-23T00:00:00Z
    aws = credential("bedrock", f"AKIDEXAMPLE:{SECRET}", clock)
    body = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
    path = "/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"
    request = UpstreamRequest(path, (("content-type", "application/json"),), body)
    found = dict(await shown(aws, origin=Origin.parse(f"{BEDROCK}/model"), request=request))
    assert found["x-amz-date"] == "20261123T000000Z"
    expected = "ba60993c0fc92a95625c4573714005708ecc8c3e05f90f0e5eee54f0fda03345"
    assert found["authorization"].endswith(f"Signature={expected}")
    agent = Origin.parse("https://bedrock-agent-runtime.eu-west-1.amazonaws.com")
    rerank = UpstreamRequest("/rerank", (), b"{}")
    found = dict(await shown(aws, origin=agent, request=rerank))
    assert "/20261123/eu-west-1/bedrock/aws4_request" in found["authorization"]


async def test_a_body_of_parts_is_hashed_like_its_bytes(clock: Clock) -> None:
    aws = credential("bedrock", f"AKIDEXAMPLE:{SECRET}:token", clock)
    data = hashlib.sha256(b"x").digest() * 40_000
    upload = memory_upload(data, field="f", filename="f", content_type="a/b")
    whole = UpstreamRequest("/m", (), b"<" + data + b">")
    parts = UpstreamRequest("/m", (), (b"<", upload, b">"))
    origin = Origin.parse(BEDROCK)
    first = await shown(aws, origin=origin, request=whole)
    assert first == await shown(aws, origin=origin, request=parts)
    assert dict(first)["x-amz-security-token"] == "token"
