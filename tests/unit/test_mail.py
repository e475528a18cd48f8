"""Letters: their headers, what is said to the server, and what happens when it refuses."""

import asyncio
import smtplib
from typing import ClassVar

import pytest

from tokenmarket import mail as mail_module
from tokenmarket.mail import Mail, MailFailed, MailServer, Message, composed
from tokenmarket.settings import SETTINGS

SENDER = "TokenMarket <no-reply@gw.example>"
LETTER = Message("ann@example.com", "您好", "Text 一\n")


class FakeSmtp:
    """What smtplib would be; ``said`` is what was done."""

    said: ClassVar[list[str]] = []
    tls = True
    refuses = 0

    def __init__(self, host: str, port: int, **_: object) -> None:
        self.said.append(f"connect {host}:{port}")

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.said.append("quit")

    def ehlo(self) -> None:
        self.said.append("ehlo")

    def has_extn(self, name: str) -> bool:
        return name == "starttls" and self.tls

    def starttls(self, context: object) -> None:
        assert context is not None
        self.said.append("starttls")

    def login(self, user: str, password: str) -> None:
        self.said.append(f"login {user}:{password}")

    def send_message(self, letter: object) -> None:
        if FakeSmtp.refuses:
            FakeSmtp.refuses -= 1
            raise smtplib.SMTPServerDisconnected("gone")
        self.said.append("sent")


@pytest.fixture
def smtp(monkeypatch: pytest.MonkeyPatch) -> type[FakeSmtp]:
    FakeSmtp.said, FakeSmtp.tls, FakeSmtp.refuses = [], True, 0
    monkeypatch.setattr(smtplib, "SMTP", FakeSmtp)
    monkeypatch.setattr(smtplib, "SMTP_SSL", FakeSmtp)
    monkeypatch.setattr(mail_module, "TRIES_AFTER_S", (0.0, 0.0, 0.0))
    return FakeSmtp


def test_a_letter_in_two_scripts() -> None:
    letter = composed(LETTER, SENDER)
    assert letter["To"] == "ann@example.com"
    assert "您好" in str(letter["Subject"])
    assert letter.get_content() == "Text 一\n"
    assert letter["Message-ID"].endswith("@gw.example>")
    with pytest.raises(ValueError, match="linefeed"):
        composed(Message("ann@example.com", "a\r\nBcc: x@example.com", ""), SENDER)


async def test_passwords_go_over_tls_only(smtp: type[FakeSmtp]) -> None:
    server = MailServer("mail.example", 587, tls=False, user="u", password="p")
    await Mail(server, SENDER).send(LETTER)
    assert smtp.said == [
        "connect mail.example:587", "ehlo", "starttls", "login u:p", "sent", "quit",
    ]  # fmt: skip
    smtp.said, smtp.tls = [], False
    FakeSmtp.said = smtp.said
    with pytest.raises(MailFailed, match="STARTTLS"):
        await Mail(server, SENDER).send(LETTER)
    assert "login u:p" not in smtp.said
    await Mail(MailServer("127.0.0.1", 25, tls=False), SENDER).send(LETTER)
    await Mail(MailServer("mail.example", 465, tls=True), SENDER).send(LETTER)
    assert smtp.said.count("sent") == 2
    assert "p" not in repr(server).removeprefix("MailServer(").split(":")[1]


async def test_a_letter_is_tried_again_and_then_given_up(
    smtp: type[FakeSmtp], caplog: pytest.LogCaptureFixture
) -> None:
    post = Mail(MailServer("mail.example", 465, tls=True), SENDER)
    FakeSmtp.refuses = 2
    post.post(LETTER)
    await asyncio.sleep(0)
    await post.close()
    assert smtp.said.count("sent") == 1
    FakeSmtp.refuses = 3
    post.post(LETTER)
    await post.close()
    assert smtp.said.count("sent") == 1
    assert "given up" in caplog.text
    assert "ann@example.com" not in caplog.text


async def test_without_a_server_sending_fails_aloud() -> None:
    post = Mail(None, SENDER)
    assert not post.is_set
    with pytest.raises(MailFailed, match="TOKENMARKET_SMTP_URL"):
        await post.send(LETTER)


def test_the_setting() -> None:
    read = {setting.name: setting.read for setting in SETTINGS}["smtp_url"]
    assert read("smtps://u%40x:p%2F@mail.example") == MailServer(
        "mail.example", 465, True, "u@x", "p/"
    )
    assert read("smtp://127.0.0.1:25") == MailServer("127.0.0.1", 25, False)
    for wrong in (
        "mail.example",
        "http://x",
        "smtp://",
        "smtp://x:99999",
        "smtp://x/y",
        "smtp://x?a=b",
    ):
        with pytest.raises(ValueError, match="smtps://user:password@host"):
            read(wrong)
    read = {setting.name: setting.read for setting in SETTINGS}["mail_from"]
    for wrong in ("nobody", "a@b\nBcc: c@d", "<a@b> c"):
        with pytest.raises(ValueError, match="write"):
            read(wrong)
