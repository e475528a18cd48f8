"""Organisations of a group are charged the group's prices: in the rooms and in the lane, in holds
and on receipts, and from the moment the operator says so."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.gateway.site import CHAT, Org, Site, eventually
from tests.gateway.test_lane import Counter
from tests.gateway.upstream import well
from tests.gateway.wire import Wire, raw_request
from tokenmarket.backoffice import groups
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.store import accounts, org_groups

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 10
ACTOR = "test"
PLAIN = Decimal("0.000017")  # what ``well`` answers costs at the list price


async def into_group(site: Site, org: Org, wishes: GroupWishes) -> str:
    """A new group with this organisation in it, known to the running server."""
    server, now_us = site.server, site.clock.wall_us()
    async with server.database.begin() as conn:
        row = await groups.create(conn, wishes, server.catalog.document, now_us=now_us, actor=ACTOR)
        found = await accounts.org_by_id(conn, org.id)
        assert found is not None
        await groups.assign(conn, found, row.id, now_us=now_us, actor=ACTOR)

    def known() -> bool:
        return any(
            caller.org_id == org.id and caller.group_id == row.id
            for caller in server.accounts.callers()
        ) and (server.catalog.for_group(row.id) is not server.catalog)

    await org.get("/api/v1/credits")
    await eventually(known, "the server knows the group")
    return row.id


async def ask(site: Site, org: Org, body: object, times: int) -> list[str]:
    """On one connection, so that the lane may take it; the request ids."""
    wire = await Wire.open(site.port)
    found: list[str] = []
    for _ in range(times):
        org.asked += 1
        data = json.dumps(body, separators=(",", ":")).encode()
        await wire.write(raw_request("POST", CHAT, data, key=org.key))
        answer = await wire.answer()
        assert answer.status == 200, answer.body
        found.append(answer.id)
    await wire.close()
    return found


async def test_both_ways_charge_the_groups_price(site: Site) -> None:
    lane, org, other = site.lane(), await site.org(), await site.org()
    group_id = await into_group(site, org, GroupWishes("both ways", markup_bp=5_000))
    lane.upstream.will(lane.a, *([well] * 10))
    with Counter(site) as counter:
        ids = await ask(site, org, lane.chat(), 4)
        assert counter.taken, "the lane took none"
    await ask(site, other, lane.chat(), 4)

    sheet = site.server.catalog.for_group(group_id).current.routes[lane.model()][0].prices
    everybody = site.server.catalog.current.routes[lane.model()][0].prices
    assert sheet.version != everybody.version
    for request_id in ids:
        receipt = await org.receipt(request_id)
        assert receipt["price_version"] == sheet.version
        assert receipt["markup_percent"] == "50"
        assert Decimal(receipt["amounts"]["charged"]) == PLAIN * Decimal("1.5")
        assert [item["usd"] for item in receipt["items"]] == ["1.50", "3.00"]
    for receipt in await other.receipts():
        assert receipt["price_version"] == everybody.version
        assert receipt["markup_percent"] == "0"
    # the held ceiling is the group's too: 1.5 times what everybody's is
    held = Decimal((await org.receipt(ids[0]))["amounts"]["held"])
    assert held == Decimal((await other.receipts())[0]["amounts"]["held"]) * Decimal("1.5")


async def test_a_change_reaches_the_next_request(site: Site) -> None:
    """Kept frames of the lane must not outlive the price."""
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, *([well] * 12))
    await ask(site, org, lane.chat(), 3)
    group_id = await into_group(site, org, GroupWishes("later", markup_bp=10_000))
    doubled = await ask(site, org, lane.chat(), 3)
    async with site.server.database.begin() as conn:
        before = site.server.catalog.for_group(group_id)
        await groups.change(
            conn,
            group_id,
            GroupWishes("later", markup_bp=20_000),
            site.server.catalog.document,
            now_us=site.clock.wall_us(),
            actor=ACTOR,
        )
    await eventually(
        lambda: site.server.catalog.for_group(group_id) is not before, "the new markup is known"
    )
    tripled = await ask(site, org, lane.chat(), 3)
    for ids, factor in ((doubled, 2), (tripled, 3)):
        for request_id in ids:
            receipt = await org.receipt(request_id)
            assert Decimal(receipt["amounts"]["charged"]) == PLAIN * factor


async def test_what_the_group_may_not_use_does_not_exist(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    await into_group(site, org, GroupWishes("few", models=(lane.model("one"),)))
    refused = await org.chat(lane.chat("two"))
    assert (refused.status, refused.json["error"]["code"]) == (404, "MODEL_001")
    listed = (await org.get("/api/v1/models")).json["data"]
    assert [item["id"] for item in listed] == [lane.model("one")]
    lane.upstream.will(lane.a, well)
    assert (await org.chat(lane.chat("one"))).status == 200


async def test_the_list_and_the_endpoints_show_the_groups_prices(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    await into_group(site, org, GroupWishes("shown", markup_bp=-5_000))
    model = (await org.get(f"/api/v1/models/{lane.model()}")).json
    assert [line["usd"] for line in model["pricing"]] == ["0.50", "1.00"]
    found = (await org.get(f"/api/v1/models/{lane.model()}/endpoints")).json
    assert [line["usd"] for line in found["endpoints"][0]["pricing"]] == ["0.50", "1.00"]


async def test_a_group_in_use_stays(site: Site) -> None:
    org = await site.org()
    group_id = await into_group(site, org, GroupWishes("in use"))
    async with site.server.database.begin() as conn:
        with pytest.raises(groups.Taken, match="Organizations are in this group"):
            await groups.remove(conn, group_id, now_us=1, actor=ACTOR)
        row = await org_groups.find(conn, group_id)
        assert row is not None
        assert row.members == 1
