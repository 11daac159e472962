"""What an exception of one exchange with the LMS means: a wrong setting, or what another try may cure."""

import http.client

import requests
import urllib3.exceptions as urllib3_errors

from tasks.errors import ConfigError
from tasks.extract.retry import Unusable
from tasks.library_errors import causes, connection_problem

HTTP_ERRORS = (OSError, urllib3_errors.HTTPError, http.client.HTTPException, ValueError)
"""Everything that `requests` raises for one exchange; its own exceptions are OSErrors."""
TIMEOUTS = (TimeoutError, requests.exceptions.Timeout, urllib3_errors.ReadTimeoutError)


def http_trouble(error: BaseException, address: str) -> Unusable | ConfigError:
    """What is to be raised for an exchange with the LMS at `address` that failed: Unusable is tried again."""
    found = list(causes(error))
    if problem := connection_problem(found, "REST_API_URL", "REQUESTS_CA_BUNDLE"):
        return ConfigError(f"{address}: {problem}")
    if any(isinstance(each, TIMEOUTS) for each in found):
        return Unusable("no answer in time")
    return Unusable(f"the connection failed ({type(error).__name__})")
