"""Money as people move it: top-up, code, alert, invoice, the operator's hand (20, 21, 22, 24)."""

import csv
import io
import re

import pytest
from playwright.sync_api import Page, expect
from pypdf import PdfReader

from tests.browser.conftest import Complaints, Site
from tests.support import paid_things

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
WORDS = {
    "en": {
        "top up": "Continue to payment",
        "pay": "Pay",
        "paid": "Paid and credited",
        "fail": "Fail",
        "failed": "Failed",
        "redeem": "Redeem",
        "done": "was credited",
        "once": "has redeemed this code already",
        "unknown": "does not exist",
        "alert": "Save the alert",
        "remove": "Remove the alert",
        "low": "below the alert's threshold",
        "request": "Request the tax invoice",
        "issued": "Issued",
        "book": "Book it",
        "topup line": "Top-up",
    },
    "zh": {
        "top up": "继续支付",
        "pay": "支付",
        "paid": "已付款并入账",
        "fail": "失败",
        "failed": "失败",
        "redeem": "兑换",
        "done": "已入账",
        "once": "已兑换过此兑换码",
        "unknown": "不存在",
        "alert": "保存提醒",
        "remove": "移除提醒",
        "low": "低于提醒阈值",
        "request": "申请发票",
        "issued": "已开具",
        "book": "入账",
        "topup line": "充值",
    },
}


def balance(site: Site) -> str:
    return str(site.server.get("/key").json["balance"]["balance"])


def button(page: Page, text: str) -> None:
    page.locator("main").get_by_role("button", name=text, exact=True).click()


@LANGS
def test_j20_top_up(page: Page, site: Site, lang: str) -> None:
    words = WORDS[lang]
    site.sign_in(page, "billing")
    site.open(page, "@/billing/ledger?kind=topup", lang)
    before = page.locator("tbody tr").count()
    site.open(page, "@/billing/top-up", lang)
    page.fill("input[name=amount]", "7.25")
    # a double click: the form is sent twice, with the same order in it
    form = page.locator("main form")
    order_id = form.locator("input[name=order]").input_value()
    fields = {
        name: form.locator(f"input[name={name}]").first.input_value()
        for name in ("csrf", "order", "currency")
    }
    twice = page.request.post(
        page.url,
        form={**fields, "amount": "7.25", "psp": "test"},
        headers={"origin": site.url},
        max_redirects=0,
    )
    assert twice.status == 303
    button(page, words["top up"])
    page.wait_for_url(f"**/billing/top-up/{order_id}")
    page.locator("main a.btn.primary").click()
    page.wait_for_url("**/test")
    page.get_by_role("button", name=words["pay"], exact=True).click()
    expect(page.locator("main")).to_contain_text(words["paid"])
    site.open(page, "@/billing/ledger?kind=topup", lang)
    expect(page.locator("tbody tr")).to_have_count(before + 1)
    expect(page.locator("tbody tr").first).to_contain_text("7.25")
    expect(page.locator("tbody tr").first).to_contain_text(words["topup line"])


