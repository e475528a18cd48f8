"""What every test may use. Markers and strictness are set in pyproject.toml."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Programs that tests start find their modules compiled, whatever the machine's environment says:
# a start takes a second instead of three.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A timing never decides a test: on a busy machine every example may be slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

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
