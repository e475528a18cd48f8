"""Invoices: lines that add up to the captures exactly, numbers without gaps, files that say so."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import msgspec
import pytest
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.support import straight_payments
from tests.support.money import USD, World
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core.usage import Item
from tokenmarket.ledger import grants, refunds
from tokenmarket.payments import fapiao
from tokenmarket.payments.invoice_files import Sheet, csv_file, pdf_file
from tokenmarket.payments.invoicing import (
    GRACE_US,
    Legal,
    document_of,
    issue_due,
    set_legal,
)
from tokenmarket.receipts import Facts
from tokenmarket.store import invoices
from tokenmarket.store.invoices import InvoiceRow

INPUT = Item("input_token", 1_000, "0.5", 1_000_000, 500_001)
OUTPUT = Item("output_token", 200, "2.0", 1_000_000, 400_000)


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1_000_000


async def charged(
    w: World, name: str, charge_nano: int, *, at_us: int, items: list[Item], model: str = "a/m"
) -> None:
    """A posted request, with the receipt that has its priced lines."""
    w.clock.wall = at_us
    wallet = await w.open()
    w.settle(w.hold(await wallet.funds("o1", "k1"), name, charge_nano), charge_nano)
    await wallet.close()
    values: list[object] = [None] * len(Facts.__struct_fields__)
    facts = dict(zip(Facts.__struct_fields__, values, strict=True))
    facts |= {
        "request_id": name,
        "status": "succeeded",
        "operation": "chat",
        "key_id": "k1",
        "created_s": 0,
        "duration_us": 0,
        "overhead_us": 0,
        "stream": False,
        "candidates": [],
        "attempts": [],
        "items": items,
        "held_nano": 0,
        "charged_nano": charge_nano,
        "released_nano": 0,
        "uncollected_nano": 0,
        "transfer_ids": [],
        "dropped_params": [],
    }
    receipt = msgspec.json.encode(list(facts.values())).decode()
    async with w.database.begin() as conn:
        await conn.execute(
            text("UPDATE usage_event SET receipt = :r, model = :m WHERE request_id = :id"),
            {"r": receipt, "m": model, "id": name},
        )


async def issued(w: World, now_us: int) -> list[InvoiceRow]:
    return await issue_due(w.database, "Us Ltd; 1 Street; VAT 123", now_us)


async def captured(w: World) -> int:
    async with w.database.read() as conn:
        query = text("SELECT coalesce(sum(amount_nano), 0) FROM transfer WHERE kind = 'capture'")
        return (await conn.execute(query)).scalar_one()


async def funded(w: World, usd: int = 10) -> None:
    w.clock.wall = at(2026, 10, 1)
    await straight_payments.top_up(
        w.database,
        org_id="o1",
        psp="p",
        payment_id="1",
        amount_nano=usd * USD,
        now_us=w.clock.wall,
    )


async def test_lines_add_up_to_the_captures_exactly(w: World) -> None:
    await funded(w)
    await charged(w, "r1", 900_001, at_us=at(2026, 10, 5), items=[INPUT, OUTPUT])
    await charged(w, "r2", 900_001, at_us=at(2026, 10, 6), items=[INPUT, OUTPUT])
    await charged(w, "r3", 600_000, at_us=at(2026, 10, 7), items=[INPUT, OUTPUT])  # cut short
    await charged(w, "r4", 77, at_us=at(2026, 10, 8), items=[], model="b/recovered")
    assert await issued(w, at(2026, 11, 1) + GRACE_US - 1) == []
    (row,) = await issued(w, at(2026, 11, 1) + GRACE_US)
    lines = document_of(row).lines
    assert sum(line.amount_nano for line in lines) == row.consumed_nano == await captured(w)
    assert (row.total_nano, row.covered_nano, row.number) == (row.consumed_nano, 0, "INV-000001")
    assert [(line.model, line.unit, line.quantity, line.amount_nano) for line in lines] == [
        ("a/m", "input_token", "3000", 1_500_003),
        ("a/m", "output_token", "600", 899_999),
        ("b/recovered", "", "1", 77),
    ]
    assert await issued(w, at(2026, 11, 20)) == []


async def test_months_are_those_of_the_billing_zone(w: World) -> None:
    async with w.database.begin() as conn:
        await conn.execute(text("UPDATE organization SET time_zone = 'Asia/Shanghai'"))
    await funded(w)
    await charged(w, "r1", 5, at_us=at(2026, 10, 31, 15), items=[])  # 23:00 in October there
    await charged(w, "r2", 7, at_us=at(2026, 10, 31, 16), items=[])  # midnight, November there
    made = await issued(w, at(2027, 1, 1))
    assert [(row.period, row.consumed_nano) for row in made] == [("2026-10", 5), ("2026-11", 7)]
    assert [row.serial for row in made] == [1, 2]


async def test_a_zone_that_moves_west_makes_no_second_month(w: World) -> None:
    async with w.database.begin() as conn:
        await conn.execute(text("UPDATE organization SET time_zone = 'Asia/Shanghai'"))
    await funded(w)
    await charged(w, "r1", 5, at_us=at(2026, 10, 10), items=[])
    await issued(w, at(2026, 11, 2))
    async with w.database.begin() as conn:
        await conn.execute(text("UPDATE organization SET time_zone = 'UTC'"))
    await charged(w, "r2", 7, at_us=at(2026, 10, 31, 20), items=[])
    (row,) = await issued(w, at(2026, 12, 2))
    assert (row.period, row.consumed_nano) == ("2026-11", 7)


async def test_late_charges_refunds_and_grants(w: World) -> None:
    await funded(w)
    await charged(w, "r1", 100, at_us=at(2026, 10, 5), items=[])
    await issued(w, at(2026, 11, 2))
    await charged(w, "late", 11, at_us=at(2026, 10, 30), items=[])  # a dead worker's journal
    w.clock.wall = at(2026, 11, 3)
    await w.grant(1_000)
    await charged(w, "r2", 30, at_us=at(2026, 11, 4), items=[])
    w.clock.wall = at(2026, 11, 5)
    await refunds.refund(
        w.database,
        request_id="r1",
        refund_id="1",
        amount_nano=40,
        reason="sorry",
        now_us=w.clock.wall,
    )
    (row,) = await issued(w, at(2026, 12, 2))
    assert [(line.kind, line.amount_nano) for line in document_of(row).lines] == [
        ("other", 30),
        ("refunds", -40),
        ("late", 11),
    ]
    assert (row.kind, row.consumed_nano, row.covered_nano, row.total_nano) == (
        "invoice",
        1,
        30,
        -29,
    )
    w.clock.wall = at(2026, 12, 5)
    await refunds.refund(
        w.database,
        request_id="r1",
        refund_id="2",
        amount_nano=60,
        reason="sorry",
        now_us=w.clock.wall,
    )
    (note,) = await issued(w, at(2027, 1, 2))
    assert (note.kind, note.number, note.total_nano) == ("credit_note", "CN-000003", -60)
    async with w.database.read() as conn:
        told = await invoices.invoiced(conn, "o1")
        assert told == await invoices.consumed(conn, "o1", at(2027, 1, 1)) == (41, 11)


async def test_an_issued_invoice_is_never_changed(w: World) -> None:
    await funded(w)
    await charged(w, "r1", 100, at_us=at(2026, 10, 5), items=[])
    await set_legal(
        w.database, "o1", Legal("买方公司", "北京"), actor="user:a", now_us=w.clock.wall
    )
    (row,) = await issued(w, at(2026, 11, 2))
    assert document_of(row).buyer.name == "买方公司"
    await set_legal(w.database, "o1", Legal("Other"), actor="user:a", now_us=w.clock.wall)
    for change in ("UPDATE invoice SET total_nano = 0", "DELETE FROM invoice"):
        with pytest.raises(IntegrityError, match="never changed"):
            async with w.database.begin() as conn:
                await conn.execute(text(change))
    async with w.database.read() as conn:
        assert await invoices.invoice_by_id(conn, "o1", row.id) == row
        assert await invoices.invoice_by_id(conn, "o2", row.id) is None


async def test_a_tax_invoice_is_asked_for_once(w: World) -> None:
    await funded(w)
    await charged(w, "r1", USD, at_us=at(2026, 10, 5), items=[])
    (row,) = await issued(w, at(2026, 11, 2))
    wishes = fapiao.Wishes("ordinary", "北京某某科技有限公司", "91110108MA01ABCDE1", "a@b.cn")

    async def ask(org: str = "o1", wanted: fapiao.Wishes = wishes) -> str:
        found = await fapiao.request(
            w.database, org, row.id, wanted, actor="user:a", now_us=w.clock.wall
        )
        return found.id

    async def decide(request_id: str, issued: bool, number: str = "25117000") -> None:
        await fapiao.decide(
            w.database,
            request_id,
            issued=issued,
            number=number,
            url="https://files.example/1.pdf" if issued else "",
            actor="user:op",
            now_us=w.clock.wall,
        )

    with pytest.raises(NotThere):
        await ask("o2")
    for wrong in (
        wishes._replace(kind="none"),
        wishes._replace(title=""),
        wishes._replace(tax_id="x"),
        wishes._replace(email="x"),
        wishes._replace(kind="special"),
    ):
        with pytest.raises(Refused):
            await ask(wanted=wrong)
    first = await ask()
    with pytest.raises(Taken):
        await ask()
    await decide(first, issued=False, number="抬头有误")
    w.clock.advance(1)
    second = await ask()
    await decide(second, issued=True)
    with pytest.raises(Taken):
        await decide(second, issued=False)
    with pytest.raises(Taken):
        await ask()
    async with w.database.read() as conn:
        found = await invoices.fapiao_of_invoice(conn, "o1", row.id)
        assert [one.state for one in found] == ["issued", "rejected"]


SHEET = Sheet(
    title="账单 INV-000001",
    facts=[("期间", "2026-10"), ("时区", "Asia/Shanghai")],
    parties=[("开具方", ["Us Ltd", "1 Street"]), ("购买方", ["北京某某科技有限公司"])],
    heads=("模型", "单位", "数量", "单价", "金额"),
    rows=[("vendor/" + "long-model-name-" * 4, "输入 Token", "3,000", "$0.50 / 1M", "$0.001500003")]
    + [(f"=a/m{number}", "", "1", "", "$0.01") for number in range(120)],
    totals=[("合计", "$1.201500003")],
    notes=["金额以美元计，不含税。" * 12],
)


def test_the_pdf_can_be_read_and_searched() -> None:
    reader = PdfReader(io.BytesIO(pdf_file(SHEET)))
    read = "".join(page.extract_text() for page in reader.pages)
    assert len(reader.pages) > 1
    for words in (
        "账单 INV-000001",
        "北京某某科技有限公司",
        "输入 Token",
        "$0.001500003",
        "=a/m119",
    ):
        assert words in read
    assert "合计" in read
    assert "$1.201500003" in read


def test_the_csv_has_the_same_amounts_and_runs_nothing() -> None:
    rows = csv_file(SHEET)
    assert "$1.201500003" in rows
    assert "'=a/m0" in rows
    assert ",=a/m" not in rows


async def test_the_operators_hand_is_in_the_ledger_and_the_audit(w: World) -> None:
    from tokenmarket.payments.credit import adjust

    async def by_hand(amount: int, name: str = "adj-1", reason: str = "goodwill") -> bool:
        return await adjust(
            w.database,
            org_id="o1",
            adjustment_id=name,
            amount_nano=amount,
            reason=reason,
            actor="user:op",
            now_us=w.clock.wall,
        )

    assert await by_hand(5 * USD)
    assert not await by_hand(5 * USD)
    with pytest.raises(Taken, match="another movement"):
        await by_hand(6 * USD)
    with pytest.raises(Taken, match="free now"):
        await by_hand(-6 * USD, "adj-2")
    assert await by_hand(-USD, "adj-3")
    for wrong in (
        by_hand(0, "x"),
        by_hand(1, "x", ""),
        by_hand(1, "x", "a\nb"),
        by_hand(1, "../x"),
        by_hand(10**16, "x"),
    ):
        with pytest.raises(Refused):
            await wrong
    async with w.database.read() as conn:
        query = text("SELECT action, detail FROM audit_event WHERE org_id = 'o1' ORDER BY seq")
        assert [tuple(row) for row in await conn.execute(query)] == [
            ("credit.add", '{"amount":"5.00","reason":"goodwill"}'),
            ("credit.take", '{"amount":"-1.00","reason":"goodwill"}'),
        ]
    assert await grants.expire(w.database, w.clock.wall) == 0
    assert await w.differences() == []
