"""What a server can do wrong. A fault sees each request and may change what becomes of it.

A fault is any callable `(Call) -> Answer | None`. It may put other bytes into the answer, tell the
server to cut the connection, wait, or first do something to the members. None lets the next fault,
and in the end the faithful answer, have its turn.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.lms import SimulatedLms


@dataclass
class Answer:
    """What goes over the wire.

    Attributes:
        cut: how many bytes of the body go before the connection ends.
        drip_s: seconds before each byte of the body; of the headers too with `drip_headers`.
        before: bytes that go before the status line.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    drip_s: float = 0.0
    drip_headers: bool = False
    before: bytes = b""


@dataclass
class Call:
    """One request, and `answer`, which makes the faithful answer to it."""

    lms: "SimulatedLms"
    method: str
    path: str
    page: int | None
    answer: Callable[[], Answer]


Fault = Callable[[Call], Answer | None]


def on(
    act: Callable[[Call], Answer | None],
    *,
    page: int | None = None,
    path: str = "/users",
    times: int | None = 1,
    after: int = 0,
) -> Fault:
    """`act` for the requests that match: at most `times` of them, once `after` of them have passed."""
    lock = threading.Lock()
    seen = 0

    def fault(call: Call) -> Answer | None:
        nonlocal seen
        if call.path != path or (page is not None and call.page != page):
            return None
        with lock:
            seen += 1
            if seen <= after or (times is not None and seen > after + times):
                return None
        return act(call)

    return fault


def status(
    code: int, body: bytes = b'{"message":"sandbox"}', headers: dict[str, str] | None = None, **when: Any
) -> Fault:
    """Answer with that status."""
    return on(lambda call: Answer(code, body, headers or {}), **when)


def transient_401(**when: Any) -> Fault:
    """Refuse a good token."""
    return status(401, b'{"message":"Authorization has been denied for this request."}', **when)


def html(**when: Any) -> Fault:
    """A proxy's page, with status 200."""
    return status(200, b"<html><body>Maintenance</body></html>", {"Content-Type": "text/html"}, **when)


def cut_json(**when: Any) -> Fault:
    """Half a body that claims to be whole."""

    def act(call: Call) -> Answer:
        answer = call.answer()
        return Answer(answer.status, answer.body[: len(answer.body) // 2])

    return on(act, **when)


def cut_connection(sent: int = 0, **when: Any) -> Fault:
    """End the connection after that many bytes of the body; with 0, before anything is said."""

    def act(call: Call) -> Answer:
        answer = call.answer()
        return Answer(answer.status, answer.body, cut=sent)

    return on(act, **when)


def delay(seconds: float, **when: Any) -> Fault:
    """Answer late."""
    return on(lambda call: time.sleep(seconds), **when)


def drip(seconds: float, *, headers: bool = False, chunked: bool = False, **when: Any) -> Fault:
    """One byte of the body, or of the headers too, every so many seconds."""

    def act(call: Call) -> Answer:
        answer = call.answer()
        answer.drip_s, answer.drip_headers = seconds, headers
        if chunked:
            answer.headers["Transfer-Encoding"] = "chunked"
            answer.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer.body), answer.body)
        return answer

    return on(act, **when)


def chunks(body: bytes, **when: Any) -> Fault:
    """Status 200 and these bytes as a chunked body; then the connection ends."""
    return on(lambda call: Answer(200, body, {"Transfer-Encoding": "chunked"}, cut=len(body)), **when)


def steal_session(**when: Any) -> Fault:
    """Somebody else signs in with the same account just before this request."""
    return on(lambda call: call.lms.steal_session(), **when)


def before(action: Callable[[], object], **when: Any) -> Fault:
    """Do something to the members just before this request is answered."""

    def act(call: Call) -> None:
        action()

    return on(act, **when)


def envelope(change: Callable[[dict[str, Any]], None], *, times: int | None = None, **when: Any) -> Fault:
    """Change the envelope of an answer: `change` gets it as a dict."""

    def act(call: Call) -> Answer:
        answer = call.answer()
        if answer.status != 200:
            return answer
        content = json.loads(answer.body)
        change(content)
        return Answer(200, json.dumps(content).encode())

    return on(act, times=times, **when)


def without(name: str, **when: Any) -> Fault:
    """An envelope that lacks `totalItems`, `users` or another key."""
    return envelope(lambda content: content.pop(name, None), **when)


def wrong_total(by: int, **when: Any) -> Fault:
    """A total that lies."""
    return envelope(lambda content: content.update(totalItems=content["totalItems"] + by), **when)


def short_page(to: int, **when: Any) -> Fault:
    """A page that holds fewer members than it should, without a word."""
    return envelope(lambda content: content.update(users=content["users"][:to], returnedItems=to), **when)
