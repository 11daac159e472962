"""Whatever the LMS sends: time, memory and pages are bounded."""

import gzip
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import faults
from sandbox.faults import Answer, Fault
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT, person
from sandbox.stack import ROOT
from tasks.errors import IncompleteSnapshot, LmsUnavailable
from tasks.extract import exchange, retry
from tasks.extract import session as client
from tasks.extract.fetch import RawSnapshot, authenticate, fetch_pages
from tasks.streams import MEMBERS, Scope

PEAK_MB = 600
MEASURED = """
import sys, tempfile
from pathlib import Path
from tasks.extract import retry
from tasks.errors import PipelineError
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.streams import MEMBERS, Scope
retry.MAX_TRIES = 2
try:
    with authenticate.fn(None) as session:
        found = fetch_pages.fn(session, Scope(MEMBERS, sys.argv[1]), Path(tempfile.mkdtemp(dir=sys.argv[2]))).rows
except PipelineError as error:
    found = type(error).__name__
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(found, int(peak.split()[1]) // 1024)
"""


def fetch(folder: Path) -> RawSnapshot:
    with authenticate.fn(None) as session:
        return fetch_pages.fn(session, Scope(MEMBERS, DEPARTMENT), folder)


def page_of(*users: Any, **more: Any) -> bytes:
    return json.dumps({"totalItems": len(users), "users": users, **more}).encode()


ENDLESS = b"HTTP/1.1 100 Continue\r\n\r\n" * 40
DRIPS: dict[str, Fault] = {
    "the body": faults.drip(0.2, times=None),
    "the headers": faults.drip(0.2, headers=True, times=None),
    "a chunked body": faults.drip(0.2, chunked=True, times=None),
    "provisional answers": faults.on(
        lambda call: Answer(200, b"{}", drip_s=0.05, drip_headers=True, before=ENDLESS), times=None
    ),
    "the token": faults.drip(0.2, path="/authenticate", times=None),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS.keys())
