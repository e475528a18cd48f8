"""The playground against the sandbox (journeys 11 to 15): it shows what the receipts say."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Complaints, Site

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
MESSAGES = "#messages .message.assistant"


def open_kind(page: Page, site: Site, kind: str, lang: str, model: str = "") -> None:
    site.sign_in(page, "developer")
    site.open(page, f"@/playground/{kind}{f'?model={model}' if model else ''}", lang)


def say(page: Page, text: str) -> None:
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def check_charge(place: Page | Locator, site: Site, status: str = "succeeded") -> dict[str, object]:
    """The newest line below an answer shows the charge of its receipt; the receipt. ``place``: the
    page, or the part of it that the answer is in."""
    line = place.locator("[data-request]:has([data-charged])").last
    line.wait_for()
    found = site.server.final_receipt(line.get_attribute("data-request") or "")
    shown = line.locator("[data-charged]").get_attribute("data-charged")
    assert shown == found["amounts"]["charged"]
    assert found["status"] == status
    return found


@LANGS
def test_j11_chat_streams_and_shows_the_charge(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "chat", lang, "sandbox-reasoner")
    say(page, "Tell me about lakes.")
    reply = page.locator(MESSAGES)
    expect(reply.locator(".reasoning p")).not_to_be_empty()
    expect(reply.locator(".said p")).to_contain_text("lakes")
    receipt = check_charge(page, site)
    assert receipt["stream"] is True
    assert receipt["model"] == "sandbox-reasoner"
    say(page, "And about hills?")
    expect(page.locator(MESSAGES)).to_have_count(2)
    link = page.locator("[data-request]:has([data-charged]) a").first
    link.wait_for()
    assert re.search(rf"/{lang}/console/.*/requests/req_", link.get_attribute("href") or "")


@LANGS
def test_j11_stopping_charges_what_was_written(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "chat", lang, "sandbox-slow")
    page.fill("#max_tokens", "200")
    say(page, "Count slowly.")
    expect(page.locator(f"{MESSAGES} .said p")).not_to_be_empty()
    page.locator("[data-send]").click()
    expect(page.locator(MESSAGES)).not_to_have_attribute("aria-busy", "true")
    receipt = check_charge(page, site, "cancelled")
    assert receipt["finish_reason"] != "stop"
    # the page can be used again at once
    expect(page.locator("[data-send]")).to_have_text({"en": "Send", "zh": "发送"}[lang])


def test_j11_a_route_is_pinned(page: Page, site: Site) -> None:
    open_kind(page, site, "chat", "en", "sandbox-chat")
    page.locator("#model-provider").select_option("sandbox")
    page.locator("#stream-1").uncheck()
    say(page, "Hello")
    receipt = check_charge(page, site)
    route = receipt["route"]
    assert isinstance(route, dict)
    assert route["requested"]
    assert receipt["stream"] is False


def test_what_a_model_writes_is_text(page: Page, site: Site) -> None:
    open_kind(page, site, "chat", "en", "sandbox-chat")
    say(page, "<img src=x onerror=alert(1)><b>bold</b>")
    check_charge(page, site)
    expect(page.locator("#messages img, #messages b:not([data-charged])")).to_have_count(0)
    expect(page.locator(MESSAGES)).to_contain_text("<img src=x onerror=alert(1)>")


def test_enter_sends_but_not_while_composing(page: Page, site: Site) -> None:
    open_kind(page, site, "chat", "zh", "sandbox-chat")
    page.fill("#prompt", "ni hao")
    page.locator("#prompt").evaluate(
        "field => field.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    assert page.input_value("#prompt") == "ni hao"
    page.press("#prompt", "Shift+Enter")
    assert page.input_value("#prompt") == "ni hao\n"
    expect(page.locator(MESSAGES)).to_have_count(0)
    page.press("#prompt", "Enter")
    check_charge(page, site)


def test_an_error_says_what_happened(page: Page, site: Site, complaints: Complaints) -> None:
    complaints.expect("502")
    open_kind(page, site, "chat", "en", "sandbox-fail-500")
    say(page, "Hello")
    expect(page.locator(f"{MESSAGES} [role=alert]")).to_contain_text("PROVIDER_001")
    expect(page.locator(f"{MESSAGES} [role=alert] a")).to_have_attribute(
        "href", re.compile("/requests/req_")
    )


def test_the_call_is_shown_as_code(page: Page, site: Site) -> None:
    open_kind(page, site, "chat", "en", "sandbox-chat")
    page.fill("#prompt", "It's a test")
    page.fill("#temperature", "0.3")
    page.locator("[data-show-code]").click()
    code = page.locator("#code-dialog .code:visible code")
    expect(code).to_have_count(1)
    for name, part in (
        ("curl", "It'\\''s a test"),
        ("Python", '"stream": True'),
        ("JavaScript", '"temperature": 0.3'),
    ):
        page.locator(f"#code-dialog input[value={name}]").check()
        expect(code).to_have_count(1)
        expect(code).to_contain_text(part)
    page.keyboard.press("Escape")
    expect(page.locator("#code-dialog")).not_to_be_visible()


@LANGS
def test_j12_images(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "image", lang, "sandbox-image")
    page.fill("#prompt", "A lake")
    page.locator("#size").select_option("256x256")
    page.locator("#quality").select_option("low")
    page.fill("#n", "2")
    expect(page.locator("[data-estimate]")).to_contain_text("0.0040")
    page.locator("[data-send]").click()
    expect(page.locator(".pictures img")).to_have_count(2)
    assert page.locator(".pictures img").first.evaluate("image => image.decode().then(() => true)")
    receipt = check_charge(page, site)
    amounts = receipt["amounts"]
    assert isinstance(amounts, dict)
    assert amounts["charged"] == "0.004"  # the estimate was right


@LANGS
def test_j13_audio_out_and_in(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "audio", lang, "sandbox-speech")
    page.fill("#speech-input", "Hello lake")
    page.locator("#speech-format").select_option("wav")
    page.locator("#speech [data-send]").click()
    expect(page.locator("#speech audio")).to_have_count(1)
    check_charge(page, site)
    spoken = site.server.post(
        "/audio/speech",
        {"model": "sandbox-speech", "voice": "alloy", "input": "Hi", "response_format": "wav"},
    )
    page.locator("#file").set_input_files(
        {"name": "hi.wav", "mimeType": "audio/wav", "buffer": spoken.body}
    )
    told = {"en": re.compile(r"About \$0\.\d+ at most"), "zh": re.compile(r"\$0\.\d+")}[lang]
    expect(page.locator("#transcription [data-estimate]")).to_have_text(told)
    page.locator("#transcription [data-send]").click()
    expect(page.locator("#transcription .transcript")).not_to_be_empty()
    receipt = check_charge(page.locator("#transcription"), site)
    assert receipt["operation"] == "transcription"


@LANGS
def test_j14_rerank(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "rerank", lang)
    page.fill("#query", "lake")
    page.fill("#documents", "a hill\n\nthe lake\na house")
    page.locator("[data-send]").click()
    expect(page.locator("#results tbody tr")).to_have_count(3)
    expect(page.locator("#results tbody tr").first).to_contain_text("the lake")
    check_charge(page, site)


def test_embeddings(page: Page, site: Site) -> None:
    open_kind(page, site, "embeddings", "en")
    page.fill("#input", "a lake\na lake")
    page.fill("#dimensions", "16")
    page.locator("[data-send]").click()
    expect(page.locator("#results")).to_contain_text("16 dimensions")
    expect(page.locator("#results tbody tr").last).to_contain_text("1.0000")
    check_charge(page, site)


@LANGS
def test_j15_video_is_ordered_left_found_again_and_played(
    page: Page, site: Site, lang: str
) -> None:
    open_kind(page, site, "video", lang, "sandbox-video")
    page.fill("#prompt", f"A lake {lang}")
    page.locator("#seconds").select_option("1")
    page.locator("[data-send]").click()
    job = page.locator("[data-job]", has_text=f"A lake {lang}")
    expect(job).to_have_count(1)
    site.open(page, "@/playground/chat", lang)
    site.open(page, "@/playground/video", lang)
    expect(job).to_have_count(1)
    expect(job).to_have_attribute("data-state", "succeeded")
    expect(job.locator("[data-charged='0.01']")).to_have_count(1)
    job.locator("button").click()
    film = job.locator("video")
    expect(film).to_have_count(1)
    assert film.evaluate("video => video.readyState || new Promise(r => video.onloadeddata = r)")


@LANGS
def test_j15_a_video_is_cancelled(page: Page, site: Site, lang: str) -> None:
    open_kind(page, site, "video", lang, "sandbox-video-slow")
    page.fill("#prompt", f"A hill {lang}")
    page.locator("[data-send]").click()
    job = page.locator("[data-job]", has_text=f"A hill {lang}")
    job.locator("button").click()
    expect(job).to_have_attribute("data-state", "cancelled")
