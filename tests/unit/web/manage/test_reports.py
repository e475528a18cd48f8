"""Requests, receipts, usage and the ledger by the management API: by organisation, by filter, and
one number wherever it is read."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import insert

from tests.unit.reports.rows import add, event
from tests.unit.web.manage.desk import NOW_US, Desk
from tokenmarket.store.money import account, transfer

# as recovery writes them: already in the public shape
DOCUMENT = {"object": "request", "status": "succeeded", "attempts": [], "created_at": 1}


async def two_orgs(desk: Desk) -> tuple[str, str, str]:
    """Keys of two organisations with three requests and one, and an operator's."""
    acme, other = await desk.org("acme"), await desk.org("other")
    rows: list[dict[str, object]] = []
    for number, (org, model, charge_nano) in enumerate(
        ((acme, "m1", 5), (acme, "m2", 10**9), (acme, "m1", 0), (other, "m1", 7))
    ):
        request_id = f"req_{number:034x}"
        rows.append(
            event(
                number,
                org_id=org.id,
                accepted_us=NOW_US - number * 1_000_000,
                model=model,
                charge_nano=charge_nano,
                status="succeeded" if charge_nano else "failed",
                receipt=msgspec.json.encode({**DOCUMENT, "id": request_id}).decode(),
            )
        )
    await add(desk.database, *rows)
    operator = (await desk.key("", "operator")).token
    return (
        (await desk.key(acme.id, "viewer")).token,
        (await desk.key(other.id, "owner")).token,
        operator,
    )


async def test_requests_are_listed_by_pages_and_filters(desk: Desk) -> None:
    mine, theirs, _ = await two_orgs(desk)
    first = await desk.ask(mine, "GET", "/requests?limit=2")
    assert first.status == 200, first.body
    assert [line["model"] for line in first.json["data"]] == ["m1", "m2"]
    assert [line["charged"] for line in first.json["data"]] == ["0.000000005", "1.00"]
    last = await desk.ask(mine, "GET", f"/requests?limit=2&cursor={first.json['next_cursor']}")
    assert [line["status"] for line in last.json["data"]] == ["failed"]
    assert last.json["next_cursor"] is None
    costly = await desk.ask(mine, "GET", "/requests?cost_over=0.5&range=24h")
    assert [line["model"] for line in costly.json["data"]] == ["m2"]
    assert len((await desk.ask(theirs, "GET", "/requests")).json["data"]) == 1


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/requests?range=forever", "range"),
        ("/requests?cursor=../..", "cursor"),
        ("/requests?cost_over=-1", "cost_over"),
        ("/requests?limit=0", "limit"),
        ("/requests?unknown=1", "unknown"),
        ("/usage?group_by=colour", "group_by"),
        ("/usage?from=2026-02-30", "from"),
        ("/usage.csv?status=failed", "status"),
    ],
)
async def test_what_cannot_be_understood_is_named(desk: Desk, path: str, param: str) -> None:
    mine, _, _ = await two_orgs(desk)
    answer = await desk.ask(mine, "GET", path)
    assert (answer.status, answer.code) == (400, "REQUEST_001")
    assert answer.json["error"]["param"] == param


async def test_a_receipt_is_its_organisations(desk: Desk) -> None:
    mine, theirs, operator = await two_orgs(desk)
    path = f"/requests/req_{0:034x}"
    assert (await desk.ask(mine, "GET", path)).json["id"] == f"req_{0:034x}"
    assert (await desk.ask(theirs, "GET", path)).status == 404
    assert (await desk.ask(mine, "GET", "/requests/req_x")).status == 404
    assert (await desk.ask(operator, "GET", f"/admin{path}")).json["object"] == "request"
    assert (await desk.ask(operator, "GET", "/admin/requests/nothing")).status == 404
    assert (await desk.ask(mine, "GET", f"/admin{path}")).status == 403


