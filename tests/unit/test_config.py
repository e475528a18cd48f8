"""Configuration: who wins, what is refused and how it is said, and the secret's file."""

import multiprocessing
import os
from pathlib import Path

import pytest

from tokenmarket import config, settings
from tokenmarket.config import Config, ConfigError, load
from tokenmarket.core.catalog import Provider
from tokenmarket.store.credentials import OpenCredential

HEX = "ab" * 32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_defaults_expose_nothing(data: Path) -> None:
    found = load({"data_dir": str(data)}, {})
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8080, 1)
    assert found.database_url == str(data / "tokenmarket.db")
    assert (found.json_body_bytes_max, found.multipart_body_bytes_max) == (32 << 20, 200 << 20)
    assert found.journal_sync == "interval"
    assert found.trusted_proxies == ()
    assert found.base_url == "http://127.0.0.1:8080/api/v1"
    assert found.demo is True


def test_command_line_then_environment_then_file_then_default(data: Path) -> None:
    file = data.parent / "settings.toml"
    file.write_text('host = "10.0.0.1"\nport = 1\nlog_level = "debug"\ndrain_s = 5\n')
    environment = {"TOKENMARKET_PORT": "2", "TOKENMARKET_LOG_LEVEL": "error"}
    arguments = {"config": str(file), "data_dir": str(data), "log_level": "WARNING", "port": None}
    found = load(arguments, environment)
    assert (found.host, found.port, found.log_level, found.drain_s) == ("10.0.0.1", 2, "warning", 5)


def test_every_setting_has_a_name_in_all_three_places() -> None:
    fields = set(Config.__struct_fields__) - {"root", "environment", "proxies"}
    assert {setting.name for setting in settings.SETTINGS} == fields
    assert len({setting.key for setting in settings.SETTINGS}) == len(settings.SETTINGS)
    assert all(setting.env.startswith("TOKENMARKET_") for setting in settings.SETTINGS)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("prot = 1", r"settings\.toml: prot: no such setting; write 'port'"),
        ("zzzzzz = 1", r"zzzzzz: no such setting; the keys are host, port"),
        ("port = 99999", r"port: write a whole number from 0 to 65535"),
        ("port = true", r"port: write a whole number"),
        ("port = 80.0", r"port: write a whole number"),
        ('port = "-1"', r"port: write a whole number"),
        ('port = "٨٠"', r"port: write a whole number"),
        ('host = "a b"', r"host: 'a b' is not a host"),
        ("host = 1", r"host: write one line of text"),
        ('journal_sync = "never"', r"journal_sync: write one of interval, group, replicated"),
        ('docs_base_url = "ftp://x"', r"docs_base_url: write an address"),
        ('docs_base_url = "https://x/?a=1"', r"without a query"),
        ('docs_base_url = "https://me:pw@x"', r"docs_base_url: write an address"),
        ('trusted_proxies = ["10.0.0.1/8"]', r"trusted_proxies: 10.0.0.1/8 has host bits set"),
        ("trusted_proxies = [1]", r"trusted_proxies: 1 is not a network"),
        ("trusted_proxies = 1", r"trusted_proxies: write a list of networks"),
        ('demo = "maybe"', r"demo: write true or false"),
        ("json_body_bytes_max = 10", r"json_body_bytes_max: write a whole number from 1024"),
        ("port = ", r"is not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_place_key_and_remedy(data: Path, toml: str, says: str) -> None:
    file = data.parent / "settings.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError, match=says) as caught:
        load({"config": str(file), "data_dir": str(data)}, {})
    assert str(file) in str(caught.value)
    assert not data.exists(), "nothing is made before everything is right"


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ({"port": "x"}, {}, "command line: --port: write a whole number"),
        ({}, {"TOKENMARKET_PORT": "x"}, "environment: TOKENMARKET_PORT: write a whole number"),
        ({}, {"TOKENMARKET_CONFIG": "/absent.toml"}, "/absent.toml: cannot be read"),
        ({}, {"TOKENMARKET_SECRET_KEY": "hunter2"}, "must be 64 hex digits"),
        ({}, {"http_proxy": "https://me:pw@proxy"}, "http_proxy, https_proxy: a proxy is given as"),
        ({"workers": "0"}, {}, "--workers: write a whole number from 1"),
    ],
)
def test_other_places_are_named_too_and_secrets_are_not(
    data: Path, arguments: dict[str, str], environment: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load({"data_dir": str(data), **arguments}, environment)
    assert "hunter2" not in str(caught.value)
    assert "pw@" not in str(caught.value)


def test_networks_and_proxies(data: Path) -> None:
    environment = {
        "TOKENMARKET_TRUSTED_PROXIES": "10.0.0.0/8, ::1/128",
        "HTTPS_PROXY": "http://me:geheim@proxy:3128",
    }
    found = load({"data_dir": str(data)}, environment)
    assert [str(network) for network in found.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("::1", "http://[::1]:80")],
)
def test_a_wildcard_is_not_an_address_to_call(data: Path, host: str, url: str) -> None:
    found = load({"data_dir": str(data), "host": host, "port": "80"}, {})
    assert found.base_url == f"{url}/api/v1"
    assert found.docs_base_url == url


