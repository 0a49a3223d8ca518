"""Talking to a registry as oras does: its session, its tokens and its way of asking for them.

oras has no types; what it returns is named here, once.
"""
# pyright: reportPrivateUsage=false, reportIncompatibleMethodOverride=false
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any, Protocol, cast

import oras.auth.token
import oras.container
import oras.provider
import requests

from modelwright.agent import secrets, transport


class Client(Protocol):
    """An HTTP client that answers a registry's challenges."""

    def do_request(
        self, url: str, method: str, *, headers: dict[str, Any], data: Any = None, stream: bool = False
    ) -> requests.Response:
        """One exchange, with a login where the registry asks for one.

        Raises:
            ValueError: The registry asks for a login that cannot be given.
        """
        ...


def client(host: str, *, insecure: bool, timeout: float, secret: secrets.Secret) -> Client:
    """A client for the registry at `host`.

    Args:
        host: ``host[:port]``.
        insecure: Plain HTTP.
        timeout: Seconds for connecting and for each read.
        secret: May hold a Docker configuration. Where no Secret was named, what `docker login` left in the
            home directory is used, else no login.
    """
    made = _Registry(hostname=host, insecure=insecure)
    made.session = transport.session(timeout)
    auth = _TokenAuth()
    auth.session, auth.prefix, auth._tls_verify = made.session, made.prefix, True  # noqa: SLF001
    login = secrets.docker_login(secret, host)
    if login is not None:
        auth.set_basic_auth(*login)
    elif secret.folder is None:
        auth.load_configs(oras.container.Container("any", registry=host))
    made.auth = auth
    return cast("Client", made)


class _Registry(oras.provider.Registry):
    """oras without its retry, which sleeps for minutes over a refused password."""

    def do_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        once = cast("Any", oras.provider.Registry.do_request).__wrapped__
        return once(self, *args, **kwargs)


class _TokenAuth(oras.auth.token.TokenAuth):
    """oras's token login, which also knows plain passwords and asks again when a token grants too little."""

    def authenticate_request(
        self,
        original: requests.Response,
        headers: dict[str, Any],
        refresh: bool = False,  # noqa: FBT001, FBT002 - oras's signature
    ) -> tuple[dict[str, Any], bool]:
        if original.headers.get("WWW-Authenticate", "").lower().startswith("basic"):
            return self._answer_basic(headers)
        # A token for reading is answered with 401 when it comes to writing; oras would send it once more.
        if self.token and original.request.headers.get("Authorization") == f"Bearer {self.token}":
            refresh = True
        return cast("Any", super()).authenticate_request(original, headers, refresh)

    def _answer_basic(self, headers: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        basic = getattr(self, "_basic_auth", None)
        if basic is None:
            return headers, False
        login = {"Authorization": f"Basic {basic}"}
        self.session.headers.update(login)  # from now on unasked, so that no upload is sent twice
        return {**headers, **login}, True