async def test_usage_is_one_number(desk: Desk) -> None:
    mine, _, _ = await two_orgs(desk)
    for group in ("day", "model", "key", "member", "team", "provider", "operation"):
        report = (await desk.ask(mine, "GET", f"/usage?range=7d&group_by={group}")).json
        assert report["total"]["charged"] == "1.000000005"
        assert report["total"]["requests"] == 3
        for part in ("data", "days"):
            charged = sum(Decimal(row["usage"]["charged"]) for row in report[part])
            assert charged == Decimal("1.000000005")
        file = await desk.ask(mine, "GET", f"/usage.csv?range=7d&group_by={group}")
        lines = file.body.decode().splitlines()
        assert lines[-1].endswith(",1.000000005")
        assert "(UTC)" in lines[0]
        assert "content-type: text/csv" in file.head
        assert 'filename="usage-20' in file.head
    narrow = (await desk.ask(mine, "GET", "/usage?model=m1&group_by=model")).json
    assert [(row["id"], row["usage"]["failed"]) for row in narrow["data"]] == [("m1", 1)]


async def test_operators_see_requests_and_ledger_of_all(desk: Desk) -> None:
    mine, _, operator = await two_orgs(desk)
    every = (await desk.ask(operator, "GET", "/admin/requests")).json["data"]
    assert len(every) == 4
    org_id = every[0]["organization_id"]
    one = await desk.ask(operator, "GET", f"/admin/requests?organization_id={org_id}")
    assert {line["organization_id"] for line in one.json["data"]} == {org_id}
    async with desk.database.begin() as conn:
        for number in range(3):
            await conn.execute(
                insert(transfer).values(
                    id=f"t{number}",
                    org_id=org_id,
                    kind="capture" if number else "topup",
                    debit=f"cust:{org_id}:cash",
                    credit="revenue:usage",
                    amount_nano=10**9,
                    ref=f"r{number}",
                    reason="",
                    ts_us=NOW_US,
                )
            )
    first = (await desk.ask(operator, "GET", "/admin/ledger?limit=2")).json
    assert [entry["id"] for entry in first["data"]] == ["t2", "t1"]
    rest = await desk.ask(operator, "GET", f"/admin/ledger?cursor={first['next_cursor']}")
    assert [(entry["id"], entry["amount"]) for entry in rest.json["data"]] == [("t0", "1.00")]
    only = await desk.ask(operator, "GET", "/admin/ledger?kind=capture&ref=r1")
    assert [entry["id"] for entry in only.json["data"]] == ["t1"]
    for query in ("kind=odd", "cursor=x"):
        assert (await desk.ask(operator, "GET", f"/admin/ledger?{query}")).status == 400
    assert (await desk.ask(mine, "GET", "/admin/ledger")).status == 403


async def test_the_balance_after_an_entry(desk: Desk) -> None:
    """That of now without what came later."""
    org = await desk.org("acme")
    cash = f"cust:{org.id}:cash"
    request_id = f"req_{1:034x}"
    async with desk.database.begin() as conn:
        await conn.execute(
            insert(account).values(
                id=cash,
                org_id=org.id,
                kind="cash",
                currency="USD",
                limited=1,
                cr_posted=100,
                dr_posted=30,
                dr_pending=0,
                priority=1,
                expires_us=0,
                scope="",
                created_us=0,
            )
        )
        moves = (("a", cash, 10, request_id), ("b", cash, 20, "later"), ("c", "psp", 100, "topup"))
        for number, (name, debit, amount_nano, ref) in enumerate(moves):
            await conn.execute(
                insert(transfer).values(
                    id=name,
                    org_id=org.id,
                    kind="capture" if debit == cash else "topup",
                    debit=debit,
                    credit="revenue:usage" if debit == cash else cash,
                    amount_nano=amount_nano,
                    ref=ref,
                    reason="",
                    ts_us=NOW_US + (1 if number == 1 else 0) - (1 if number == 2 else 0),
                )
            )
    await add(desk.database, event(1, org_id=org.id, receipt='{"object":"request"}'))
    told = await desk.parts.reports.requests.one(org.id, request_id)
    assert [entry.id for entry in told.entries] == ["a"]
    assert told.balance_after_nano == 90
