"""TLS to the database, as sslmode says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.tls import TlsFront, write_certificate
from tasks.errors import ConfigError
from tasks.load.database import transaction
from tests.conftest import Database


@pytest.fixture(scope="module")
def front(own_database: Database) -> Iterator[TlsFront]:
    with TlsFront(int(own_database.variables["BUSINESS_TRACKING_PORT"])) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The certificate of an authority that did not sign the server's."""
    write_certificate(tmp_path, tmp_path / "stranger.crt")
    return tmp_path / "stranger.crt"


@pytest.fixture(autouse=True)
def environment(database: Database, front: TlsFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_PORT", str(front.port))


def encrypted(patch: pytest.MonkeyPatch, sslmode: str, host: str, root: Path | None) -> bool:
    """Connect as the load does; whether the session is encrypted."""
    patch.setenv("BUSINESS_TRACKING_HOST", host)
    patch.setenv("BUSINESS_TRACKING_SSLMODE", sslmode)
    patch.setenv("PGSSLROOTCERT", str(root or "/nowhere/root.crt"))
    with transaction(None) as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.connection.info.ssl_in_use)


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
def test_a_session_is_encrypted_without_a_certificate_to_trust(monkeypatch: pytest.MonkeyPatch, sslmode: str) -> None:
    assert encrypted(monkeypatch, sslmode, "localhost", None)


def test_disable_encrypts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not encrypted(monkeypatch, "disable", "localhost", None)


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_the_right_certificate_is_accepted(front: TlsFront, monkeypatch: pytest.MonkeyPatch, sslmode: str) -> None:
    assert encrypted(monkeypatch, sslmode, "localhost", front.root_certificate)


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_a_strangers_certificate_is_refused(monkeypatch: pytest.MonkeyPatch, stranger: Path, sslmode: str) -> None:
    with pytest.raises(ConfigError, match="TLS"):
        encrypted(monkeypatch, sslmode, "localhost", stranger)


def test_verify_full_alone_refuses_another_hosts_name(front: TlsFront, monkeypatch: pytest.MonkeyPatch) -> None:
    assert encrypted(monkeypatch, "verify-ca", "127.0.0.1", front.root_certificate)
    with pytest.raises(ConfigError, match="TLS"):
        encrypted(monkeypatch, "verify-full", "127.0.0.1", front.root_certificate)


def test_require_refuses_a_server_without_tls(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_PORT", database.variables["BUSINESS_TRACKING_PORT"])
    with pytest.raises(ConfigError, match="TLS"):
        encrypted(monkeypatch, "require", "127.0.0.1", None)
