"""What an error from requests, urllib3, botocore or the operating system means: a wrong setting or a temporary fault.

A wrong setting at once becomes a ConfigError or AuthError that names it. Only temporary faults are retried: a server
that is down or slow, a connection that was cut. Messages are built from exception types, errno names and our
own words, since an exception's own text may quote a key, a password or a whole header.
"""

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions as urllib3_errors
from boto3.exceptions import Boto3Error
from botocore import exceptions as boto

from tasks.errors import AuthError, ConfigError, PipelineError, Unreachable

AWS_ERRORS = (boto.BotoCoreError, Boto3Error, OSError, ValueError)
"""Everything that boto3 raises for one call, a service's own answer (ClientError) excepted."""

AWS_FILES = "AWS_CA_BUNDLE, and the credential_process of the profile that AWS_PROFILE names"
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
MACHINE = {
    *DISK, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EMFILE, errno.ENFILE, errno.EINVAL, errno.EFBIG, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT,
}  # fmt: skip
"""Errors about this machine's own files and limits; all other OS errors are about another machine."""
# Not EAI_AGAIN: there a name server did not answer, which may pass.
NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
PROXY_PARTS = (urllib3_errors.ProxyError, requests.exceptions.ProxyError, boto.ProxyConnectionError)
BAD_PROXY = (
    requests.exceptions.InvalidProxyURL, urllib3_errors.ProxySchemeUnknown, urllib3_errors.ProxySchemeUnsupported,
    boto.InvalidProxiesConfigError,
)  # fmt: skip
BAD_HEADER = (requests.exceptions.InvalidHeader, urllib3_errors.InvalidHeader)
# The connection was cut off, which says nothing about a certificate.
PASSING_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
ANY_TLS = (ssl.SSLError, urllib3_errors.SSLError, requests.exceptions.SSLError, boto.SSLError)
# UnicodeError: Python cannot encode a host name with an empty part, or one of more than 63 characters.
BAD_ADDRESS = (
    requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema,
    urllib3_errors.LocationValueError, http.client.InvalidURL, UnicodeError,
)  # fmt: skip

NO_KEYS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError)
DEAD_LOGIN = (
    boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.SSOError, boto.LoginError,
    boto.RefreshWithMFAUnsupportedError,
)  # fmt: skip
NO_REGION = (boto.BaseEndpointResolverError, boto.InvalidRegionError, boto.UnknownRegionError)
PASSING_AWS = (
    boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.ChecksumError,
    boto.FlexibleChecksumError, boto.MetadataRetrievalError, boto.CapacityNotAvailableError,
)  # fmt: skip


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and every one that it was made of, whichever way its library keeps them."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        # urllib3 keeps the cause in `reason`, requests in args, botocore in `kwargs`
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        waiting += getattr(each, "kwargs", {}).values()


def aws_trouble(error: BaseException, target: object, service: str = "S3") -> PipelineError:
    """The error of our tree for what boto3 raised before or instead of a service's own answer."""
    found = list(causes(error))
    if isinstance(error, NO_KEYS):
        return ConfigError(
            f"{target}: no AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the "
            "instance a role, or save a block."
        )
    # an unreachable metadata service is temporary (PASSING_AWS), not a refused login
    if any(isinstance(each, DEAD_LOGIN) for each in found) and not isinstance(found[-1], boto.MetadataRetrievalError):
        return AuthError(
            f"{target}: AWS credentials could not be obtained ({type(error).__name__}). Sign in again (`aws sso "
            "login`), or check the profile that AWS_PROFILE names and its credential_process."
        )
    for kinds, words in _AWS_SETTINGS:
        if isinstance(error, kinds):
            return ConfigError(f"{target}: {words} ({type(error).__name__}).")
    if problem := connection_problem(found, "AWS_ENDPOINT_URL and AWS_DEFAULT_REGION", AWS_FILES):
        return ConfigError(f"{target}: {problem}")
    # either case of 'Invalid header value': http.client raises it as a plain ValueError
    if any(isinstance(each, BAD_HEADER) or "nvalid header" in str(each) for each in found):
        return ConfigError(
            f"{target}: AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or AWS_DEFAULT_REGION contains a line break. Copy it "
            "again."
        )
    if isinstance(error, (*PASSING_AWS, OSError)):
        return Unreachable(
            f"{target}: {service} cannot be reached ({type(error).__name__}). Nothing was changed; run again."
        )
    if isinstance(error, ValueError):
        return ConfigError(
            f"{target}: the AWS client rejected its settings ({type(error).__name__}). Check AWS_ENDPOINT_URL (an "
            "address like https://s3.example.org), AWS_CONTAINER_CREDENTIALS_FULL_URI, and the credential_process of "
            "the profile that AWS_PROFILE names."
        )
    return ConfigError(
        f"{target}: the AWS client rejected its settings ({type(error).__name__}). Check the AWS_ variables and the "
        "profile that AWS_PROFILE names."
    )


