"""Who is written to when an endpoint was turned off, and what stored errors say in Chinese."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from tests.support.error_texts import spoken
from tests.support.mailbox import Mailbox, no_mail
from tests.support.people import make_person
from tests.unit.webhooks.shop import Shop, shop
from tokenmarket.accounts import people
from tokenmarket.core.wording import said_in
from tokenmarket.store import members as member_rows
from tokenmarket.store import people as people_rows
from tokenmarket.web.error_texts import chinese
from tokenmarket.webhooks.deliverer import ERRORS, error_said
from tokenmarket.webhooks.off_letters import OffLetters


@pytest.fixture
async def s(tmp_path: Path) -> AsyncGenerator[Shop]:
    async with shop(tmp_path) as s:
        yield s


async def test_owners_and_admins_are_written_to_in_their_language(s: Shop) -> None:
    made = await s.made("https://customer.example/hook?token=secret")
    now_us = s.clock.wall_us()
    for name, role, language in (
        ("ann", "owner", "zh"),
        ("bob", "admin", "en"),
        ("eve", "developer", "en"),
        ("out", "owner", "en"),
    ):
        user = await make_person(s.database, f"{name}@example.com", name=name)
        async with s.database.begin() as conn:
            await member_rows.insert_membership(conn, s.org_id, user.id, role, now_us)
            await people_rows.change_person(conn, user.id, language=language)
        if name == "out":
            await people.set_disabled(s.database, user.id, True, now_us=now_us, by="test")
    off = msgspec.structs.replace(made.endpoint, disabled_us=now_us, disabled_reason="failing")
    box = Mailbox()
    await OffLetters(s.database, box, lambda: "https://gw.example").tell(off)
    told = {letter.to: letter for letter in box.letters}
    assert set(told) == {"ann@example.com", "bob@example.com"}
    assert told["ann@example.com"].subject == "Webhook 端点已停用"
    page = f"/console/{s.org_id}/webhooks/{off.id}"
    assert f"https://gw.example/zh{page}" in told["ann@example.com"].text
    assert f"https://gw.example/en{page}" in told["bob@example.com"].text
    assert "customer.example" in told["bob@example.com"].text
    assert "secret" not in told["bob@example.com"].text
    await OffLetters(s.database, no_mail(), lambda: "https://gw.example").tell(off)


def test_every_error_that_is_stored_is_known_when_it_is_read() -> None:
    places = ("upstream/fetch.py", "core/fetch_url.py", "webhooks/deliverer.py")
    assert {text for text, where in spoken() if where.startswith(places)} == set(ERRORS)
    for stored, expected in (
        ("the URL took longer than 30 s", "URL 用时超过 30 秒"),
        ("a URL has one of the ports 80, 443", "URL 的端口只能是 80, 443"),
        ("an international host name is written in its ASCII form, xn--…", None),
        ("the URL could not be read: {x} (a+b)", "URL 无法读取：{x} (a+b)"),
    ):
        told = said_in(error_said(stored), chinese)
        assert told == expected if expected else told
    assert error_said("HTTP 500") == "HTTP 500"
    assert said_in(error_said("HTTP 500"), chinese) is None
