"""The session with the LMS: one token, reused connections, and the only layer that retries requests.

Absorb keeps one live token per account: each sign-in ends the session before it. So a run signs in
once, every thread uses that token, and a 401 leads to a new sign-in only when the token that failed
is still the newest one known here. Transient 401s exist too (absorb-api, "Pitfalls").
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from blocks.lms import LmsAccount
from tasks.errors import AuthError, ConfigError, LmsUnavailable
from tasks.extract.exchange import PIECE, BodyReader, http_session
from tasks.extract.http_errors import HTTP_ERRORS, http_trouble
from tasks.extract.retry import RetryBudget, Unusable, jitter, retry_after_s
from tasks.log import Logger, run_logger

TIMEOUT_S = (5.0, 60.0)  # to connect, and for the whole answer; 1,000 members can take a tenant 30 s and more
OPTIONAL_TIMEOUT_S = (5.0, 10.0)
MAX_SIGN_INS_PER_PAGE = 3
MAX_SIGN_INS_A_RUN = 10
LONGEST_TOKEN = 8192
TOKEN = re.compile(r"[!-~]+")  # what an Authorization header can carry
# 408 and 425 say by themselves that the same request may be sent again.
RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
# Only these say that the address has changed for good; any other redirect may pass, so the request is tried again.
PERMANENT_REDIRECTS = {301, 308}

T = TypeVar("T")


class LmsSession:
    """A signed-in account. Threads may share it; its repr shows no token.

    Args:
        account: the block that holds address, user name, password and key.
    """

    def __init__(self, account: LmsAccount) -> None:
        self.account = account
        self.sign_ins = 0
        self.retries = 0
        self.stop = threading.Event()
        self.log = run_logger()
        self._token = ""
        self._is_in_doubt = False
        self._lock = threading.Lock()
        self._http = http_session(account.max_connections)
        self._bodies = BodyReader(account.max_connections)

    def __repr__(self) -> str:
        return f"LmsSession({self.account.rest_api_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def begin(self, log: Logger) -> None:
        """Prepare the session for a new task, so that a failure of the previous task does not stop this one."""
        self.log = log
        self.stop = threading.Event()

    def close(self) -> None:
        """End the waiting of every thread and close the connections."""
        self.stop.set()
        self._http.close()

    def sign_in(self) -> None:
        """Fetch a new token; the account's previous token stops working.

        Raises:
            AuthError: the account or key was refused. Tried once: a wrong password stays wrong.
            LmsUnavailable: no usable answer in the tries and time allowed.
        """
        budget = RetryBudget(self.stop, self.log)
        while True:
            try:
                self._token = self._authenticate()
                self.sign_ins += 1
                return
            except Unusable as reason:
                budget.wait(reason, "POST /authenticate")
                self._count_retry()

    def get(
        self, path: str, params: dict[str, Any], decode: Callable[[bytes], T], what: str, *, optional: bool = False
    ) -> T:
        """What `decode` makes of the body of one GET; a body that is not whole JSON is asked for again.

        Args:
            decode: raises msgspec.DecodeError or UnicodeDecodeError for a body that is cut or not JSON.
            what: names the request in messages: "department …, page 3".
            optional: the run can do without it, so it is tried once, briefly, and by the token that there is.

        Raises:
            AuthError: the key or the permission was refused, or every new token was.
            ConfigError: the LMS refuses this very request; it is not repeated.
            LmsUnavailable: no usable answer in the tries and time allowed; less time after a page that was given up.
        """
        budget = RetryBudget(self.stop, self.log, 1 if optional else None, self._is_in_doubt)
        tokens = self._tokens(what, may_renew=not optional)
        timeout_s = OPTIONAL_TIMEOUT_S if optional else TIMEOUT_S
        token = next(tokens)
        while True:
            try:
                with ExitStack() as body_slot:
                    status, body = self._read(path, params, token, body_slot, timeout_s)
                    if status == 200:
                        whole = decode_whole(body, decode)
                        self._is_in_doubt = False
                        return whole
            except Unusable as reason:
                self._wait(budget, reason, what)
            else:  # refused with 401
                token = next(tokens)
            self._count_retry()

    def _wait(self, budget: RetryBudget, reason: Unusable, what: str) -> None:
        """Wait before the next try; if there is none, less time is spent on the next request."""
        try:
            budget.wait(reason, what)
        except LmsUnavailable:
            self._is_in_doubt |= budget.most is None and not self.stop.is_set()
            raise

    def _tokens(self, what: str, *, may_renew: bool = True) -> Iterator[str]:
        """The token for one request, and the next one to try each time that the LMS refuses it.

        The same once more, since 401s can be transient; then one that another thread has fetched meanwhile, else a new
        one.

        Raises:
            AuthError: too many new ones were refused.
        """
        token, renewals = self._token, 0
        while True:
            yield token
            if self._token == token:
                # the LMS also sends transient 401s: try the same token once more before signing in
                self.stop.wait(jitter(0.2, 0.8))
                yield token
            if not may_renew:
                raise AuthError(f"{what}: the token was refused, and no new one is fetched for this.")
            if self._token == token:
                if renewals == MAX_SIGN_INS_PER_PAGE:
                    raise AuthError(
                        f"{what}: {renewals} new tokens in a row were refused. Is a person or another job using this "
                        "account? Give the pipeline its own account."
                    )
                self._renew(token)
                renewals += 1
            token = self._token

    def _renew(self, refused: str) -> None:
        with self._lock:
            if self._token != refused:
                return
            # `>`: the run's first sign-in is no renewal
            if self.sign_ins > MAX_SIGN_INS_A_RUN:
                raise AuthError(
                    f"{self.account.rest_api_url}: the session was ended {MAX_SIGN_INS_A_RUN} times by other "
                    "sign-ins. A person or another job is using this account; give the pipeline its own account."
                )
            # Two runs that steal each other's session: the longer each waits, the sooner one gets through.
            self.stop.wait(jitter(0, min(15.0, 0.25 * 2**self.sign_ins)))
            self.log.warning("another sign-in ended the session; signing in again")
            self.sign_in()

    def _count_retry(self) -> None:
        with self._lock:
            self.retries += 1

    def _headers(self) -> dict[str, str | bytes]:
        key = self.account.private_key.get_secret_value()
        # bytes, since http.client would encode text as Latin-1
        # Without x-api-version the LMS chooses a version itself, and which one is not documented.
        return {"x-api-key": key.encode(), "x-api-version": "2", "Accept": "application/json"}

    def _authenticate(self) -> str:
        credentials = {
            "username": self.account.username,
            "password": self.account.password.get_secret_value(),
            "privateKey": self.account.private_key.get_secret_value(),
        }
        with ExitStack() as body_slot:
            status, body = self._exchange(
                "POST", "/authenticate", body_slot, headers=self._headers(), json=credentials, timeout=TIMEOUT_S
            )
        # Portals differ: bad credentials give 400 or 401, and the key of another portal 403.
        if status in (400, 401, 403):
            raise AuthError(
                f"{self.account.rest_api_url}/authenticate answered {status}: the user name, password or key was "
                "refused. Check LMS_USERNAME, LMS_PASSWORD and LMS_PRIVATE_KEY (or the lms-account block), and that "
                "they belong to the region of this address."
            )
        _refuse(status, body, f"{self.account.rest_api_url}/authenticate")
        return token_of(body)

    def _read(
        self, path: str, params: dict[str, Any], token: str, body_slot: ExitStack, timeout_s: tuple[float, float]
    ) -> tuple[int, bytes]:
        # `Bearer`, as the vendor prescribes: clients that sent the bare token met 401s when they read in parallel.
        headers = {**self._headers(), "Authorization": f"Bearer {token}".encode()}
        status, body = self._exchange("GET", path, body_slot, headers=headers, params=params, timeout=timeout_s)
        if status != 401:
            try:
                _refuse(status, body, f"{self.account.rest_api_url}{path}")
            except (AuthError, ConfigError) as error:
                raise error.about_one_scope() from None  # the account may still read others
        return status, body

    def _exchange(self, method: str, path: str, body_slot: ExitStack, **request: Any) -> tuple[int, bytes]:
        """One request and its complete body; raises Unusable if a retry may help.

        A large body keeps other large ones waiting until `body_slot` is closed.
        """
        url = self.account.rest_api_url + path
        try:
            # A redirect is not followed: requests would send x-api-key on to any host. The body is streamed, so that
            # its size and duration are bounded while it arrives.
            with self._http.request(method, url, allow_redirects=False, stream=True, **request) as response:
                status = response.status_code
                body = self._bodies.read(response.raw.stream(PIECE, decode_content=True), body_slot)
        except HTTP_ERRORS as error:
            raise http_trouble(error, self.account.rest_api_url) from None
        if status in RETRIED_STATUSES:
            raise Unusable(f"status {status}", retry_after_s(response.headers.get("Retry-After")))
        return status, body


def token_of(body: bytes) -> str:
    """The token that a sign-in answers, as a bare JSON string; Unusable for anything else."""
    try:
        # A longer body is cut here; its text then lacks the closing quote, so that it is no JSON.
        token = msgspec.json.decode(body[:LONGEST_TOKEN], type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        token = ""
    if not TOKEN.fullmatch(token):
        raise Unusable("status 200, but the body is not a token")
    return token


def _refuse(status: int, body: bytes, where: str) -> None:
    """Raise the error for a status that a retry cannot fix; the body is never shown, since it may contain anything."""
    if status == 200:
        return
    # what the LMS's gateway answers for a path that it does not know (WRONG_PATH in sandbox/lms.py)
    if status == 403 and b"missing equal-sign" in body:
        raise ConfigError(f"{where} is not a path of the LMS API (status 403). Check REST_API_URL.")
    if status == 403:
        raise AuthError(
            f"{where} answered 403: the key belongs to another portal, or the account may not read this. Check "
            "LMS_PRIVATE_KEY, its region and the account's role."
        )
    if status in PERMANENT_REDIRECTS:
        raise ConfigError(f"{where} answered {status}: the API has moved. Check REST_API_URL.")
    # 202, 204 and redirects come without a page, but another try may bring one.
    if status < 400 or status >= 500:
        raise Unusable(f"status {status}")
    error = ConfigError(
        f"{where} answered {status}; retrying would not help. Check REST_API_URL, the id and LMS_PAGE_SIZE."
    )
    error.status = status if body.lstrip().startswith(b"{") else None  # a proxy's page is no word of the LMS
    raise error


def decode_whole(body: bytes, decode: Callable[[bytes], T]) -> T:
    """What `decode` makes of a body, or Unusable where the body was cut or is not JSON."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unusable("status 200, but the body is not complete JSON") from None