def test_j20_a_payment_that_fails(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    order_id = paid_things.waiting_order(site.server.data, site.org_id)
    site.open(page, f"@/billing/top-up/{order_id}/test")
    page.get_by_role("button", name="Fail", exact=True).click()
    expect(page.locator("main .pill")).to_contain_text("Failed")
    site.open(page, f"@/billing/top-up/{order_id}/test")
    expect(page.get_by_role("button", name="Pay", exact=True)).to_have_count(0)


@LANGS
def test_j20_redeem_code(page: Page, site: Site, complaints: Complaints, lang: str) -> None:
    words = WORDS[lang]
    complaints.expect("422")
    site.sign_in(page, "operator")
    page.goto(f"{site.url}/{lang}/admin/codes/new")
    page.fill("input[name=name]", f"spring {lang}")
    page.fill("input[name=amount]", "3")
    page.fill("input[name=codes]", "2")
    page.locator("main form button.primary").click()
    shown = page.locator("[data-secret]").inner_text().split()
    assert len(shown) == 2
    assert all(re.fullmatch(r"TM(-[0-9A-Z]{5}){4}", code) for code in shown)
    with page.expect_download() as download:
        page.locator("a[download]").click()
    text = download.value.path().read_text("utf-8-sig")
    assert [row[0] for row in csv.reader(io.StringIO(text))] == ["code", *shown]
    page.goto(f"{site.url}/{lang}/admin/codes")
    for code in shown:  # on no other page
        assert code not in page.content()

    site.sign_in(page, "owner")
    for code, expected in (
        (shown[0].lower(), words["done"]),
        (shown[0], words["once"]),
        ("TM-00000-00000-00000-00000", words["unknown"]),
    ):
        site.open(page, "@/billing/redeem", lang)
        page.fill("input[name=code]", code)
        button(page, words["redeem"])
        expect(page.locator("main")).to_contain_text(expected)


@LANGS
def test_j21_invoice(page: Page, site: Site, complaints: Complaints, lang: str) -> None:
    words = WORDS[lang]
    complaints.expect("422")
    invoice_id = paid_things.invoice(site.server.data, site.org_id, period=f"2025-{lang}")
    site.sign_in(page, "billing")
    site.open(page, f"@/billing/invoices/{invoice_id}", lang)
    amounts = [cell.strip() for cell in page.locator("tbody td:last-child").all_inner_texts()]
    assert "0.007407001" in amounts[1]
    pdf = page.request.get(f"{page.url}/pdf").body()
    read = "".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf)).pages)
    rows = page.request.get(f"{page.url}/csv").body().decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(rows)))
    for amount in amounts:
        assert amount in read
        assert any(amount == row[-1].lstrip("'") for row in table if row)
    page.fill("main input[name=title]", "")
    page.evaluate("document.querySelector('main input[name=title]').required = false")
    button(page, words["request"])
    expect(page.locator("main .error").first).to_be_visible()
    page.fill("main input[name=title]", f"北京某某科技有限公司 {lang}")
    page.fill("main input[name=tax_id]", "91110108MA01ABCDE1")
    page.fill("main input[name=email]", "a@example.test")
    button(page, words["request"])
    expect(page.locator("main .pill")).to_be_visible()

    site.sign_in(page, "operator")
    page.goto(f"{site.url}/{lang}/admin/invoices")
    card = page.locator("section.card", has_text=f"北京某某科技有限公司 {lang}")
    card.locator("input[name=number]").fill("25117000000123456789")
    card.locator("button[value=issued]").click()
    site.sign_in(page, "billing")
    site.open(page, f"@/billing/invoices/{invoice_id}", lang)
    expect(page.locator("main")).to_contain_text("25117000000123456789")
    expect(page.locator("main .pill")).to_contain_text(words["issued"])


@LANGS
def test_j22_low_balance_alert(page: Page, site: Site, lang: str) -> None:
    words = WORDS[lang]
    site.sign_in(page, "owner")
    site.open(page, "@/billing/alerts", lang)
    page.fill("input[name=threshold]", "900000")
    page.fill("textarea[name=emails]", "ops@example.test")
    button(page, words["alert"])
    expect(page.locator(".banner")).to_contain_text(words["low"])
    site.open(page, "@/keys", lang)
    expect(page.locator(".banner")).to_contain_text(words["low"])
    site.open(page, "@/billing/alerts", lang)
    button(page, words["remove"])
    expect(page.locator(".banner")).to_have_count(0)


@LANGS
def test_j24_credit_and_debit(page: Page, site: Site, complaints: Complaints, lang: str) -> None:
    words = WORDS[lang]
    complaints.expect("422")
    site.sign_in(page, "operator")
    reason = f"goodwill {lang} <b>"
    for direction, amount in (("credit", "4"), ("debit", "1.50")):
        page.goto(f"{site.url}/{lang}/admin/orgs/{other_org(site)}/credit")
        page.locator(f"input[value={direction}]").check(force=True)
        page.fill("input[name=amount]", amount)
        page.fill("input[name=reason]", reason)
        button(page, words["book"])
        expect(page.locator("main tbody tr").first).to_contain_text(amount)
        expect(page.locator("main tbody tr").first).to_contain_text(reason)
    page.locator("input[value=debit]").check(force=True)
    page.fill("input[name=amount]", "999999")
    page.fill("input[name=reason]", reason)
    button(page, words["book"])
    expect(page.locator("main .callout.bad")).to_be_visible()
    actions = paid_things.audit_of(site.server.data, other_org(site))
    assert actions.count("credit.add") >= 1
    assert actions.count("credit.take") == actions.count("credit.add")


def other_org(site: Site) -> str:
    listed = site.server.run("org", "list")["data"]
    return next(str(org["id"]) for org in listed if org["name"] == "other")
