"""The low-balance alert: told once per crossing."""

from __future__ import annotations

import pytest

from tests.support.money import USD, World
from tests.support.paying import Desk
from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.ledger import grants


async def change(w: World, usd: int, name: str) -> None:
    await grants.adjust(
        w.database,
        org_id="o1",
        adjustment_id=name,
        amount_nano=usd * USD,
        reason="test",
        now_us=w.clock.wall,
    )


async def test_once_per_crossing(desk: Desk, w: World) -> None:
    alerts = desk.payments.alerts
    await change(w, 20, "a1")
    await alerts.put("o1", 10 * USD, ("ann@example.com", " ann@example.com "), actor="user:a")
    assert await alerts.check() == 0
    await change(w, -11, "a2")
    assert [await alerts.check() for _ in range(3)] == [1, 0, 0]
    await change(w, -1, "a3")
    assert await alerts.check() == 0  # still below
    await change(w, 2, "a4")  # exactly at the threshold is not below
    assert await alerts.check() == 0
    await change(w, -1, "a5")
    assert await alerts.check() == 1
    assert [letter.to for letter in desk.mail.letters] == ["ann@example.com"] * 2
    assert "9.00 USD" in desk.mail.letters[0].text


async def test_an_organisation_without_money_is_below(desk: Desk) -> None:
    assert await desk.payments.alerts.low("o1") is None
    row = await desk.payments.alerts.put("o1", USD, (), actor="user:a")
    assert not row.armed  # told at once
    assert await desk.payments.alerts.low("o1") == USD
    assert await desk.payments.alerts.check() == 0
    assert desk.mail.letters == []
    await desk.payments.alerts.remove("o1", actor="user:a")
    with pytest.raises(NotThere):
        await desk.payments.alerts.remove("o1", actor="user:a")


@pytest.mark.parametrize(
    ("threshold", "emails"),
    [
        (0, ()),
        (-1, ()),
        (1, ("nobody",)),
        (1, ("a@b.c\nBcc: x@y.zz",)),
        (1, tuple(f"a{n}@b.co" for n in range(11))),
    ],
)
async def test_absurd_alerts_are_refused(
    desk: Desk, threshold: int, emails: tuple[str, ...]
) -> None:
    with pytest.raises(Refused):
        await desk.payments.alerts.put("o1", threshold, emails, actor="user:a")
