"""A simulated Absorb LMS: a real HTTP server with the API's habits, and faults on demand.

One live token per user, `_offset` as a page number, pages of 20 unless asked otherwise and of 1,000
at most, the department filter, `username` order, GUIDs in either case, keys that are null or absent.

    python -m sandbox.lms --members 100000 --latency 0.2
"""

import argparse
import json
import re
import secrets
import socket
import sys
import threading
import time
import uuid
from bisect import insort
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from sandbox.courses import NAME, Courses
from sandbox.faults import Answer, Call, Fault
from sandbox.people import DEPARTMENT, department, person

USERNAME = "pipeline@example.org"
PASSWORD = "lms-p@ss:w/o%r#d?&' é"
PRIVATE_KEY = "7d3b4f10-5b7e-4b36-8f0a-2f6f3c1f9e55"
DENIED = b'{"message":"Authorization has been denied for this request."}'
WRONG_PATH = b'{"message":"not a valid key=value pair (missing equal-sign) in Authorization header"}'
DEPARTMENT_FILTER = re.compile(
    r"departmentId eq guid'(?P<id>[0-9a-f-]{36})'(?: and dateEdited ge datetime'(?P<since>[^']+)')?", re.IGNORECASE
)


class SimulatedLms:
    """The server and its members. Every method may be called while it serves.

    Attributes:
        members: id (lower case) to the member as it is sent.
        courses: the courses and their enrollments.
        departments: those that exist, each as it is listed.
        denied: ids of departments whose members the account may not read.
        reads_below: whether the filter by a department also gives the members of those below it, which is contested.
        faults: asked in turn for each request; see `sandbox.faults`.
        requests: method, path, page and status of each request answered.
    """

    def __init__(self, members: int = 0, *, port: int = 0, latency_s: float = 0.0, page_cap: int = 1000) -> None:
        self.password = PASSWORD
        self.login_refused_status = 401
        self.strict_bearer = False
        self.announce_cap = True
        self.page_cap = page_cap
        self.latency_s = latency_s
        self.members: dict[str, dict[str, Any]] = {}
        self.courses = Courses()
        self.departments = {DEPARTMENT: department("Sandbox")}
        self.denied: set[str] = set()
        self.reads_below = False
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int | None, int]] = []
        self.sign_ins = 0
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.RLock()
        self._rendered: dict[str, bytes] = {}
        self._order: dict[str, list[tuple[str, str]]] = {}
        self._token = ""
        self._seed = 0
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.lms = self
        self.add_people(members)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """The pipeline's names for this LMS."""
        return {
            "REST_API_URL": self.url,
            "LMS_USERNAME": USERNAME,
            "LMS_PASSWORD": PASSWORD,
            "LMS_PRIVATE_KEY": PRIVATE_KEY,
            "DEPARTMENT_ID": DEPARTMENT,
        }

    def inject(self, *faults: Fault) -> None:
        """Add faults, to be asked before the faithful answer."""
        self.faults.extend(faults)

    def add_department(self, name: str, parent: str | None = None) -> str:
        """Add a department; its id."""
        made = department(name, parent, str(uuid.uuid4()))
        self.departments[made["id"]] = made
        return str(made["id"])

    # Members

    def add_people(self, count: int, department: str = DEPARTMENT) -> list[str]:
        """Add fictional members; their ids."""
        added = [self.add(person(self._seed + number, department)) for number in range(count)]
        self._seed += count
        return added

    def add(self, member: dict[str, Any]) -> str:
        """Add a member, or replace the one with its id; the id in lower case."""
        member_id = str(member["id"]).lower()
        with self._lock:
            self.remove(member_id)
            self.members[member_id] = member
            self._rendered[member_id] = msgspec.json.encode(member)
            insort(self._order.setdefault(_department(member), []), (_sort_key(member), member_id))
        return member_id

    def add_raw(self, member_id: str, body: bytes, department: str = DEPARTMENT) -> str:
        """Add a member as the very bytes that go over the wire."""
        self.add({"id": member_id, "departmentId": department, "username": f"raw.{member_id}"})
        self._rendered[member_id.lower()] = body
        return member_id.lower()

    def edit(self, member_id: str, **fields: Any) -> None:
        """Change some fields, and `dateEdited` with them."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._lock:
            self.add({**self.members[member_id], "dateEdited": now, **fields})

    def remove(self, member_id: str) -> dict[str, Any] | None:
        """The member is gone, as if deleted or moved out of sight."""
        with self._lock:
            member = self.members.pop(member_id, None)
            if member is not None:
                self._order[_department(member)].remove((_sort_key(member), member_id))
                del self._rendered[member_id]
        return member

    # Requests

    def steal_session(self) -> None:
        """Somebody else signs in with the same account: the live token is another one now."""
        self._token = secrets.token_urlsafe(24)

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """What the API answers, once the faults have had their turn."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        offset = query.get("_offset", "0")
        listed = parts.path == "/users" or parts.path.endswith("/enrollments")
        page = int(offset) if listed and offset.isdigit() else None
        if self.latency_s:
            time.sleep(self.latency_s)

        def faithful() -> Answer:
            return self._faithful(method, parts.path, query, headers, body)

        call = Call(self, method, parts.path, page, faithful)
        for fault in list(self.faults):
            if (answer := fault(call)) is not None:
                break
        else:
            answer = faithful()
        self.requests.append((method, parts.path, page, answer.status))
        return answer

    def _faithful(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("POST", "/authenticate"): lambda: self._authenticate(body),
            ("GET", "/users"): lambda: self._users(query),
            ("GET", "/departments"): lambda: self._list_departments(query),
            ("GET", "/my-details"): lambda: Answer(200, b'{"username":"pipeline@example.org"}'),
        }
        # the gateway in front of the LMS looks at the key before anything else
        if headers.get("x-api-key") != PRIVATE_KEY:
            return Answer(403, b'{"message":"Forbidden"}')
        route = routes.get((method, path)) or (self._route_by_id(path, query) if method == "GET" else None)
        if route is None:
            return Answer(403, WRONG_PATH)
        if path != "/authenticate" and not self._is_signed_in(headers.get("Authorization", "")):
            return Answer(401, DENIED)
        return route()

    def _route_by_id(self, path: str, query: dict[str, str]) -> Callable[[], Answer] | None:
        kind, _, rest = path.removeprefix("/").partition("/")
        item, _, below = rest.partition("/")
        if (kind, below) == ("departments", ""):
            return partial(self._department, item)
        if (kind, below) == ("users", ""):
            return partial(self._user, item)
        if (kind, below) == ("courses", ""):
            return partial(self._course, item)
        if (kind, below) == ("courses", "enrollments"):
            return partial(self._enrollments, item, query)
        return None

    def _authenticate(self, body: bytes) -> Answer:
        try:
            # the LMS takes the names of these fields in any letter case
            given = {name.lower(): value for name, value in json.loads(body).items()}
        except (ValueError, AttributeError):
            return _error(400, "The request is invalid.")
        if any(not given.get(name) for name in ("username", "password", "privatekey")):
            return _error(400, "The request is invalid.")
        if (given["username"], given["password"], given["privatekey"]) != (USERNAME, self.password, PRIVATE_KEY):
            return _error(self.login_refused_status, "Login failed.")
        with self._lock:
            self.sign_ins += 1
            self.steal_session()
            return Answer(200, json.dumps(self._token).encode())

    def _is_signed_in(self, authorization: str) -> bool:
        # some portals also take the bare token
        given = authorization if self.strict_bearer else authorization.removeprefix("Bearer ")
        return bool(self._token) and given == ("Bearer " if self.strict_bearer else "") + self._token

    def _users(self, query: dict[str, str]) -> Answer:
        asked, offset = query.get("_limit", "20"), query.get("_offset", "0")
        found = DEPARTMENT_FILTER.fullmatch(query.get("_filter", ""))
        # the LMS answers 422 to a page size above 1,000, and to a filter that it cannot read
        numbers = asked.isdigit() and offset.isdigit() and 1 <= int(asked) <= 1000 and int(offset) <= 65535
        if found is None or not numbers:
            return _error(422, "Submitted resource cannot be processed due to semantic errors")
        if found["id"].lower() in self.denied:
            return Answer(403, b'{"message":"Forbidden"}')
        limit, page = min(int(asked), self.page_cap), int(offset)
        with self._lock:
            order = self._members_of(found["id"].lower())
            if found["since"]:
                order = [entry for entry in order if self.members[entry[1]]["dateEdited"] >= found["since"]]
            users = [self._rendered[member_id] for _, member_id in order[page * limit : (page + 1) * limit]]
        shown = limit if self.announce_cap else int(asked)
        head = f'{{"totalItems":{len(order)},"returnedItems":{len(users)},"limit":{shown},"offset":{page},"users":['
        return Answer(200, head.encode() + b",".join(users) + b"]}")

    def _user(self, user: str) -> Answer:
        found = self._rendered.get(user.lower())
        return _error(404, "Resource not found") if found is None else Answer(200, found)

    def _course(self, course: str) -> Answer:
        if course.lower() not in self.courses.enrollments:
            return _error(404, "Resource not found")
        return Answer(200, json.dumps({"id": course, "name": NAME}).encode())

    def _enrollments(self, course: str, query: dict[str, str]) -> Answer:
        asked, offset = query.get("_limit", "20"), query.get("_offset", "0")
        known = query.keys() <= {"_limit", "_offset"}  # whether a course's list takes _filter or _sort is not known
        if not (known and asked.isdigit() and offset.isdigit() and 1 <= int(asked) <= 1000 and int(offset) <= 65535):
            return _error(422, "Submitted resource cannot be processed due to semantic errors")
        limit = min(int(asked), self.page_cap)
        page = self.courses.page(course, limit, int(offset), limit if self.announce_cap else int(asked))
        return _error(404, "Resource not found") if page is None else Answer(200, page)

    def _members_of(self, department_id: str) -> list[tuple[str, str]]:
        order = list(self._order.get(department_id, []))
        if self.reads_below:
            below = [key for key, each in self.departments.items() if str(each["parentId"]).lower() == department_id]
            order = sorted([*order, *(entry for key in below for entry in self._members_of(key))])
        return order

    def _department(self, department_id: str) -> Answer:
        found = self.departments.get(department_id.lower())
        return _error(404, "Resource not found") if found is None else Answer(200, json.dumps(found).encode())

    def _list_departments(self, query: dict[str, str]) -> Answer:
        limit, page = int(query.get("_limit", "20")), int(query.get("_offset", "0"))
        part = list(self.departments.values())[page * limit : (page + 1) * limit]
        counts = {"totalItems": len(self.departments), "returnedItems": len(part), "limit": limit, "offset": page}
        return Answer(200, json.dumps({**counts, "departments": part}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # socketserver's 5 is too few for clients that all connect at once
    lms: SimulatedLms

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # http.server's 1.0 closes the connection after each answer
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lms = self.server.lms
        with lms._lock:
            lms.in_flight += 1
            lms.most_in_flight = max(lms.most_in_flight, lms.in_flight)
        try:
            answer = lms.answer(self.command, self.path, self.headers, body)
        finally:
            with lms._lock:
                lms.in_flight -= 1
        if answer.cut is not None:
            self.close_connection = True
            if answer.cut == 0:
                return
        length = {} if "Transfer-Encoding" in answer.headers else {"Content-Length": str(len(answer.body))}
        headers = {"Content-Type": "application/json", **length, **answer.headers}
        head = f"HTTP/1.1 {answer.status} Sandbox\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        whole = answer.before + head.encode() + answer.body[: answer.cut]
        at_once = len(whole) if not answer.drip_s else 0 if answer.drip_headers else len(answer.before) + len(head)
        self.wfile.write(whole[:at_once])
        for byte in whole[at_once:]:
            time.sleep(answer.drip_s)
            self.wfile.write(bytes((byte,)))

    do_GET = do_POST = _respond

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept in `requests`, not printed."""


def _department(member: dict[str, Any]) -> str:
    return str(member.get("departmentId")).lower()


def _sort_key(member: dict[str, Any]) -> str:
    # the LMS sorts by user name unless asked otherwise
    return str(member.get("username") or "").lower()


def _error(status: int, message: str) -> Answer:
    content = {"validations": [], "code": status, "message": message, "term": "ErrorGeneric", "_meta": {}}
    return Answer(status, json.dumps(content).encode())


def main() -> None:
    """Serve until standard input closes; the first line printed is the environment, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=3000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with SimulatedLms(options.members, port=options.port, latency_s=options.latency) as lms:
        sys.stdout.write(json.dumps(lms.environment()) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
