"""What every test may use. Markers and strictness are set in pyproject.toml."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder with recorded provider traffic; it is not part of the project.

    TOKENMARKET_RECORDED names another place. A test that needs it is skipped where it is absent.
    """
    default = ROOT.parent / "shared" / "recorded" / "dev"
    folder = Path(os.environ.get("TOKENMARKET_RECORDED") or default)
    if not folder.is_dir():
        pytest.skip("recorded traffic is absent")
    return folder