def test_an_answer_that_drips_ends_at_the_deadline(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drip: Fault
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", (1.0, 0.6))
    monkeypatch.setattr(retry, "MAX_TRIES", 2)
    lms.add_people(3)
    lms.inject(drip)
    began = time.monotonic()
    with pytest.raises(LmsUnavailable, match="no answer in time"):
        fetch(tmp_path)
    assert time.monotonic() - began < 6


def test_an_answer_that_is_slow_but_in_time_is_read(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.inject(faults.drip(0.001, chunked=True, times=None))
    lms.add_people(2)
    assert fetch(tmp_path).rows == 2


def bomb() -> bytes:
    """2 GB of blanks in a few MB."""
    return gzip.compress(b" " * (4 << 20)) * 500


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def members(users: bytes) -> bytes:
    return gzip.compress(b'{"totalItems":1,"users":[%b{"id":"a"}]}' % users, 1)


def keys(wrap: Callable[[dict[str, int]], dict[str, Any]]) -> bytes:
    return page_of(*({"id": f"{n}", **wrap({f"k{n}-{k}": 1 for k in range(300)})} for n in range(300)))


GZIP = {"Content-Encoding": "gzip"}
MANY_COOKIES = {f"Set-Cookie: a{n}=b; X-{n}": "y" * 60_000 for n in range(90)}
BODIES: dict[str, tuple[Callable[[], bytes], dict[str, str], str]] = {
    "gzip of 2 GB": (bomb, GZIP, "LmsUnavailable"),
    "gzip of 2 GB in chunks": (lambda: chunked(bomb()), {**GZIP, "Transfer-Encoding": "chunked"}, "LmsUnavailable"),
    "gzip of gzip": (lambda: gzip.compress(bomb()), {"Content-Encoding": "gzip, gzip"}, "LmsUnavailable"),
    "deflate": (lambda: zlib.compress(b" " * (400 << 20), 1), {"Content-Encoding": "deflate"}, "LmsUnavailable"),
    "millions of values": (lambda: members(b'{"id":"b","x":[%b0]},' % (b"[]," * 20_000_000)), GZIP, "IncompleteSnapshot"),
    "millions of members": (lambda: members(b'{"id":"b"},' * 5_000_000), GZIP, "IncompleteSnapshot"),
    "one long text": (lambda: members(b'{"id":"b","x":"%b\\ud83d\\ude00"},' % (b"x" * (40 << 20))), GZIP, "IncompleteSnapshot"),
    "one long text that just fits": (lambda: members(b'{"id":"b","x":"%b\\ud83d\\ude00"},' % (b"x" * (20 << 20))), GZIP, "IncompleteSnapshot"),
    "one long text of ASCII that just fits": (lambda: members(b'{"id":"b","x":"%b"},' % (b"x" * (42 << 20))), GZIP, "IncompleteSnapshot"),
    "one long text of ASCII": (lambda: members(b'{"id":"b","x":"%b"},' % (b"x" * (63 << 20))), GZIP, "IncompleteSnapshot"),
    "one long text that looks like a repeated key": (lambda: members(b'{"id":"b","x":"%b"},' % (b'\\":' * (9 << 20))), GZIP, "IncompleteSnapshot"),
    "keys by the thousand": (lambda: keys(lambda some: some), {}, "IncompleteSnapshot"),
    "keys of objects by the thousand": (lambda: keys(lambda some: {"o": some}), {}, "IncompleteSnapshot"),
    "cookies": (lambda: page_of({"id": "a", "departmentId": DEPARTMENT}), MANY_COOKIES, "1"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_no_body_takes_the_run_beyond_its_memory(lms: SimulatedLms, tmp_path: Path, name: str) -> None:
    made, headers, expected = BODIES[name]
    body = made()
    lms.inject(faults.on(lambda call: Answer(200, body, headers), times=None))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, DEPARTMENT, tmp_path],
        env={**lms.environment(), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=170, check=True,
    )  # fmt: skip
    found, peak = done.stdout.split()[-2:]
    assert (found, int(peak) < PEAK_MB) == (expected, True), peak


def test_a_body_of_nearly_the_most_is_read(lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_BODY", 4 << 20)
    lms.add({**person(1), "notes": "n" * (3 << 20)})
    assert fetch(tmp_path).rows == 1
    lms.add({**person(2), "notes": "n" * (3 << 20)})
    monkeypatch.setattr(retry, "MAX_TRIES", 2)
    with pytest.raises(LmsUnavailable, match="a body of more than 4 MB"):
        fetch(tmp_path)


def test_large_bodies_of_many_connections_do_not_wait_for_each_other_for_ever(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_BODY", 1 << 20)
    monkeypatch.setenv("LMS_PAGE_SIZE", "2")
    for number in range(40):
        lms.add({**person(number), "notes": "n" * 100_000})
    assert fetch(tmp_path).rows == 40


TOTALS = [2147483647, 10**18, -1, -(2**63), 65_536 * 20]


@pytest.mark.parametrize("total", TOTALS)
def test_a_total_that_cannot_be_ends_at_the_first_page_that_cannot_be(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    monkeypatch.setenv("LMS_PAGE_SIZE", "20")
    lms.add_people(60)
    lms.inject(faults.envelope(lambda content: content.update(totalItems=total)))
    with pytest.raises(IncompleteSnapshot, match="on the last of 3 attempts"):
        fetch(tmp_path)
    assert len(lms.requests) < 70


def test_a_total_that_cannot_be_once_is_survived(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_PAGE_SIZE", "20")
    lms.add_people(60)
    lms.inject(faults.envelope(lambda content: content.update(totalItems=4_999_000), page=0, times=1))
    raw = fetch(tmp_path)
    assert (raw.rows, raw.sweeps) == (60, 2)


def test_an_empty_first_page_is_not_blamed_on_the_page_size(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(3)
    lms.inject(faults.short_page(0))
    with pytest.raises(IncompleteSnapshot, match="page 0 is empty"):
        fetch(tmp_path)
