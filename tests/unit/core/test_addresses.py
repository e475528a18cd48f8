"""Every address that a server-side request forgery has been seen to use is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.addresses import endpoint, public, same_site

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2001:200::1",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
    "64:ff9b::808:808",
]
NOT_PUBLIC = [
    # IPv4: both ends of every special registry
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    # IPv6
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::",
    "2620:4f:8000::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    # the inner address decides
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1::808:808",
    # not an address
    "",
    "localhost",
    "127.1",
    "0177.0.0.1",
    "010.0.0.1",
    "0x7f.0.0.1",
    "2130706433",
    "8.8.8.8:80",
    " 8.8.8.8",
    "8.8.8.8 ",
    "8.8.8.8\n",
    "１.1.1.1",
    "[2606:4700:4700::1111]",
    "2606:4700:4700::1111%eth0",
    "fe80::1%1",
    "8.8.8.8/32",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_address_it_leads_to(address: IPv4Address) -> None:
    assert public(f"::ffff:{address}") == public(f"64:ff9b::{address}") == public(str(address))


@given(st.ip_addresses())
def test_nothing_private_by_python_s_own_lists_is_public(
    address: IPv4Address | IPv6Address,
) -> None:
    if public(str(address)):
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        judged = inner or address
        assert judged.is_global
        assert not judged.is_multicast


def test_endpoint() -> None:
    assert endpoint("https://API.x.ai/v1") == "api.x.ai:443"
    assert endpoint("http://127.0.0.1:8080") == "127.0.0.1:8080"
    assert endpoint("http://[::1]/v1") == "[::1]:80"
    for bad in ("sandbox:", "https://", "https://u@h/", "ftp://h/", "https://h:0/", "https://h:x"):
        with pytest.raises(ValueError, match="not an http"):
            endpoint(bad)


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("https://queue.fal.run", "https://queue.fal.run/a/requests/1/status?logs=1"),
        ("https://queue.fal.run", "https://fal.run/a"),
        ("https://api.bfl.ai/v1", "https://api.us1.bfl.ai/v1/get_result?id=1"),
        ("https://api.bfl.ai/v1", "https://API.EU.BFL.AI:443/v1/get_result?id=1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/tasks/1"),
        ("http://[::1]:9000", "http://[::1]:9000/x"),
        ("http://localhost:9000", "http://localhost:9000/x"),
        ("https://api.example.co.uk", "https://cdn.example.co.uk/x"),
        ("https://dashscope.aliyuncs.com/api/v1", "https://dashscope.aliyuncs.com/api/v1/tasks/1"),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            "https://bedrock-agent-runtime.us-east-1.amazonaws.com/rerank",
        ),
    ],
)
def test_same_site(base: str, other: str) -> None:
    assert same_site(base, other)


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("https://queue.fal.run", "https://fal.media/x"),
        ("https://queue.fal.run", "https://evilfal.run/x"),
        ("https://queue.fal.run", "https://fal.run.evil.example/x"),
        ("https://queue.fal.run", "http://queue.fal.run/x"),
        ("https://queue.fal.run", "https://queue.fal.run:8443/x"),
        ("https://queue.fal.run", "https://queue.fal.run@evil.example/x"),
        ("https://queue.fal.run", "https://evil.example\\@queue.fal.run/x"),
        ("https://queue.fal.run", "https://evil.example#.fal.run/x"),
        ("https://queue.fal.run", "//queue.fal.run/x"),
        ("https://queue.fal.run", "https://queue.fal.run/x\r\nx: y"),
        ("https://queue.fal.run", ""),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9001/x"),
        ("http://10.0.0.1", "http://20.0.0.1/x"),
        ("http://[::1]", "http://[::2]/x"),
        ("http://localhost:9000", "http://localhost/x"),
        ("https://a.internal", "https://internal/x"),
        ("https://example.co.uk", "https://other.co.uk/x"),
        ("https://x.com.cn", "https://com.cn/x"),
        ("https://dashscope.aliyuncs.com", "https://bucket.oss-cn-beijing.aliyuncs.com/x"),
        ("https://mine.openai.azure.com", "https://theirs.openai.azure.com/x"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "https://b.s3.amazonaws.com/x"),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            "https://bedrock-agent-runtime.us-west-2.amazonaws.com/rerank",
        ),
        ("sandbox:", "sandbox:"),
        ("sandbox:", "https://fal.run/x"),
    ],
)
def test_not_the_same_site(base: str, other: str) -> None:
    assert not same_site(base, other)
