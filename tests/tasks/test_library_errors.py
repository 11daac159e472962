"""A wrong setting is named at once, never called an LMS or S3 out of reach; and nothing unasked changes a request."""

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import faults
from sandbox.aws import BUCKET, SimulatedAws
from sandbox.lms import SimulatedLms
from sandbox.tls import TlsFront
from tasks.errors import AuthError, ConfigError, LmsUnavailable, PipelineError, Unreachable
from tasks.extract.fetch import authenticate
from tasks.s3 import S3Object, read_object


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        yield taken.getsockname()[1]


# Nothing that requests takes from the environment unasked


@pytest.mark.parametrize(
    "host", ["machine 127.0.0.1 login somebody", "default login somebody", "machine localhost login s"]
)
def test_netrc_changes_no_request(lms: SimulatedLms, home: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    netrc = home / ".netrc"
    netrc.write_text(f"{host} password netrc-password\n")
    netrc.chmod(0o600)
    sent: list[str] = []
    lms.strict_bearer = True
    answer = lms.answer

    def noted(method: str, target: str, headers: Any, body: bytes) -> Any:
        sent.append(str(headers))
        return answer(method, target, headers, body)

    monkeypatch.setattr(lms, "answer", noted)
    with authenticate.fn(None) as session:
        session.get("/my-details", {}, bytes, "details")
    assert [request for request in sent if "Basic" in request] == []


def test_the_netrc_that_the_environment_names_changes_no_request_either(
    lms: SimulatedLms, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "other").write_text("default login somebody password netrc-password\n")
    monkeypatch.setenv("NETRC", str(home / "other"))
    lms.strict_bearer = True
    with authenticate.fn(None) as session:
        session.get("/my-details", {}, bytes, "details")


def test_no_cookie_is_sent_back(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    lms.inject(faults.status(503, headers={"Set-Cookie": "a=b; Path=/"}, path="/authenticate"))
    answer = lms.answer

    def noted(method: str, target: str, headers: Any, body: bytes) -> Any:
        sent.append(headers["Cookie"])
        return answer(method, target, headers, body)

    monkeypatch.setattr(lms, "answer", noted)
    with authenticate.fn(None):
        assert sent == [None, None]


def test_a_proxy_that_the_environment_names_is_used(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", lms.url)
    monkeypatch.setenv("REST_API_URL", "http://localhost:9")
    with authenticate.fn(None):
        pass
    assert [path for _, path, _, _ in lms.requests] == ["/authenticate"]


# The LMS


LMS_SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "a blank before the key": ({"LMS_PRIVATE_KEY": " key"}, "LMS_PRIVATE_KEY begins or ends with whitespace"),
    "a blank after the key": ({"LMS_PRIVATE_KEY": "key\u00a0"}, "LMS_PRIVATE_KEY begins or ends with whitespace"),
    "a port that is none": ({"REST_API_URL": "https://rest.myabsorb.com:99999"}, "REST_API_URL"),
    "a port of letters": ({"REST_API_URL": "https://rest.myabsorb.com:https"}, "REST_API_URL"),
    "a bracket left open": ({"REST_API_URL": "https://[::1"}, "REST_API_URL"),
    "a blank in the address": ({"REST_API_URL": "https://rest.my absorb.com"}, "REST_API_URL"),
    "a label that is too long": ({"REST_API_URL": f"https://{'x' * 70}.example.org"}, "REST_API_URL"),
    "a proxy without a host": ({"HTTP_PROXY": "http://:8080"}, "HTTPS_PROXY"),
    "a proxy with a bad port": ({"HTTP_PROXY": "http://127.0.0.1:nonsense"}, "HTTPS_PROXY"),
    "a proxy of no known kind": ({"HTTP_PROXY": "ftp://127.0.0.1:3128"}, "HTTPS_PROXY"),
    "a proxy that is not there": ({"HTTP_PROXY": "http://127.0.0.1:{closed}"}, "HTTPS_PROXY"),
    "a proxy for SOCKS without its package": ({"HTTP_PROXY": "socks5://127.0.0.1:1080"}, "HTTPS_PROXY"),
}


@pytest.mark.parametrize(("settings", "named"), LMS_SETTINGS.values(), ids=LMS_SETTINGS.keys())
def test_a_wrong_setting_of_the_lms_is_named_at_once(
    lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch, closed_port: int, settings: dict[str, str], named: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(closed=closed_port))
    with pytest.raises(ConfigError, match=named) as caught:
        authenticate.fn(None)
    assert "key\u00a0" not in str(caught.value)


@pytest.fixture
def tls(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The LMS behind TLS, at https://localhost; the certificate to trust."""
    with TlsFront(int(lms.url.rpartition(":")[2]), direct=True) as front:
        monkeypatch.setenv("REST_API_URL", f"https://localhost:{front.port}")
        yield front.root_certificate


def test_a_ca_bundle_that_the_environment_names_is_used(tls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls))
    with authenticate.fn(None) as session:
        assert session.sign_ins == 1


@pytest.mark.parametrize("bundle", ["missing.pem", "empty.pem", "text.pem", "folder"])
def test_a_ca_bundle_that_is_none_is_named_at_once(
    tls: Path, home: Path, monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    (home / "empty.pem").touch()
    (home / "text.pem").write_text("no certificate")
    (home / "folder").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(home / bundle))
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE"):
        authenticate.fn(None)


def test_https_to_a_port_without_tls_is_a_wrong_address(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REST_API_URL", lms.url.replace("http:", "https:"))
    with pytest.raises(ConfigError, match="REST_API_URL"):
        authenticate.fn(None)


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF"), ConnectionResetError(104, "reset"), TimeoutError("late")])
def test_a_connection_cut_in_the_tls_handshake_is_tried_again(
    lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    from tasks.extract.http_errors import http_trouble
    from tasks.extract.retry import Unusable

    assert isinstance(http_trouble(error, lms.url), Unusable)


# S3


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


PROFILES = """
[profile process]
credential_process = /bin/false
[profile absent]
credential_process = /no/such/program
[profile sso]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = role
[profile circle]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = nobody
"""
AWS_SETTINGS: dict[str, tuple[dict[str, str], type[PipelineError], str]] = {
    "a profile that is not there": ({"AWS_PROFILE": "nobody"}, ConfigError, "AWS_PROFILE"),
    "a process that fails": ({"AWS_PROFILE": "process"}, AuthError, "credential_process"),
    "a process that is not there": ({"AWS_PROFILE": "absent"}, PipelineError, "AWS_PROFILE|credential_process"),
    "an SSO session that expired": ({"AWS_PROFILE": "sso"}, AuthError, "aws sso login"),
    "a profile that leads nowhere": ({"AWS_PROFILE": "circle"}, ConfigError, "AWS_PROFILE"),
    "a configuration that is none": ({"AWS_CONFIG_FILE": "{home}/broken"}, ConfigError, "AWS_CONFIG_FILE"),
    "a region that is none": ({"AWS_DEFAULT_REGION": "eu west 1"}, ConfigError, "AWS_DEFAULT_REGION"),
    "an endpoint that is none": ({"AWS_ENDPOINT_URL": "nonsense"}, ConfigError, "AWS_ENDPOINT_URL"),
    "an endpoint with a bad port": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}, ConfigError, "AWS_ENDPOINT_URL"),
    "a proxy that is not there": ({"HTTP_PROXY": "http://127.0.0.1:{closed}"}, ConfigError, "HTTPS_PROXY"),
    "a proxy that is none": ({"HTTP_PROXY": "http://:{closed}"}, ConfigError, "HTTPS_PROXY"),
    "a key with a line break": ({"AWS_ACCESS_KEY_ID": "AKIA\nX"}, ConfigError, "AWS_ACCESS_KEY_ID"),
    "a mode that is none": ({"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "nonsense"}, ConfigError, "AWS_"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "kind", "named"), AWS_SETTINGS.values(), ids=AWS_SETTINGS.keys())
def test_a_wrong_setting_of_aws_is_named_at_once(
    aws: SimulatedAws, home: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int,
    settings: dict[str, str], kind: type[PipelineError], named: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_CONFIG_FILE", write(home / "config", PROFILES))
    write(home / "broken", "[profile a\nnonsense")
    if "AWS_PROFILE" in settings:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(closed=closed_port, home=home))
    with pytest.raises(kind, match=named) as caught:
        read_object.fn(S3Object(BUCKET, "a.csv"), home / "read.csv")
    assert not caught.value.retriable, caught.value


@pytest.mark.parametrize("bundle", ["missing.pem", "text.pem"])
def test_a_ca_bundle_for_aws_that_is_none_is_named_at_once(
    aws: SimulatedAws, home: Path, monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    write(home / "text.pem", "no certificate")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(home / bundle))
    with TlsFront(aws.port, direct=True) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{front.port}")
        with pytest.raises(ConfigError, match="AWS_CA_BUNDLE"):
            read_object.fn(S3Object(BUCKET, "a.csv"), home / "read.csv")


def test_a_full_disk_while_the_object_is_read_back_is_named_at_once(
    aws: SimulatedAws, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key="a.csv", Body=b"x" * 100_000)
    with pytest.raises(ConfigError, match=r"the temporary directory is full or read-only \(ENOSPC\).*TMPDIR"):
        read_object.fn(S3Object(BUCKET, "a.csv"), Path("/dev/full"))


@pytest.mark.parametrize("path", ["no/such/folder/a.csv", ".", "a" * 300])
def test_a_file_that_this_machine_refuses_is_not_s3_out_of_reach(aws: SimulatedAws, home: Path, path: str) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key="a.csv", Body=b"x")
    with pytest.raises(ConfigError, match="this machine refused access to a file"):
        read_object.fn(S3Object(BUCKET, "a.csv"), home / path)


def test_what_may_pass_is_still_tried_again(
    aws: SimulatedAws, lms: SimulatedLms, home: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setattr("tasks.extract.retry.MAX_TRIES", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("REST_API_URL", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(Unreachable):
        read_object.fn(S3Object(BUCKET, "a.csv"), home / "read.csv")
    with pytest.raises(LmsUnavailable):
        authenticate.fn(None)
