"""Twelve key screens look as they did when somebody last looked at them (journey 32).

A screen is kept as a coarse picture in numbers: brightness in a grid, in ``looks.json``. That is
enough to notice a page without style, a missing column or a wrong theme, and blind to fonts, ids,
times and amounts, which differ from run to run. After a wanted change, look at the pages, then
write the file again: ``TOKENMARKET_WRITE_LOOKS=1 make test ARGS=tests/browser/test_looks.py``
(with ``WORKERS=1``).
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Site

LOOKS = Path(__file__).parent / "looks.json"
COLUMNS, ROWS = 36, 22
DIFFERENCE_MAX = 6.0  # of 255, on average over the grid
CELLS_OFF_MAX = 0.06  # share of cells that may differ by more than 40

# name -> (role or None, path)
SCREENS: dict[str, tuple[str | None, str]] = {
    "landing": (None, "/"),
    "models": (None, "/models?q=sandbox"),
    "model": (None, "/models/tokenmarket/sandbox-chat"),
    "docs": (None, "/docs/quickstart"),
    "reference": (None, "/docs/api/reference"),
    "sign-in": (None, "/sign-in"),
    "overview": ("viewer", "@"),
    "requests": ("viewer", "@/requests?range=7d"),
    "keys": ("viewer", "@/keys"),
    "playground": ("developer", "@/playground/chat"),
    "billing": ("billing", "@/billing"),
    "health": ("operator", "/admin"),
}
_GRID = """async ([data, columns, rows]) => {
  const image = new Image();
  image.src = data;
  await image.decode();
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, columns, rows);
  const pixels = context.getImageData(0, 0, columns, rows).data;
  const grid = [];
  for (let at = 0; at < pixels.length; at += 4)
    grid.push(Math.round(0.3 * pixels[at] + 0.59 * pixels[at + 1] + 0.11 * pixels[at + 2]));
  return grid;
}"""


def look(blank: Page, png: bytes) -> list[int]:
    """Brightness of the picture in a grid, row by row, measured on an empty page."""
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    grid: list[int] = blank.evaluate(_GRID, [data, COLUMNS, ROWS])
    return grid


@pytest.fixture(scope="session")
def keep() -> Callable[[str, list[int]], None]:
    def write(name: str, grid: list[int]) -> None:
        kept = json.loads(LOOKS.read_text()) if LOOKS.exists() else {}
        kept[name] = "".join(f"{cell:02x}" for cell in grid)
        LOOKS.write_text(json.dumps(dict(sorted(kept.items())), indent=0) + "\n")

    return write


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("screen", SCREENS)
def test_j32_looks_as_it_did(
    page: Page,
    quiet_site: Site,
    screen: str,
    lang: str,
    keep: Callable[[str, list[int]], None],
) -> None:
    site = quiet_site
    role, path = SCREENS[screen]
    if role is not None:
        site.sign_in(page, role)
    blank = page.context.new_page()
    for theme in ("light", "dark"):
        page.context.add_cookies([{"name": "tm_theme", "value": theme, "url": site.url}])
        site.open(page, path, lang)
        page.wait_for_load_state("networkidle")
        grid = look(blank, page.screenshot())
        name = f"{screen} {lang} {theme}"
        if os.environ.get("TOKENMARKET_WRITE_LOOKS"):
            keep(name, grid)
            continue
        before = list(bytes.fromhex(json.loads(LOOKS.read_text())[name]))
        differences = [abs(one - other) for one, other in zip(before, grid, strict=True)]
        assert sum(differences) / len(differences) <= DIFFERENCE_MAX, name
        off = sum(difference > 40 for difference in differences) / len(differences)
        assert off <= CELLS_OFF_MAX, name
