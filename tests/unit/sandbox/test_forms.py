"""Forms as OpenAI's SDKs send them, and forms as nobody should send them."""

from typing import Any

import msgspec
import pytest

from tokenmarket.core.forms import FIELDS_MAX
from tokenmarket.sandbox.bodies import Refused
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body


class Body(msgspec.Struct):
    model: str
    n: int | None = None
    stream: bool | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    chunking_strategy: str | dict[str, Any] | None = None


def form(*parts: tuple[str, bytes], boundary: str = "b0", end: bool = True) -> Call:
    lines = b""
    for disposition, data in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
        lines += head.encode() + data + b"\r\n"
    if end:
        lines += f"--{boundary}--\r\n".encode()
    return Call("POST", "/", body=lines, content_type=f"multipart/form-data; boundary={boundary}")


def test_bracketed_names_become_objects_and_lists() -> None:
    body, files = read_body(
        form(
            ('name="model"', "沙盒".encode()),
            ('name="n"', b"3"),
            ('name="stream"', b"true"),
            ('name="include[]"', b"logprobs"),
            ('name="metadata[a]"', b"1"),
            ('name="metadata[b][c]"', b"x\r\ny"),
            ('name="chunking_strategy[type]"', b"server_vad"),
        ),
        Body,
    )
    assert files == []
    assert body == Body(
        "沙盒",
        3,
        True,
        ["logprobs"],
        {"a": "1", "b": {"c": "x\r\ny"}},
        {"type": "server_vad"},
    )


def test_repeated_names_are_lists_with_and_without_brackets() -> None:
    for name in ("include", "include[]"):
        rows = [(f'name="{name}"', b"a"), (f'name="{name}"', b"b"), ('name="model"', b"m")]
        assert read_body(form(*rows), Body)[0].include == ["a", "b"]


def test_files_keep_their_bytes() -> None:
    data = bytes(range(256)) * 3 + b"\r\n--b\r\n\n\r"
    disposition = 'name="image[]"; filename="../é.png"\r\nContent-Type: image/png'
    _, files = read_body(
        form(('name="model"', b"m"), (disposition, data), (disposition, b"")), Body
    )
    assert [(file.field, file.content_type, file.data) for file in files] == [
        ("image", "image/png", data),
        ("image", "image/png", b""),
    ]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (form(('name="model"', b"m"), end=False), None),
        (form(('name="n"', b"1")), None),
        (form(('name="model"', b"m"), ('name="n"', b"many")), "n"),
        (form(('name="model"', b"\xff")), "model"),
        (form(("", b"m")), None),
        (form(*[('name="include"', b"m")] * (FIELDS_MAX + 1)), None),
        (form(('name="a[b][c][d][e][f]"', b"m")), "a[b][c][d][e][f]"),
        (form(('name="a[][b]"', b"m")), "a[][b]"),
        (form(('name="a]["', b"m")), "a]["),
        (form(('name="a"', b"m"), ('name="a[b]"', b"m")), "a[b]"),
        (form(('name="a[b]"', b"m"), ('name="a"', b"m")), "a"),
        (Call("POST", "/", body=b"x", content_type="multipart/form-data"), "Content-Type"),
        (Call("POST", "/", body=b"", content_type="multipart/form-data; boundary=b0"), None),
        (Call("POST", "/", body=b"{", content_type="application/json"), None),
        (Call("POST", "/", body=b'{"model":1}'), "model"),
    ],
)
def test_bad_forms_are_refused(call: Call, param: str | None) -> None:
    with pytest.raises(Refused) as caught:
        read_body(call, Body)
    assert caught.value.status in (400, 413)
    assert caught.value.param == param
