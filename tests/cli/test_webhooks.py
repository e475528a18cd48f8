"""The signing secret of callbacks: made once, shown again, replaced with an overlap."""

from tests.cli.conftest import Run


def test_a_secret_is_made_shown_and_replaced(run: Run) -> None:
    run("org", "create", "acme", "--json")
    first = run("webhook", "secret", "--org", "acme", "--json").json
    assert first["object"] == "webhook_secret"
    assert first["secret"].startswith("whsec_")
    assert (first["created"], first["retiring"]) == (True, [])
    again = run("webhook", "secret", "--org", "acme", "--json").json
    assert (again["secret"], again["created"]) == (first["secret"], False)
    other = run("webhook", "secret", "--org", "acme", "--rotate", "--json").json
    assert other["secret"] != first["secret"]
    assert [one["id"] for one in other["retiring"]] == [first["id"]]
    last = run("webhook", "secret", "--org", "acme", "--rotate", "--overlap", "0", "--json").json
    assert first["id"] in [one["id"] for one in last["retiring"]]  # its day is not over
    assert other["id"] not in [one["id"] for one in last["retiring"]]


def test_an_unknown_organisation(run: Run) -> None:
    run("org", "create", "acme", "--json")
    run("webhook", "secret", "--org", "nobody", "--json").failed(3, "nobody")
