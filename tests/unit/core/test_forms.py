"""Multipart forms: positions in the spool, what is refused, and what their fields mean as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.core import forms
from tokenmarket.core.bodies import ImageBody, SpeechBody, TranscriptionBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import Form, decode_lax, form_members, read_form, safe_filename
from tokenmarket.core.uploads import Memory

BOUNDARY = b"----form-7MA4YWxk"
KIND = b"multipart/form-data; boundary=" + BOUNDARY


def part(name: str, value: bytes, filename: str | None = None, more: bytes = b"") -> bytes:
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = b"content-disposition: " + disposition.encode() + b"\r\n" + more
    return b"--%b\r\n%b\r\n%b\r\n" % (BOUNDARY, head, value)


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(body: bytes, kind: bytes = KIND) -> Form:
    return read_form(kind, Memory(body))


def refused(body: bytes, kind: bytes = KIND) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, kind)
    return caught.value


def meaning(*fields: tuple[str, str], lists: str = "", objects: str = "") -> Any:
    made = form_members(
        Form(list(fields), []), lists=frozenset(lists.split()), objects=frozenset(objects.split())
    )
    return json.loads(made)


def test_what_the_openai_sdk_sends_for_a_transcription() -> None:
    audio = bytes(range(256)) * 4
    body = whole(
        part("model", b"whisper-1"),
        part("include[]", b"logprobs"),
        part("timestamp_granularities[]", b"word"),
        part("timestamp_granularities[]", b"segment"),
        part("chunking_strategy[type]", b"server_vad"),
        part("chunking_strategy[threshold]", b"0.5"),
        part("temperature", b"0.2"),
        part("stream", b"true"),
        part("file", audio, "tale.wav", b"Content-Type: audio/wav\r\n"),
    )
    form = read(body)
    (file,) = form.files
    assert (file.field, file.filename, file.content_type) == ("file", "tale.wav", "audio/wav")
    assert file.data() == audio
    made = form_members(
        form, lists=frozenset({"include"}), objects=frozenset({"chunking_strategy"})
    )
    typed = decode_lax(made, TranscriptionBody)
    assert typed.stream is True
    assert typed.temperature == 0.2
    assert typed.include == ["logprobs"]
    assert typed.timestamp_granularities == ["word", "segment"]
    strategy = json.loads(bytes(typed.chunking_strategy))
    assert strategy == {"type": "server_vad", "threshold": "0.5"}


def test_two_images_and_an_empty_file() -> None:
    body = whole(
        part("image[]", b"\x89PNG 1", "a.png", b"Content-Type: image/png\r\n"),
        part("image[]", b"\x89PNG 22", "b.png"),
        part("mask", b"", "m.png"),
    )
    found = [(f.field, f.filename, f.content_type, f.data()) for f in read(body).files]
    assert found == [
        ("image", "a.png", "image/png", b"\x89PNG 1"),
        ("image", "b.png", "", b"\x89PNG 22"),
        ("mask", "m.png", "", b""),
    ]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 23, 64, 4096])
def test_any_piece_size_finds_the_same_places(
    monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    near = b"\r\n--" + BOUNDARY  # data that looks like the boundary, at every place
    values = [near[:cut] for cut in range(len(near))]
    values += [b"x" + value + b"y" for value in values] + [near + b"-x", near + b"\rx", near + b"z"]
    body = whole(*(part("f", value, f"{at}.bin") for at, value in enumerate(values[:60])))
    monkeypatch.setattr(forms, "PIECE_BYTES", piece_bytes)
    assert [file.data() for file in read(body).files] == values[:60]
    body = whole(*(part("f", value, f"{at}.bin") for at, value in enumerate(values[-20:])))
    assert [file.data() for file in read(body).files] == values[-20:]


def test_a_large_file_is_a_range_and_not_a_copy() -> None:
    reads: list[int] = []

    class Watched(Memory):
        def read_at(self, offset: int, length: int) -> bytes:
            reads.append(length)
            return super().read_at(offset, length)

    content = b"\r\n--nearly" * 200_000
    spool = Watched(whole(part("file", content, "big.bin"), part("model", b"m")))
    (file,) = read_form(KIND, spool).files
    assert file.spool is spool
    assert file.size == len(content)
    assert max(reads) <= forms.PIECE_BYTES
    assert file.read_at(100_000, 10) == content[100_000:100_010]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (b"multipart/form-data", "REQUEST_001"),
        (b"multipart/form-data; boundary=", "REQUEST_001"),
        (b"multipart/form-data; boundary=" + b"b" * 201, "REQUEST_001"),
        (b'multipart/form-data; boundary="a\tb"', "REQUEST_001"),
        (b"multipart/mixed; boundary=b", "REQUEST_007"),
        (b"multipart/", "REQUEST_007"),
    ],
)
def test_a_content_type_that_is_no_form(kind: bytes, code: str) -> None:
    error = refused(whole(part("a", b"1")), kind)
    assert (error.code, error.param) == (code, "Content-Type")


def test_a_form_that_is_cut_short_is_refused_wherever_it_is_cut() -> None:
    body = whole(part("a", b"1"), part("file", b"content", "f.bin"))
    end = len(body) - 2  # what follows the closing boundary is nobody's
    for cut in range(end):
        assert refused(body[:cut]).code == "REQUEST_001"
    assert read(body[:end]).files[0].data() == b"content"
    assert refused(b"").reason == "cut"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (whole(b"--" + BOUNDARY + b"\r\n\r\nno headers\r\n"), "malformed_form"),
        (whole(part("", b"1")), "malformed_form"),
        (whole(part("a\x00b", b"1")), "malformed_form"),
        (whole(part("a\nb", b"1")), "malformed_form"),
        (whole(part("a" * 257, b"1")), "malformed_form"),
        (whole(part("a", b"\xff\xfe")), "malformed_form"),
        (whole(part("a", b"x\x00y")), "malformed_form"),
        (whole(part("a", b"eA==", None, b"Content-Transfer-Encoding: base64\r\n")), None),
        (whole(part("a", b"1", None, b"Content-Disposition: form-data; name=b\r\n")), None),
        (whole(part("a", b"1", None, b"x: y\r\n" * 2)), None),
        (whole(part("a", b"1", None, b"bad header\r\n")), None),
        (whole(part("a", b"1", None, b"x-a: " + b"b" * 5000 + b"\r\n")), None),
        (b"not a form at all", None),
        (b"\r\n" * 1000, "cut"),
        (
            whole(b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n"),
            None,
        ),
    ],
)
def test_malformed_forms(body: bytes, reason: str | None) -> None:
    error = refused(body)
    assert error.code == "REQUEST_001"
    assert reason is None or error.reason == reason
    assert "\x00" not in (error.param or "")
    assert "\n" not in (error.param or "")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(whole(*[part("f", b"", "f")] * 65)).reason == "form_files"
    assert refused(whole(*[part("a", b"1")] * 1001)).reason == "form_fields"
    assert refused(whole(part("a", b"x" * (1024 * 1024 + 1)))).param == "a"
    monkeypatch.setattr(forms, "VALUES_BYTES_MAX", 10)
    assert refused(whole(*[part("a", b"1")] * 11)).code == "REQUEST_006"
    false_boundaries = b"\r\n--" + BOUNDARY + b"x"
    body = whole(part("f", false_boundaries * 2000, "f.bin"))
    assert refused(body).reason == "form_parts"


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("speech.mp3", "speech.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\tale.wav", "tale.wav"),
        ("/", "file"),
        ("", "file"),
        ("..", "file"),
        (".htaccess", "htaccess"),
        ("a\r\nb: c.png", "a__b_ c.png"),
        ("a\x00.php", "a_.php"),
        ('x"; filename="y', "x__ filename=_y"),
        ("童话.mp3", "童话.mp3"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("n" * 300 + ".jpeg", "n" * 95 + ".jpeg"),
        ("n" * 300, "n" * 100),
    ],
)
def test_file_names_are_harmless(given_name: str, safe: str) -> None:
    assert safe_filename(given_name) == safe


def test_a_file_name_in_the_extended_form_makes_a_file() -> None:
    head = (
        b"Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%e7%ab%a5..%2Fa.mp3\r\n"
    )
    body = whole(b"--" + BOUNDARY + b"\r\n" + head + b"\r\nxx\r\n")
    (file,) = read(body).files
    assert (file.filename, file.data()) == ("a.mp3", b"xx")


def test_brackets() -> None:
    assert meaning(("a", "1"), ("m[n][z]", "true"), ("m[k]", "v"), ("l[]", "x"), ("l[]", "y")) == {
        "a": "1",
        "m": {"n": {"z": "true"}, "k": "v"},
        "l": ["x", "y"],
    }
    assert meaning(("i", "x"), ("i", "y"), ("i[]", "z"), lists="i") == {"i": ["x", "y", "z"]}
    assert meaning(("i", "x"), lists="i") == {"i": ["x"]}
    assert meaning(("i[1]", "b"), ("i[0]", "a"), ("i[7]", "c"), lists="i") == {"i": ["a", "b", "c"]}
    assert meaning(("m[0]", "b")) == {"m": {"0": "b"}}  # no list: an object whose member is "0"


def test_lists_of_objects() -> None:
    frames = [
        ("f[][type]", "image_url"),
        ("f[][image_url][url]", "u1"),
        ("f[][type]", "image_url"),
        ("f[][image_url][url]", "u2"),
        ("f[][roles][]", "a"),
        ("f[][roles][]", "b"),
    ]
    assert meaning(*frames) == {
        "f": [
            {"type": "image_url", "image_url": {"url": "u1"}},
            {"type": "image_url", "image_url": {"url": "u2"}, "roles": ["a", "b"]},
        ]
    }
    numbered = [("f[0][t]", "x"), ("f[1][t]", "y"), ("f[0][u]", "z")]
    assert meaning(*numbered, lists="f") == {"f": [{"t": "x", "u": "z"}, {"t": "y"}]}


def test_values_that_are_json() -> None:
    assert meaning(("m", '{"a": [1, 2]}'), objects="m") == {"m": {"a": [1, 2]}}
    assert meaning(("m", '{"a": 1}')) == {"m": '{"a": 1}'}
    assert meaning(("c", "auto"), objects="c") == {"c": "auto"}
    both = {"lists": "i", "objects": "i"}
    assert meaning(("i", '["u1", {"url": "u2"}]'), **both) == {"i": ["u1", {"url": "u2"}]}
    assert meaning(("i", '{"url": "u"}'), ("i", "v"), **both) == {"i": [{"url": "u"}, "v"]}
    with pytest.raises(ApiError) as caught:
        meaning(("m", '{"a": '), objects="m")
    assert caught.value.param == "m"


@pytest.mark.parametrize(
    "fields",
    [
        [("a", "1"), ("a", "2")],
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a", "2")],
        [("a[b]", "1"), ("a[]", "2")],
        [("a[]", "1"), ("a[b]", "2")],
        [("l[0]", "1"), ("l[0]", "2")],
        [("l[0]", "1"), ("l[0][x]", "2")],
        [("l[x]", "1")],
        [("a[", "1")],
        [("a]b[", "1")],
        [("[a]", "1")],
        [("a[b]c", "1")],
        [("a" + "[b]" * 8, "1")],
        [("o", "[" * 5000), ("a", "1")],
    ],
)
def test_names_that_contradict_each_other(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ApiError) as caught:
        meaning(*fields, lists="l", objects="o")
    assert caught.value.code == "REQUEST_001"
    assert caught.value.param


def test_lax_decoding_turns_text_into_what_the_struct_wants() -> None:
    made = form_members(
        Form([("model", "1"), ("n", "2"), ("stream", "false"), ("prompt", "true")], []),
        lists=frozenset(),
        objects=frozenset(),
    )
    typed = decode_lax(made, ImageBody)
    assert (typed.model, typed.n, typed.stream, typed.prompt) == ("1", 2, False, "true")
    for fields in ([("n", "11")], [("n", "two")], [("n", "")], [("stream", "maybe")]):
        made = form_members(
            Form([("model", "m"), *fields], []), lists=frozenset(), objects=frozenset()
        )
        with pytest.raises(msgspec.ValidationError):
            decode_lax(made, ImageBody)
    for speed in ("nan", "inf", "1e999"):
        with pytest.raises(msgspec.ValidationError):
            decode_lax(b'{"model":"m","input":"x","speed":"%b"}' % speed.encode(), SpeechBody)


VALID = whole(
    part("model", b"m"),
    part("m[n][z]", b"true"),
    part("o", b'{"a":1}'),
    part("file", b"\x00\xff\r\n--x" * 5, "tale.wav", b"Content-Type: audio/wav\r\n"),
    part("l[]", "schön".encode()),
)


@settings(max_examples=300)
@given(
    cut=st.integers(0, len(VALID)),
    changes=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 2), st.binary(max_size=6)),
        max_size=4,
    ),
    piece_bytes=st.sampled_from([1, 5, 64, 4096]),
)
def test_damage_never_raises_anything_but_api_errors(
    cut: int, changes: list[tuple[int, int, bytes]], piece_bytes: int
) -> None:
    body = bytearray(VALID)
    for place, gone, new in changes:
        body[place : place + gone] = new
    damaged = bytes(body[:cut]) if cut % 3 == 0 else bytes(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "PIECE_BYTES", piece_bytes)
        try:
            form = read(damaged)
            form_members(form, lists=frozenset({"l"}), objects=frozenset({"o"}))
        except ApiError:
            return
    for file in form.files:
        assert damaged[file.offset : file.offset + file.size] == file.data()
        assert len(file.data()) == file.size
