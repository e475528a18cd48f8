"""AWS's published examples: the Signature Version 4 test suite, the IAM example of its
documentation, and a Bedrock request that botocore 1.44.5 signed (shared/reference/providers)."""

from __future__ import annotations

import calendar
import hashlib

import pytest

from tokenmarket.core.sigv4 import Headers, Keys, sign

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = Keys("AKIDEXAMPLE", SECRET)
SUITE_S = calendar.timegm((2015, 8, 30, 12, 36, 0))


def signed(target: str, method: str = "GET", headers: Headers = (), body: bytes = b"") -> Headers:
    return sign(
        KEYS,
        region="us-east-1",
        service="service",
        method=method,
        host="example.amazonaws.com",
        target=target,
        headers=headers,
        body_sha256=hashlib.sha256(body).hexdigest(),
        now_s=SUITE_S,
    )


def signature(headers: Headers) -> str:
    return dict(headers)["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        # get-vanilla
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        # post-vanilla
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        # get-vanilla-query-order-key-case
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        # get-vanilla-empty-query-key
        (
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        # get-unreserved
        (
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
    ],
)
def test_the_suite(method: str, target: str, expected: str) -> None:
    headers = signed(target, method)
    assert dict(headers)["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={expected}"
    )
    assert dict(headers)["x-amz-date"] == "20150830T123600Z"


def test_a_form() -> None:
    """post-x-www-form-urlencoded."""
    headers = signed(
        "/",
        "POST",
        (("Content-Type", "application/x-www-form-urlencoded"), ("accept", "x")),
        b"Param1=value1",
    )
    assert "SignedHeaders=content-type;host;x-amz-date," in dict(headers)["authorization"]
    expected = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    assert signature(headers) == expected


def test_the_iam_example() -> None:
    headers = sign(
        KEYS,
        region="us-east-1",
        service="iam",
        method="GET",
        host="iam.amazonaws.com",
        target="/?Action=ListUsers&Version=2010-05-08",
        headers=(("content-type", "application/x-www-form-urlencoded; charset=utf-8"),),
        body_sha256=hashlib.sha256(b"").hexdigest(),
        now_s=SUITE_S,
    )
    expected = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert signature(headers) == expected


BODY = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'


def bedrock(keys: Keys = KEYS, body: bytes = BODY) -> Headers:
    return sign(
        keys,
        region="us-east-1",
        service="bedrock",
        method="POST",
        host="bedrock-runtime.us-east-1.amazonaws.com",
        target="/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse",
        headers=(("content-type", "application/json"),),
        body_sha256=hashlib.sha256(body).hexdigest(),
        now_s=calendar.timegm((2026, 11, 23, 0, 0, 0)),
    )


def test_bedrock_encodes_the_path_twice() -> None:
    expected = "ba60993c0fc92a95625c4573714005708ecc8c3e05f90f0e5eee54f0fda03345"
    assert signature(bedrock()) == expected


def test_a_session_token_is_signed_too() -> None:
    headers = bedrock(Keys("AKIDEXAMPLE", SECRET, "token"))
    assert dict(headers)["x-amz-security-token"] == "token"
    assert "x-amz-date;x-amz-security-token," in dict(headers)["authorization"]
    assert signature(headers) != signature(bedrock())
    assert signature(bedrock(body=BODY + b" ")) != signature(bedrock())


@pytest.mark.parametrize("path", ["//", "/a//b", "/a/../b", "/./a", "/a/..", "/a/."])
def test_paths_that_aws_would_read_differently(path: str) -> None:
    with pytest.raises(ValueError, match="dot segments"):
        signed(path)


def test_keys_do_not_show_themselves() -> None:
    assert SECRET not in repr(KEYS)