def test_a_database_given_alone_brings_its_directory(tmp_path: Path) -> None:
    found = load({"database_url": f"sqlite:///{tmp_path}/sub/x.db"}, {})
    assert found.data_dir == tmp_path / "sub"
    assert (tmp_path / "sub" / "secret.key").exists()


def test_the_secret_is_made_once_for_its_owner_only(data: Path) -> None:
    first = load({"data_dir": str(data)}, {})
    assert load({"data_dir": str(data)}, {}).root.fingerprint() == first.root.fingerprint()
    file = data / "secret.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert file.read_text().strip() not in repr(first)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load({"data_dir": str(data)}, {})


@pytest.mark.parametrize("content", ["", "x", "ab" * 31, "ab" * 33, "é" * 64])
def test_a_damaged_secret_is_not_used(data: Path, content: str) -> None:
    load({"data_dir": str(data)}, {})
    (data / "secret.key").write_text(content)
    with pytest.raises(ConfigError, match=r"secret\.key"):
        load({"data_dir": str(data)}, {})


def test_the_secret_may_come_from_the_environment(data: Path) -> None:
    found = load({"data_dir": str(data)}, {"TOKENMARKET_SECRET_KEY": HEX + "\n"})
    assert found.root.fingerprint() == config.Root(bytes.fromhex(HEX)).fingerprint()
    assert not (data / "secret.key").exists()
    assert HEX not in repr(found)


def _first_start(data: Path) -> str:
    return load({"data_dir": str(data)}, {}).root.fingerprint()


def test_two_first_starts_at_once_agree_on_one_secret(data: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_first_start, [data] * 8, chunksize=1))) == 1


def test_a_command_that_only_looks_makes_nothing(data: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load({"data_dir": str(data)}, {}, create=False)
    data.mkdir()
    with pytest.raises(ConfigError, match=r"secret\.key.*is missing"):
        load({"data_dir": str(data)}, {}, create=False)
    assert os.listdir(data) == []
    file = data / "file"
    file.touch()
    with pytest.raises(ConfigError, match="exists"):
        load({"data_dir": str(file)}, {})


def test_provider_keys_come_from_the_row_and_the_variable(data: Path) -> None:
    environment = {"ONE_API_KEY": " sk-env \n", "EMPTY": "", "BAD": "a b", "LINES": "a\r\nb"}
    found = load({"data_dir": str(data)}, environment).environment
    provider = Provider("one", "openai", "https://one.example/v1", api_key_env="ONE_API_KEY")
    stored = [
        OpenCredential("cred_1", "one", "https://one.example/v1", "sk-stored"),
        OpenCredential("cred_2", "one", "https://old.example/v1", "sk-elsewhere"),
        OpenCredential("cred_3", "two", "https://one.example/v1", "sk-other"),
    ]
    keys = config.provider_secrets(found, provider, stored)
    assert [(name, secret.reveal()) for name, secret in keys] == [
        ("cred_1", "sk-stored"),
        ("ONE_API_KEY", "sk-env"),
    ]
    assert found.provider_key("EMPTY") is None
    assert found.provider_key("ABSENT") is None
    for name in ("BAD", "LINES"):
        with pytest.raises(ConfigError, match=name) as caught:
            found.provider_key(name)
        assert "a b" not in str(caught.value)


def test_a_service_account_is_a_key_of_one_line(data: Path) -> None:
    written = '{\n  "private_key": "-----BEGIN PRIVATE KEY-----\\nAA\\n",\n  "x": 1.0\n}\n'
    environment = {"GOOGLE": written, "CUT": '{"private_key": "hidden', "ODD": '{"a": "ü"}'}
    found = load({"data_dir": str(data)}, environment).environment
    expected = '{"private_key":"-----BEGIN PRIVATE KEY-----\\nAA\\n","x":1.0}'
    assert found.provider_key("GOOGLE") == expected
    for name in ("CUT", "ODD"):
        with pytest.raises(ConfigError, match=name) as caught:
            found.provider_key(name)
        assert "hidden" not in str(caught.value)


def test_our_own_secret_is_never_a_provider_key(data: Path) -> None:
    found = load({"data_dir": str(data)}, {"TOKENMARKET_SECRET_KEY": HEX})
    with pytest.raises(ConfigError, match="not provider keys"):
        found.environment.provider_key("TOKENMARKET_SECRET_KEY")
    assert HEX not in repr(found.environment)


def test_misspelt_variables_are_found(data: Path) -> None:
    found = load({"data_dir": str(data)}, {"TOKENMARKET_PROT": "1", "TOKENMARKET_PORT": "1"})
    assert found.environment.unknown() == ["TOKENMARKET_PROT"]
