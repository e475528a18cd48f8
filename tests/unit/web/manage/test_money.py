"""Money by the management API: codes, statement, orders, the alert, the operator's hand."""

from __future__ import annotations

from pathlib import Path

from tests.support import paid_things
from tests.unit.web.manage.desk import Desk


async def test_codes_and_the_operators_hand_are_in_the_statement(desk: Desk) -> None:
    org = await desk.org("acme")
    owner, operator = await desk.key(org.id, "owner"), await desk.key("", "operator")
    wishes = {"name": "spring", "amount": "5", "count": 2, "expires_at": 2_000_000_000}
    made = await desk.ask(operator.token, "POST", "/admin/code-batches", wishes)
    codes = made.json["codes"]
    assert len(codes) == 2
    listed = await desk.ask(operator.token, "GET", "/admin/code-batches")
    assert [(one["count"], one["codes"]) for one in listed.json["data"]] == [(2, None)]
    redeemed = await desk.ask(owner.token, "POST", "/redeem", {"code": codes[0].lower()})
    assert redeemed.json["amount"] == "5.00"
    again = await desk.ask(owner.token, "POST", "/redeem", {"code": codes[0]})
    assert again.status == 409
    batch = made.json["id"]
    mine = (await desk.ask(owner.token, "GET", "/redeemed")).json["data"]
    assert [(one["amount"], one["hint"]) for one in mine] == [("5.00", codes[0][-4:])]
    shown = (await desk.ask(operator.token, "GET", f"/admin/code-batches/{batch}")).json
    assert (shown["codes"], [one["hint"] for one in shown["redeemed"]]) == (None, [codes[0][-4:]])
    assert (await desk.ask(operator.token, "GET", "/admin/code-batches/nothing")).status == 404
    stopped = await desk.ask(operator.token, "DELETE", f"/admin/code-batches/{batch}")
    assert stopped.json["disabled_at"] is not None
    assert (await desk.ask(owner.token, "POST", "/redeem", {"code": codes[1]})).status == 400

    path = f"/admin/organizations/{org.id}/adjustments"
    for amount, name, created in (("3", "a-1", True), ("3", "a-1", False), ("-1.5", "a-2", True)):
        body = {"amount": amount, "reason": "goodwill", "id": name}
        answer = await desk.ask(operator.token, "POST", path, body)
        assert answer.json["created"] is created
    body = {"amount": "-900", "reason": "too much"}
    assert (await desk.ask(operator.token, "POST", path, body)).status == 409
    body = {"amount": "1", "reason": "nobody"}
    nobody = "/admin/organizations/org_nobody/adjustments"
    assert (await desk.ask(operator.token, "POST", nobody, body)).status == 404

    ledger = await desk.ask(owner.token, "GET", "/ledger?limit=2")
    lines = ledger.json["data"]
    cursor = ledger.json["next_cursor"]
    lines += (await desk.ask(owner.token, "GET", f"/ledger?limit=2&cursor={cursor}")).json["data"]
    assert sorted(line["amount"] for line in lines) == ["-1.50", "3.00", "5.00"]
    assert lines[0]["balance_after"] == "6.50"
    for query in ("kind=none", "cursor=x", "cursor=1e9.a", "from=soon", "from=2026-02&to=x"):
        assert (await desk.ask(owner.token, "GET", f"/ledger?{query}")).status == 400
    for days, count in (("to=2020-01-01", 0), ("from=2020-01-01", 3), ("kind=grant", 1)):
        narrow = await desk.ask(owner.token, "GET", f"/ledger?{days}")
        assert len(narrow.json["data"]) == count, days
    file = await desk.ask(owner.token, "GET", "/ledger.csv?from=2020-01-01")
    assert "content-type: text/csv; charset=utf-8" in file.head
    rows = file.body.decode().splitlines()
    assert rows[0].endswith("time (UTC),kind,amount_usd,balance_after_usd,reference,reason")
    assert len(rows) == 4
    stands = (await desk.ask(owner.token, "GET", "/balance")).json
    assert sorted(one["balance"] for one in stands["parts"]) == ["1.50", "5.00"]
    assert stands["charged_this_month"] == "0.00"


async def test_the_operator_sets_the_tax_of_invoices(desk: Desk) -> None:
    org = await desk.org("acme")
    operator = await desk.key("", "operator")
    owner = await desk.key(org.id, "owner")
    path = f"/admin/organizations/{org.id}/tax"
    unset = {"object": "tax_profile", "organization_id": org.id}
    unset |= dict.fromkeys(("name", "rate", "included"))
    assert (await desk.ask(operator.token, "GET", path)).json == unset
    body = {"name": " VAT ", "rate": "7.50", "included": False}
    made = await desk.ask(operator.token, "PUT", path, body)
    assert made.json == unset | {"name": "VAT", "rate": "7.5", "included": False}
    assert (await desk.ask(operator.token, "GET", path)).json == made.json
    for wrong in ({"name": "", "rate": "1"}, {"name": "VAT", "rate": "101"}, {"name": "VAT"}):
        assert (await desk.ask(operator.token, "PUT", path, wrong)).status == 400
    assert (await desk.ask(owner.token, "PUT", path, body)).status == 403
    nobody = path.replace(org.id, "org_nobody")
    assert (await desk.ask(operator.token, "PUT", nobody, body)).status == 404
    assert (await desk.ask(operator.token, "DELETE", path)).json == unset


