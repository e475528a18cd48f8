"""Pages of a running server, read without a browser: what they say of prices and books."""

from __future__ import annotations

import html
import re

import pytest

from tests.gateway.site import Org, Site
from tests.gateway.test_groups import ask, into_group
from tests.gateway.upstream import well
from tests.gateway.wire import raw_request
from tests.support.people import make_person
from tokenmarket.accounts.sessions import Sessions
from tokenmarket.backoffice import facts, prices
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.core import sealing
from tokenmarket.core.catalog_rows import PriceEntry
from tokenmarket.core.price_terms import PriceTerms
from tokenmarket.store.members import insert_membership
from tokenmarket.store.money_checks import record_run

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 3
DAY_US = 86_400_000_000
RUN_ID = "rec_" + "7" * 34


async def signed_in(site: Site, name: str, org: Org | None = None) -> str:
    """The cookie of an operator, or of an owner of the organization."""
    database, now_us = site.server.database, site.clock.wall_us()
    user = await make_person(database, f"{name}@example.com", operator=org is None, now_us=now_us)
    if org is not None:
        async with database.begin() as conn:
            await insert_membership(conn, org.id, user.id, "owner", now_us)
    secret = site.server.config.root.derive(sealing.SESSIONS)
    token = await Sessions(database, site.clock, secret).open(
        user.id, address="127.0.0.1", agent="test"
    )
    return f"tm_session={token}"


async def said(site: Site, path: str, cookie: str = "") -> str:
    """The words of a page."""
    answer = await site.raw(raw_request("GET", path, headers={"cookie": cookie}))
    assert answer.status == 200, (path, answer.status)
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.body.decode())).split())
    assert "<time" not in text, "HTML that was escaped"
    return text


async def announce(site: Site, key: tuple[str, str], usd: str) -> None:
    """A new price of output from tomorrow on."""
    now_us = site.clock.wall_us()
    terms = PriceTerms((PriceEntry("input_token", "1"), PriceEntry("output_token", usd)))
    shipped = site.server.catalog.document
    async with site.server.database.begin() as conn:
        change = await prices.draft(
            conn,
            shipped,
            key,
            terms,
            effective_us=now_us + DAY_US,
            reason="dearer upstream",
            now_us=now_us,
            actor="test",
        )
        await prices.schedule(conn, change.id, now_us=now_us, actor="test")


async def test_a_price_change_is_announced_to_those_it_concerns(site: Site) -> None:
    lane, user, idle = site.lane(), await site.org(), await site.org()
    lane.upstream.will(lane.a, well)
    await ask(site, user, lane.chat(), 1)
    model = f"models/tests/{lane.model()}"
    assert "No change so far" in await said(site, f"/en/{model}")
    assert "至今没有变更" in await said(site, f"/zh/{model}")
    await announce(site, (lane.model(), lane.a), "5")
    page = await said(site, f"/en/{model}")
    assert f"Prices at {lane.a} change on" in page
    assert "output: $2.00 → $5.00 / 1M tokens" in page
    assert "input: $1.00" not in page, "what stays as it is is no news"
    assert "dearer upstream" not in page
    async with site.server.database.begin() as conn:
        await facts.set_exchange_rate(
            conn, "7", "2026-11-20", now_us=site.clock.wall_us(), actor="test"
        )
    assert "输出: ≈ ¥14.00 → ≈ ¥35.00" in await said(site, f"/zh/{model}", "tm_currency=CNY")
    notice = f"Prices of {lane.model()} at {lane.a} change on"
    cookie = await signed_in(site, "user", user)
    assert notice in await said(site, f"/en/console/{user.id}", cookie)
    assert notice not in await said(
        site, f"/en/console/{idle.id}", await signed_in(site, "idle", idle)
    )


async def test_a_receipt_says_the_markup_that_its_prices_have(site: Site) -> None:
    lane, org, plain = site.lane(), await site.org(), await site.org()
    await into_group(site, org, GroupWishes("dearer", markup_bp=1_250))
    lane.upstream.will(lane.a, well, well)
    for one, name, markup in ((org, "dear", "12.5%"), (plain, "plain", "0%")):
        [request_id] = await ask(site, one, lane.chat(), 1)
        cookie = await signed_in(site, name, one)
        page = await said(site, f"/en/console/{one.id}/requests/{request_id}", cookie)
        assert f"Markup in these prices {markup}" in page


async def test_what_a_proof_found_and_what_providers_cost(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, well, well)
    await ask(site, org, lane.chat(), 2)
    await site.server.wallet.flush()
    now_us = site.clock.wall_us()
    await record_run(
        site.server.database, RUN_ID, now_us, now_us + 40_000, [("I1", "org_x:cash", "0", "-1")]
    )
    operator = await signed_in(site, "operator")
    overview = await said(site, "/en/admin/reconcile", operator)
    assert "1 difference" in overview
    # charged twice 0.000017, and no cost rows: not known, which is not 0
    assert f"{lane.a} 2 $0.000034 $0.00 — — 2 requests" in overview
    proof = await said(site, f"/en/admin/reconcile/{RUN_ID}", operator)
    assert "I1 org_x:cash 0 -1" in proof
    assert "The books are right" not in proof
