"""HTTP within bounds: the session that web sources and registries share.

It follows at most three redirects and never from https to http, sets a time limit on connecting and on each read, and
refuses link-local and metadata addresses. The address is checked on the connected socket, before a byte is sent: what
a name resolved to a moment ago proves nothing. A redirect connects anew and is checked again. (Behind a proxy the
socket's other end is the proxy; there only addresses written as such can be refused.)
"""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError

from modelwright.agent.locations import redacted
from modelwright.errors import InputError

MAX_REDIRECTS = 3
_FORBIDDEN = (
    ipaddress.ip_network("169.254.0.0/16"),  # link-local: the metadata services of most clouds
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::254/128"),  # AWS's metadata service over IPv6
    ipaddress.ip_network("100.100.100.200/32"),  # Alibaba's
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's wire server
    ipaddress.ip_network("192.0.0.192/32"),  # Oracle's
)

NETWORK_ERRORS = (OSError, HTTPError)
"""What a broken exchange raises; `requests` derives its errors from OSError."""


def check_address(text: str) -> None:
    """Refuse an address that answers with the node's or the cloud's own secrets.

    Raises:
        InputError: UnsafePath.
    """
    address = ipaddress.ip_address(text.split("%", 1)[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_unspecified or mapped.is_multicast or any(mapped in network for network in _FORBIDDEN):
        raise InputError(
            "UnsafePath",
            f"The address {text} is link-local or a metadata service and is never opened.",
            "Name a host that serves models.",
        )


def check_host(host: str) -> None:
    """Refuse a forbidden address written as a literal; a proxy would resolve it out of our sight."""
    try:
        literal = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return
    check_address(str(literal))


def session(timeout: float) -> requests.Session:
    """A session within bounds.

    Args:
        timeout: Seconds for connecting and for each read.
    """
    made = _Session()
    made.max_redirects = MAX_REDIRECTS
    made.headers["User-Agent"] = "modelwright"
    for prefix in ("https://", "http://"):
        made.mount(prefix, _Adapter(timeout))
    return made


def explain(error: BaseException, timeout: float) -> str:
    """What went wrong on the network, in a few words and without the URL, which may hold a signature."""
    chain = list(_causes(error))
    silent = "timed out" in str(error) or any(isinstance(cause, TimeoutError) for cause in chain)
    words: tuple[tuple[type | bool, str], ...] = (
        (requests.TooManyRedirects, f"redirects more than {MAX_REDIRECTS} times"),
        (requests.exceptions.SSLError, "speaks no TLS, or has a certificate that is not trusted"),
        (requests.exceptions.InvalidSchema, "redirects to what is no web address"),
        (requests.exceptions.InvalidURL, "redirects to what is no web address"),
        (NameResolutionError, "has a host name that does not resolve"),
        (requests.Timeout, f"did not answer within {timeout:g} s"),
        (silent, f"stopped answering for {timeout:g} s"),
        (ConnectionRefusedError, "refused the connection"),
    )
    for test, text in words:
        if test if isinstance(test, bool) else any(isinstance(cause, test) for cause in chain):
            return text
    return "broke off the connection"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it wraps: urllib3 keeps a cause in `reason`, requests in `args`."""
    while error is not None:
        yield error
        inner = (getattr(error, "reason", None), *error.args, error.__cause__)
        error = next((cause for cause in inner if isinstance(cause, BaseException)), None)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        before, after = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
        if after.scheme not in ("https", before.scheme):
            raise InputError(
                "UnsafePath",
                f"{redacted(resp.url)} redirects from {before.scheme} to {after.scheme}.",
                "Name the final address.",
            )
        return target


class _CheckedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _CheckedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


def _checked(connected: socket.socket) -> socket.socket:
    try:
        check_address(connected.getpeername()[0])
    except InputError:
        connected.close()
        raise
    return connected


class _PoolHTTP(HTTPConnectionPool):
    ConnectionCls: Any = _CheckedHTTP


class _PoolHTTPS(HTTPSConnectionPool):
    ConnectionCls: Any = _CheckedHTTPS


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        pools: dict[str, Any] = {"http": _PoolHTTP, "https": _PoolHTTPS}
        self.poolmanager.pool_classes_by_scheme = pools

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        check_host(urlsplit(request.url or "").hostname or "")
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        return super().send(request, *args, **kwargs)
