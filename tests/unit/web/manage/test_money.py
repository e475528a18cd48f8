"""Money by the management API: codes, statement, orders, the alert, the operator's hand."""

from __future__ import annotations

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
    for query in ("kind=none", "cursor=x", "cursor=1e9.a"):
        assert (await desk.ask(owner.token, "GET", f"/ledger?{query}")).status == 400


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
