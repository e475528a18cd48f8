"""Segments from words, the six formats, the events."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from tokenmarket.core.media.languages import english_name, language_code
from tokenmarket.core.media.transcript_events import DONE, delta_event, events, segment_event
from tokenmarket.core.media.transcript_formats import CONTENT_TYPES, missing, render
from tokenmarket.core.media.transcripts import (
    NotInTranscript,
    Segment,
    Transcript,
    Word,
    segments_of,
    segments_of_words,
    speaker_names,
)

TWO = Transcript(
    "Hello there. How are you?",
    "en",
    3500,
    segments=(
        Segment(0, 1500, " Hello there.", "spk_1", 0.5),
        Segment(1750, 3_723_004, " How are you?", "spk_0"),
    ),
    usage={"type": "duration", "seconds": 4},
    extra={"logprobs": [], "text": "not ours"},
)


def words(*rows: tuple[Any, ...]) -> tuple[Word, ...]:
    return tuple(Word(*row) for row in rows)


def body(transcript: Transcript, kind: str, **options: Any) -> dict[str, Any]:
    return json.loads(render(transcript, kind, **options))


# ------------------------------------------------------------------------------------- subtitles


def test_srt() -> None:
    assert render(TWO, "srt").decode() == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
        "2\n00:00:01,750 --> 01:02:03,004\nHow are you?\n\n"
    )


def test_vtt() -> None:
    assert render(TWO, "vtt").decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n"
        "00:00:01.750 --> 01:02:03.004\nHow are you?\n\n"
    )


def test_text_cannot_become_structure() -> None:
    evil = Transcript(
        "x",
        segments=(
            Segment(0, 900, "one\r\n\r\n2\n00:00:09,000 --> 00:00:10,000\nforged --->\n\n"),
            Segment(900, 100, "<v Bob>&amp;\u2028\x00NOTE\x85 \t "),  # ends before it begins
            Segment(950, 960, " \n "),
            Segment(-5, -1, "early"),
        ),
    )
    srt = render(evil, "srt").decode()
    assert srt.count(" --> ") == 3
    assert len(re.findall(r"-->", srt)) == 3
    assert srt.split("\n\n")[1].splitlines()[1:] == [
        "00:00:00,000 --> 00:00:00,001",
        "early",
    ]
    assert "\n\n2\n00:00:09" not in srt
    vtt = render(evil, "vtt").decode()
    assert len(re.findall(r"-->", vtt)) == 3
    assert "&lt;v Bob&gt;&amp;amp;\nNOTE" in vtt
    assert "\x00" not in vtt
    assert "00:00:00.900 --> 00:00:00.901" in vtt


@given(st.lists(st.tuples(st.integers(-9, 9999), st.integers(-9, 9999), st.text(max_size=30))))
def test_subtitles_stay_well_formed(rows: list[tuple[int, int, str]]) -> None:
    transcript = Transcript("", segments=tuple(Segment(*row) for row in rows))
    blocks = render(transcript, "srt").decode().split("\n\n")
    assert blocks.pop() == ""
    last = 0
    for number, block in enumerate(blocks, 1):
        head, times, *lines = block.split("\n")
        assert head == str(number)
        assert lines
        assert all(line.strip() and "-->" not in line for line in lines)
        match = re.fullmatch(r"00:00:(\d\d),(\d\d\d) --> 00:00:(\d\d),(\d\d\d)", times)
        assert match is not None
        start, end = (int(match[i]) * 1000 + int(match[i + 1]) for i in (1, 3))
        assert last <= start < end
        last = start


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_times_are_not_invented(kind: str) -> None:
    for transcript in (
        Transcript("only text"),
        Transcript("x", segments=(Segment(0, None, "x"),)),
        Transcript("x", words=words(("x", None, 5))),
    ):
        assert missing(transcript, kind) == "timestamps"
        with pytest.raises(NotInTranscript) as caught:
            render(transcript, kind)
        assert caught.value.what == "timestamps"


def test_silence_is_no_error() -> None:
    assert render(Transcript(""), "srt") == b""
    assert render(Transcript(" "), "vtt") == b"WEBVTT\n\n"
    assert body(Transcript(""), "diarized_json")["segments"] == []


# ------------------------------------------------------------------------------------------ JSON


def test_json_and_text() -> None:
    assert render(TWO, "text") == b"Hello there. How are you?\n"
    assert render(Transcript("\ud800 ok"), "text") == b"? ok\n"
    assert body(TWO, "json") == {"text": TWO.text, "usage": TWO.usage, "logprobs": []}


def test_verbose_json() -> None:
    found = body(TWO, "verbose_json")
    assert list(found)[:5] == ["task", "language", "duration", "text", "segments"]
    assert found["task"] == "transcribe"
    assert found["language"] == "english"
    assert found["duration"] == 3.5
    assert found["text"] == TWO.text
    assert "words" not in found
    first, second = found["segments"]
    assert first == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.5,
        "text": " Hello there.",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": pytest.approx(math.log(0.5)),
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    assert second["avg_logprob"] == 0.0
    assert second["end"] == 3723.004


def test_upstream_numbers_are_kept() -> None:
    numbers = {"tokens": [1, 2], "seek": 300, "no_speech_prob": 0.25, "foreign": "no"}
    transcript = Transcript("x", segments=(Segment(0, 5, "x", None, 0.9, numbers),))
    (segment,) = body(transcript, "verbose_json")["segments"]
    assert (segment["tokens"], segment["seek"], segment["no_speech_prob"]) == ([1, 2], 300, 0.25)
    assert "foreign" not in segment


def test_word_confidence_makes_the_segment_s() -> None:
    transcript = Transcript(
        "a b c",
        segments=(Segment(0, 200, "a b"), Segment(200, 300, "c")),
        words=words(("a", 0, 90, 0.5), ("b", 100, 190, 0.25), ("c", 210, 290, 7.0)),
    )
    first, second = body(transcript, "verbose_json")["segments"]
    assert first["avg_logprob"] == pytest.approx((math.log(0.5) + math.log(0.25)) / 2)
    assert second["avg_logprob"] == 0.0  # 7 is no probability


def test_words_are_given_when_asked() -> None:
    transcript = Transcript("a b", words=words(("a", 0, 90), (" b", 100, 95)))
    found = body(transcript, "verbose_json", granularities=["word"])
    assert found["words"] == [
        {"word": "a", "start": 0.0, "end": 0.09},
        {"word": "b", "start": 0.1, "end": 0.1},
    ]
    assert "segments" not in found
    both = body(transcript, "verbose_json", granularities=["word", "segment"])
    assert [segment["text"] for segment in both["segments"]] == ["a b"]


def test_unknown_is_null_or_empty_and_said() -> None:
    text = Transcript("only text")
    found = body(text, "verbose_json", granularities=["segment", "word"])
    assert (found["language"], found["duration"]) == (None, None)
    assert found["segments"] == found["words"] == []
    assert missing(text, "verbose_json") == "timestamps"
    assert missing(TWO, "verbose_json", ["segment", "word"]) == "words"
    assert missing(TWO, "verbose_json") is None
    assert missing(text, "json") is None


def test_diarized_json() -> None:
    found = body(TWO, "diarized_json")
    assert [segment["speaker"] for segment in found["segments"]] == ["A", "B"]
    assert found["segments"][0] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0.0,
        "end": 1.5,
        "text": " Hello there.",
        "speaker": "A",
    }
    assert found["duration"] == 3.5
    known = body(TWO, "diarized_json", known_speakers=["spk_0", "A"])
    assert [segment["speaker"] for segment in known["segments"]] == ["B", "spk_0"]


def test_diarized_json_needs_speakers_and_times() -> None:
    nobody = Transcript("x", segments=(Segment(0, 5, "x"),))
    assert missing(nobody, "diarized_json") == "speakers"
    assert missing(Transcript("x"), "diarized_json") == "timestamps"
    untimed = Transcript("x", segments=(Segment(None, 5, "x", "1"),))
    assert missing(untimed, "diarized_json") == "timestamps"


def test_speakers_of_words_where_segments_have_none() -> None:
    transcript = Transcript(
        "Hi. Yes.",
        segments=(Segment(0, 300, "Hi. Yes."),),
        words=words(("Hi.", 0, 90, None, "1"), ("Yes.", 100, 190, None, "0")),
    )
    found = body(transcript, "diarized_json")["segments"]
    assert [(segment["speaker"], segment["text"]) for segment in found] == [
        ("A", "Hi."),
        ("B", "Yes."),
    ]
    assert segments_of(transcript) == transcript.segments


def test_the_sdk_reads_them() -> None:
    every = ["segment", "word"]
    TranscriptionVerbose.model_validate(body(TWO, "verbose_json", granularities=every))
    TranscriptionDiarized.model_validate(body(TWO, "diarized_json"))
    Transcription.model_validate(body(TWO, "json"))


def test_unknown_format() -> None:
    with pytest.raises(ValueError, match="no format"):
        render(TWO, "yaml")
    assert set(CONTENT_TYPES) == {"json", "text", "srt", "vtt", "verbose_json", "diarized_json"}
    assert all(CONTENT_TYPES[name].startswith("text/plain") for name in ("text", "srt", "vtt"))


def test_speaker_names() -> None:
    labels = [str(number) for number in range(28)]
    names = speaker_names(labels)
    assert [names[label] for label in ("0", "25", "26", "27")] == ["A", "Z", "AA", "AB"]
    assert speaker_names(["b", None, "b"]) == {None: "unknown", "b": "A"}


# ------------------------------------------------------------------------------ segments of words


def test_cut_at_sentence_speaker_pause_and_length() -> None:
    found = segments_of_words(
        words(
            ("He", 0, 100, None, "1"),
            ("said:", 110, 200, None, "1"),
            ("“No.”", 210, 300, None, "1"),
            ("Then", 310, 400, None, "1"),
            ("silence", 1300, 1400, None, "1"),
            ("me", 1410, 1500, None, "2"),
        ),
        "He said:  “No.” Then — silence, me!",
    )
    assert [segment.text for segment in found] == ["He said:  “No.”", "Then —", "silence,", "me!"]
    assert (found[0].start_ms, found[0].end_ms) == (0, 300)
    assert found[-1].speaker == "2"
    long = segments_of_words([Word("a", at, at + 400) for at in range(0, 60_000, 400)])
    assert all((one.end_ms or 0) - (one.start_ms or 0) <= 15_000 for one in long)
    assert len(long) == 5


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["Hello", "you"], "Hello you"),
        ([" Hello", " you", "."], "Hello you."),
        (["你", "好", "世界"], "你好世界"),
        (["안녕", "하세요"], "안녕 하세요"),
    ],
)
def test_joining_without_a_text(texts: list[str], line: str) -> None:
    rows = [Word(text, 100 * i, 100 * i + 90) for i, text in enumerate(texts)]
    (segment,) = segments_of_words(rows)
    assert segment.text == line


@given(st.lists(st.sampled_from(["one", "two.", "three", "vier?"]), min_size=1, max_size=40))
def test_nothing_of_the_text_is_lost(texts: list[str]) -> None:
    rows = [Word(text, 1000 * i, 1000 * i + 100 * (i % 9)) for i, text in enumerate(texts)]
    text = "  ".join(texts)
    found = segments_of_words(rows, text)
    assert " ".join(" ".join(segment.text for segment in found).split()) == " ".join(texts)


# ---------------------------------------------------------------------------------------- events


def parsed(stream: list[bytes]) -> list[dict[str, Any]]:
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in stream)
    assert all(event.count(b"\n") == 2 for event in stream)
    return [json.loads(event[6:]) for event in stream if event != DONE]


def test_events_of_a_whole_transcript() -> None:
    stream = events(TWO)
    delta, done = parsed(stream)
    assert stream[-1] == DONE
    assert delta == {"type": "transcript.text.delta", "delta": TWO.text}
    assert done == {
        "type": "transcript.text.done",
        "text": TWO.text,
        "usage": TWO.usage,
        "logprobs": [],
    }


def test_events_with_speakers() -> None:
    *segments, done = parsed(events(TWO, "diarized_json", ["spk_0"]))
    assert [segment["speaker"] for segment in segments] == ["A", "spk_0"]
    assert {segment["type"] for segment in segments} == {"transcript.text.segment"}
    assert done["text"] == TWO.text
    with pytest.raises(NotInTranscript):
        events(Transcript("x"), "diarized_json")


def test_single_events() -> None:
    (delta,) = parsed([delta_event("a\nb", segment_id="seg_1", logprobs=[])])
    assert delta == {
        "type": "transcript.text.delta",
        "delta": "a\nb",
        "segment_id": "seg_1",
        "logprobs": [],
    }
    (segment,) = parsed([segment_event("seg_0", 0, 3250, " Ruby", "A")])
    assert (segment["start"], segment["end"], segment["id"]) == (0.0, 3.25, "seg_0")


def test_the_recorded_stream_is_ours(recorded: Path) -> None:
    """OpenAI's own stream of a diarized transcription, made again from what it says."""
    path = recorded / "openai.transcription_stream.jsonl"
    theirs = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["response"]["sse"]
    *said, end = [line for line in theirs.splitlines() if line]
    documents = [json.loads(line.removeprefix("data: ")) for line in said]
    done = documents.pop()
    transcript = Transcript(
        done["text"],
        segments=tuple(
            Segment(round(one["start"] * 1000), round(one["end"] * 1000), one["text"], "S1")
            for one in documents
        ),
        usage=done["usage"],
    )
    assert parsed(events(transcript, "diarized_json")) == [*documents, done]
    assert end.encode() == DONE.strip()


# ------------------------------------------------------------------------------------- languages


def test_languages() -> None:
    for text in ("en", "EN", "eng", "en-US", "en_GB", "English", " english "):
        assert (language_code(text), english_name(text)) == ("en", "english")
    assert [english_name(text) for text in ("cmn-Hans-CN", "jw", "fil", "ht", "yue")] == [
        *("chinese", "javanese", "tagalog", "haitian creole", "cantonese"),
    ]
    assert english_name("tlh") == "tlh"
    assert language_code("") is None
    assert language_code("haitian creole") == "ht"


def test_a_long_row_of_dashes_takes_no_longer() -> None:
    """2 MB; where every dash was tried as the first one, this took days."""
    for row, left in (("-" * 2_000_000, "-" * 2_000_000), ("-" * 2_000_000 + ">", "->")):
        transcript = Transcript(row, segments=(Segment(0, 1000, row),))
        assert render(transcript, "srt").decode().splitlines()[2] == left