async def test_a_top_up_is_ordered_and_read(desk: Desk) -> None:
    org = await desk.org("acme")
    other = await desk.key((await desk.org("other")).id, "owner")
    owner = await desk.key(org.id, "owner")
    wishes = {"amount": "20", "provider": "test"}
    made = await desk.ask(owner.token, "POST", "/top-ups", wishes)
    assert (made.json["state"], made.json["to_pay"]) == ("created", "20.00")
    path = f"/top-ups/{made.json['id']}"
    assert made.json["url"].startswith("https://gateway.example/en/console/")
    assert (await desk.ask(owner.token, "GET", path)).json["id"] == made.json["id"]
    assert (await desk.ask(other.token, "GET", path)).status == 404
    assert (await desk.ask(other.token, "GET", "/top-ups")).json["data"] == []
    for wrong in (
        {**wishes, "amount": "1"},
        {**wishes, "amount": "x"},
        {**wishes, "amount": "20.001"},
        {**wishes, "provider": "stripe"},
        {**wishes, "currency": "CNY"},
        {**wishes, "return_url": "javascript:alert(1)"},
    ):
        assert (await desk.ask(owner.token, "POST", "/top-ups", wrong)).status == 400
    offered = (await desk.ask(owner.token, "GET", "/top-up-options")).json
    assert (offered["providers"], offered["currencies"]) == (["test"], ["USD"])
    assert (offered["minimum"], offered["cny_per_usd"]) == ("5.00", None)


async def test_invoices_and_who_they_are_made_out_to(desk: Desk) -> None:
    org = await desk.org("acme")
    owner = (await desk.key(org.id, "owner")).token
    other = (await desk.key((await desk.org("other")).id, "owner")).token
    details = {"name": "Acme", "address": "1 Road\nTown", "tax_id": "", "email": "a@example.test"}
    put = await desk.ask(owner, "PUT", "/billing-details", details)
    assert {name: put.json[name] for name in details} == details
    assert (await desk.ask(owner, "PUT", "/billing-details", {"name": "\x00"})).status == 400
    assert (await desk.ask(other, "GET", "/billing-details")).json["name"] == ""
    made = paid_things.invoice(Path(desk.database.path).parent, org.id)
    english = await desk.ask(owner, "GET", f"/invoices/{made}/csv")
    chinese = await desk.ask(owner, "GET", f"/invoices/{made}/csv?language=zh")
    assert "text/csv" in english.head
    assert "Consumed" in english.body.decode()
    assert english.body != chinese.body
    drawn = await desk.ask(owner, "GET", f"/invoices/{made}/pdf")
    assert ("application/pdf" in drawn.head, drawn.body[:5]) == (True, b"%PDF-")
    wishes = {"kind": "ordinary", "title": "Acme", "email": "a@example.test"}
    asked = await desk.ask(owner, "POST", f"/invoices/{made}/tax-invoice", wishes)
    listed = await desk.ask(owner, "GET", f"/invoices/{made}/tax-invoices")
    assert listed.json["data"] == [asked.json]
    for path in ("csv", "pdf", "tax-invoices"):
        assert (await desk.ask(other, "GET", f"/invoices/{made}/{path}")).status == 404
    assert (await desk.ask(owner, "GET", f"/invoices/{made}/pdf?language=fr")).status == 400


async def test_the_alert(desk: Desk) -> None:
    org = await desk.org("acme")
    owner = await desk.key(org.id, "owner")
    assert (await desk.ask(owner.token, "GET", "/balance-alert")).json["threshold"] is None
    body = {"threshold": "10", "emails": ["ops@example.com"]}
    put = await desk.ask(owner.token, "PUT", "/balance-alert", body)
    assert (put.json["threshold"], put.json["triggered"]) == ("10.00", True)
    wrong = {"threshold": "10", "emails": ["nobody"]}
    assert (await desk.ask(owner.token, "PUT", "/balance-alert", wrong)).status == 400
    assert (await desk.ask(owner.token, "DELETE", "/balance-alert")).status == 200
    assert (await desk.ask(owner.token, "DELETE", "/balance-alert")).status == 404
    assert (await desk.ask(owner.token, "GET", "/balance")).json["debt"] == "0.00"
    assert (await desk.ask(owner.token, "GET", "/invoices")).json["data"] == []
