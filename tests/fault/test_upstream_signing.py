"""Minted, fetched and signed credentials as they reach a server."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fault.upstream_server import Link, serving, steady
from tests.unit.upstream.test_outbound import route
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core import sigv4
from tokenmarket.core.catalog import Provider, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import memory_upload
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.health import Health
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.outbound import Outbound

NOW_S = 1_795_392_000.0
REQUEST = UpstreamRequest("/x", (("content-type", "application/json"),), b"{}")


async def here(origin: Origin) -> list[str]:
    """Every name is this machine."""
    return ["127.0.0.1"]


def outbound(client: UpstreamClient, provider: Provider, key: str) -> Outbound:
    made = Outbound(client, Health(lambda: NOW_S), lambda: NOW_S, wall=lambda: NOW_S)
    made.update({provider.name: provider}, lambda _: [("id", Secret(key))])
    return made


async def ask(made: Outbound, provider: Provider, request: UpstreamRequest = REQUEST) -> bytes:
    way = route(provider)
    answer = await made.send(way, made.acquire(way), request, Timeouts())
    return await answer.read(100)


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_what_aws_reads_is_what_was_signed(prefix: str) -> None:
    """The server signs what it received and must come to the same signature."""
    client = UpstreamClient(vet=here)
    async with steady() as upstream:
        host = f"bedrock-runtime.eu-west-1.amazonaws.com:{upstream.port}"
        provider = Provider("b", "bedrock", f"http://{host}{prefix}", api_key_env="K")
        made = outbound(client, provider, "AKID:secret:token")
        upload = memory_upload(b"x" * 3_000_000, field="f", filename="f", content_type="a/b")
        for request in (
            REQUEST,
            UpstreamRequest("/model/a%3A0/converse?b=c%20d&a", REQUEST.headers, b'{"a": 1}'),
            UpstreamRequest("/model/b", (("x-amzn-bedrock-trace", "x"),), (b"<", upload, b">")),
            UpstreamRequest("/rerank", (), b"", method="GET", from_root=True),
            UpstreamRequest("", (), b"{}", url=f"http://{host.replace('-run', '-agent-run')}/r"),
        ):
            assert await ask(made, provider, request) == b"ok"
            lines = upstream.heads[-1].decode().split("\r\n")[:-2]
            method, target, _ = lines[0].split(" ")
            received = dict(line.split(": ", 1) for line in lines[1:])
            ours = {"authorization", "x-amz-date", "x-amz-security-token"}
            again = sigv4.sign(
                sigv4.Keys("AKID", "secret", "token"),
                region="eu-west-1",
                service="bedrock",
                method=method,
                host=received["host"],
                target=target,
                headers=[item for item in received.items() if item[0] not in ours],
                body_sha256=hashlib.sha256(upstream.bodies[-1]).hexdigest(),
                now_s=int(NOW_S),
            )
            assert dict(again)["authorization"] == received["authorization"]
            assert received["x-amz-security-token"] == "token"
    await client.close()


async def test_a_service_account_buys_one_token_for_many_requests() -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    heads: list[bytes] = []
    bought = b'{"access_token":"ya29","expires_in":3599}'

    async def sell(link: Link) -> None:
        heads.append((await link.request())[0])
        link.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(bought) + bought)

    client = UpstreamClient()
    async with steady() as upstream, serving(sell) as shop:
        account = {
            "client_email": "a@p.example",
            "private_key": key.decode(),
            "token_uri": f"http://127.0.0.1:{shop.port}/token",
        }
        provider = Provider("v", "vertex", upstream.url(), api_key_env="K")
        made = outbound(client, provider, json.dumps(account))
        for _ in range(3):
            assert await ask(made, provider) == b"ok"
        assert [head.split(b"\r\n")[0] for head in heads] == [b"POST /token HTTP/1.1"]
        assert all(b"\r\nauthorization: Bearer ya29\r\n" in head for head in upstream.heads)
    async with serving(sell) as upstream:
        account["token_uri"] = "http://127.0.0.1:1/token"  # nobody listens there
        provider = Provider("v", "vertex", upstream.url(), api_key_env="K")
        made = outbound(client, provider, json.dumps(account))
        with pytest.raises(UpstreamError, match="no access token") as raised:
            await ask(made, provider)
        assert raised.value.kind == "connect"
        assert upstream.links == []
    await client.close()
