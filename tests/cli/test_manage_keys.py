"""Keys of the management API: made by the command line, shown once, listed, disabled."""

from tests.cli.conftest import Run


def test_made_listed_disabled(run: Run) -> None:
    run("org", "create", "acme", "--json")
    made = run("manage-key", "create", "--org", "acme", "--role", "billing", "--json").json
    assert made["key"].startswith("tm_adm_")
    assert (made["role"], made["organization_id"][:4]) == ("billing", "org_")
    listed = run("manage-key", "list", "--org", "acme", "--json").json["data"]
    assert [key["id"] for key in listed] == [made["id"]]
    assert "key" not in listed[0]
    gone = run("manage-key", "disable", made["id"], "--org", "acme", "--json").json
    assert gone["disabled_at"] is not None


def test_without_an_organisation_it_is_an_operators(run: Run) -> None:
    run("org", "create", "acme", "--json")
    made = run("manage-key", "create", "--json").json
    assert (made["role"], made["organization_id"]) == ("operator", None)
    run("manage-key", "create", "--role", "owner", "--json").failed(2, "no such role")
    run("manage-key", "disable", made["id"], "--org", "acme", "--json").failed(3, "no such")
    run("manage-key", "create", "--org", "nobody", "--json").failed(3, "nobody")
