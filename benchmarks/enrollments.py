"""Loads 100,000 course enrollments twice, from a plain HTTP server, not the sandbox's LMS; compares every value."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sandbox.courses import COURSE, NAME, enrollment
from sandbox.stack import Sandbox

PAGE = 1000
TEXTS = ("courseName", "timeSpent")
GUIDS = ("userId", "courseVersionId")
NUMBERS = ("status", "progress", "score", "credits", "timeSpentTicks")
TIMES = ("dateAdded", "dateEdited", "dateStarted", "dateCompleted", "dateDue")
COLUMNS = (
    "lms_enrollment_id::text", "course_id::text", "course_name", "time_spent", "lms_user_id::text",
    "course_version_id::text", "status", "progress", "score", "credits", "time_spent_ticks", "is_active",
    "accepted_terms_and_conditions",
)  # fmt: skip
MOMENTS = ("date_added", "date_edited", "date_started", "date_completed", "date_due")
IN_UTC = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
STORED = f"SELECT {', '.join((*COLUMNS, *map(IN_UTC.format, MOMENTS)))} FROM course_enrollments"


class PlainLms(ThreadingHTTPServer):
    """Accepts every sign-in, and serves pages that were rendered in advance."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, enrollments: list[dict[str, Any]]) -> None:
        total = len(enrollments)
        self.pages = [
            json.dumps(
                {"totalItems": total, "returnedItems": len(part), "limit": PAGE, "offset": page, "enrollments": part}
            ).encode()
            for page, part in enumerate(parts(enrollments))
        ]
        super().__init__(("127.0.0.1", 0), Pages)


def parts(enrollments: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The pages, and an empty one after the last."""
    for start in range(0, len(enrollments) + PAGE, PAGE):
        yield enrollments[start : start + PAGE]


class Pages(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: PlainLms

    def answer(self, body: bytes) -> None:
        """Send a response."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Accept every sign-in."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'"a-token"')

    def do_GET(self) -> None:
        """Send the page that was asked for, or the course's name."""
        query = parse_qs(urlsplit(self.path).query)
        named = json.dumps({"id": COURSE, "name": NAME}).encode()
        self.answer(self.server.pages[int(query["_offset"][0])] if query else named)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def measure_enrollments(count: int = 100_000) -> list[tuple[str, float, float]]:
    """What was run, how many seconds it took as a script, and its peak memory in MB.

    Raises:
        RuntimeError: a value in the table is not what was sent.
    """
    sent = [enrollment(number, f"00000000-0000-4000-8000-{number:012d}") for number in range(1, count + 1)]
    found = []
    with Sandbox() as box, PlainLms(sent) as lms:
        threading.Thread(target=lms.serve_forever, daemon=True).start()
        env = {"REST_API_URL": f"http://127.0.0.1:{lms.server_port}", "COURSE_ID": COURSE}
        for what in ("all new", "nothing changed"):
            found.append((f"course_sync of {count:,} enrollments, {what}", *sync(box, env)))
            compare(box, sent)
        [(counts,)] = box.query("SELECT array_agg(ARRAY[inserted, updated, unchanged] ORDER BY load_id) FROM lms_loads")
        if counts != [[count, 0, 0], [0, 0, count]]:
            raise RuntimeError(f"expected all inserted, then all unchanged, found {counts}")
        lms.shutdown()
    return found


def sync(box: Sandbox, env: dict[str, str]) -> tuple[float, float]:
    """Run the flow as a script; return its seconds and its peak memory in MB."""
    began = time.perf_counter()
    command = box.command("flows/course_sync.py", "--create-table", env=env)
    process = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_mb = 0.0
    while process.poll() is None:  # of this process only: its rusage includes the Prefect server that it starts
        with suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            peak_mb = max([peak_mb, *(int(kb) / 1024 for kb in re.findall(r"VmHWM:\s+(\d+) kB", status))])
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError("course_sync failed")
    return time.perf_counter() - began, peak_mb


def compare(box: Sandbox, sent: list[dict[str, Any]]) -> None:
    """Raise RuntimeError unless the table holds every value as it was sent."""
    stored = {row[0]: row[1:] for row in box.query(STORED)}
    if stored != {each["id"].lower(): expected(each) for each in sent}:
        raise RuntimeError("the table does not hold what was sent")


def expected(each: dict[str, Any]) -> tuple[Any, ...]:
    """One enrollment as STORED returns it."""
    numbers = (None if each[key] is None else Decimal(str(each[key])) for key in NUMBERS)
    guids = (None if each[key] is None else each[key].lower() for key in GUIDS)
    return (
        COURSE, *(each[key] for key in TEXTS), *guids, *numbers, each["isActive"], each["acceptedTermsAndConditions"],
        *(moment(each[key]) for key in TIMES),
    )  # fmt: skip


def moment(text: str | None) -> str | None:
    """
    >>> moment("2026-01-05T09:00:00.1234567Z"), moment("2026-01-06T00:00:00")
    ('2026-01-05T09:00:00.123456', '2026-01-06T00:00:00.000000')
    """
    if text is None:
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return f"{whole}.{fraction[:6]:0<6}"
