"""The reference's curl lines work as they are printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from tests.gateway.site import Site
from tests.unit.adapters.pictures import DATA_URL
from tests.unit.adapters.sounds import WAV
from tokenmarket.web.openapi.operation import Operation
from tokenmarket.web.openapi.operations import OPERATIONS
from tokenmarket.web.openapi.samples import PICTURE, samples

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
# Those that need an object that is there, or a body without an example.
ALONE = [
    row
    for row in OPERATIONS
    if "{" not in row.path
    and (row.example is not None or row.body is None)
    and row.id != "getGeneration"
]


@pytest.mark.parametrize("row", ALONE, ids=lambda row: row.id)
async def test_curl_works_as_printed(site: Site, tmp_path: Path, row: Operation) -> None:
    org = await site.org()
    written = dict(
        samples(
            f"http://127.0.0.1:{site.port}",
            row.method,
            row.path,
            example=row.example,
            form=row.form == "only",
        )
    )
    (tmp_path / "hello.wav").write_bytes(WAV)
    command = written["curl"].replace(PICTURE, DATA_URL)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        re.sub(r"^curl ", "curl -s --fail-with-body ", command),
        cwd=tmp_path,
        env={**os.environ, "TOKENMARKET_API_KEY": org.key},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, (command, output[:500])
    if row.audio:
        assert output.startswith(b"RIFF")
    else:
        assert "error" not in json.loads(output) or row.tag == "videos"


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.id)
async def test_python_is_python(row: Operation) -> None:
    written = dict(
        samples(
            "https://gateway.test",
            row.method,
            row.path,
            example=row.example,
            form=row.form == "only",
        )
    )
    compile(written["Python"], row.id, "exec")
    assert "{id}" not in written["Python"]