_AWS_SETTINGS: tuple[tuple[Any, str], ...] = (
    (boto.ProfileNotFound, "there is no AWS profile of that name. Check AWS_PROFILE"),
    (NO_REGION, "the AWS region is missing or invalid. Check AWS_DEFAULT_REGION"),
    (boto.ConfigParseError, "AWS's configuration file cannot be read. Check AWS_CONFIG_FILE"),
    (boto.EndpointProviderError, "no endpoint could be determined. Check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"),
    (boto.ConfigNotFound, "AWS's configuration file does not exist. Check AWS_CONFIG_FILE"),
)


def connection_problem(found: list[BaseException], address: str, bundle: str) -> str | None:
    """The wrong setting behind a failed connection, or None where another try may help.

    Args:
        found: the exception's `causes`.
        address: the settings that say where the server is.
        bundle: the setting that names a CA bundle.
    """
    if any(isinstance(each, BAD_PROXY) for each in found):
        return "the proxy's address is malformed. Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
    if any(isinstance(each, PROXY_PARTS) for each in found):
        # http.client gives the status of a refused CONNECT only in its text; a 5xx is temporary
        passing = any(re.search(r"Tunnel connection failed: 5\d\d", str(each)) for each in found)
        return None if passing else "the proxy refused the request. Check HTTPS_PROXY and NO_PROXY."
    if any(isinstance(each, PASSING_TLS) for each in found):
        return None
    if any(isinstance(each, ANY_TLS) for each in found):
        return f"its TLS certificate was not accepted. Check {address}, or name your CA bundle in {bundle}."
    if any(isinstance(each, BAD_ADDRESS) for each in found):
        return f"its address is malformed. Check {address}, and HTTPS_PROXY."
    if any(isinstance(each, socket.gaierror) and each.errno in NO_SUCH_HOST for each in found):
        return f"the host name cannot be resolved. Check {address}."
    return machine_problem(found, bundle)


def machine_problem(found: list[BaseException], bundle: str) -> str | None:
    """What this machine's own files and limits refused, or None."""
    for each in found:
        # requests raises a bare OSError without errno for a CA bundle that does not exist
        if type(each) is OSError and each.errno is None and "certificate" in str(each):
            return f"the CA bundle does not exist or cannot be read. Check {bundle}."
        if not isinstance(each, OSError) or each.errno not in MACHINE:
            continue
        name = errno.errorcode[each.errno]
        if each.errno in DISK:
            return full_disk(name)
        return (
            f"this machine refused access to a file, program or connection ({name}). Check {bundle}, TMPDIR and the "
            "process limits (ulimit)."
        )
    return None


def disk_error(error: BaseException) -> str | None:
    """The name of an error that says that a disk takes no more; SQLite has words of its own for it."""
    if isinstance(error, OSError) and error.errno in DISK:
        return errno.errorcode[error.errno]
    return "ENOSPC" if "database or disk is full" in str(error) else None


def full_disk(name: str) -> str:
    """The sentence for a temporary directory that takes no more."""
    return (
        f"the temporary directory is full or read-only ({name}). Free some space, or set TMPDIR to another directory."
    )
