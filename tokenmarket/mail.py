"""Mail that leaves: plain text over SMTP, in a thread, with a few tries; nothing is received.

    mail = Mail(server, sender)            # server None: no mail server is set
    if mail.is_set: mail.post(Message(to, subject, text))

What a reader must know:

* Without a server ``is_set`` is False and nothing is lost silently: whoever would have sent a link
  shows it to the person who may see it instead.
* ``post`` returns at once and tries in the background, so that a page takes the same time whether
  there was anybody to write to. ``send`` waits and raises MailFailed.
* A password goes over TLS only; certificates are verified. ``smtps://`` speaks TLS from the start,
  ``smtp://`` asks for STARTTLS, and goes on without it only to this machine.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import NamedTuple

import msgspec

logger = logging.getLogger(__name__)

TIMEOUT_S = 20.0
WAITING_MAX = 1_000
TRIES_AFTER_S = (0.0, 5.0, 60.0, 600.0)
HERE = ("localhost", "127.0.0.1", "::1")


class MailServer(msgspec.Struct, frozen=True):
    """Where mail is handed over; its repr never shows the password."""

    host: str
    port: int
    tls: bool  # from the first byte
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"


class Message(NamedTuple):
    """One letter in plain text to one address."""

    to: str
    subject: str
    text: str


class MailFailed(Exception):
    """The server did not take it; the text says why, without the letter."""


class Mail:
    """``server`` None: nothing can be sent."""

    def __init__(self, server: MailServer | None, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._running: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Semaphore(2)

    @property
    def is_set(self) -> bool:
        return self._server is not None

    async def send(self, message: Message) -> None:
        """Hand it over now. Raises MailFailed."""
        if self._server is None:
            raise MailFailed("no mail server is set (TOKENMARKET_SMTP_URL)")
        letter = composed(message, self._sender)
        async with self._one_at_a_time:
            try:
                await asyncio.to_thread(_hand_over, self._server, letter)
            except (OSError, smtplib.SMTPException, UnicodeError) as error:
                raise MailFailed(f"{type(error).__name__}: {error}"[:200]) from error

    def post(self, message: Message) -> None:
        """Send in the background; a failure is tried again three times and then logged."""
        if len(self._running) >= WAITING_MAX:
            logger.error("a letter was dropped: %d are waiting for the mail server", WAITING_MAX)
            return
        task = asyncio.get_running_loop().create_task(self._try(message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Letters on their way get a moment, the others are logged as lost."""
        if self._running:
            _, waiting = await asyncio.wait(self._running, timeout=2.0)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            if waiting:
                logger.error("%d letters were not sent before the stop", len(waiting))

    async def _try(self, message: Message) -> None:
        for after_s in TRIES_AFTER_S:
            await asyncio.sleep(after_s)
            try:
                await self.send(message)
            except MailFailed as error:
                logger.warning("a letter could not be sent: %s", error)
            else:
                return
        logger.error("a letter was given up after %d tries", len(TRIES_AFTER_S))


def composed(message: Message, sender: str) -> EmailMessage:
    """The letter as it is sent; ValueError for a line break in a header."""
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = message.to
    letter["Subject"] = message.subject
    letter["Date"] = formatdate()
    letter["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">") or "localhost")
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.text)
    return letter


def _hand_over(server: MailServer, letter: EmailMessage) -> None:
    context = ssl.create_default_context()
    if server.tls:
        with smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context) as at:
            _say(at, server, letter)
        return
    with smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S) as at:
        at.ehlo()
        if at.has_extn("starttls"):
            at.starttls(context=context)
        elif server.host not in HERE:
            raise smtplib.SMTPException("the server offers no STARTTLS, so nothing was sent")
        _say(at, server, letter)


def _say(at: smtplib.SMTP, server: MailServer, letter: EmailMessage) -> None:
    if server.user:
        at.login(server.user, server.password)
    at.send_message(letter)
