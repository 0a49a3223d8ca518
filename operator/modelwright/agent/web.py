"""Files behind https."""

from collections.abc import Iterator

from modelwright.agent import transport
from modelwright.agent.locations import Place
from modelwright.agent.manifest import CHUNK
from modelwright.agent.secrets import Secret
from modelwright.agent.sources import Entry, Listing, denied, not_found, unreachable
from modelwright.contract.request import Fetching
from modelwright.errors import InputError

KEYS = ("HTTP_BEARER_TOKEN", "HTTP_USERNAME", "HTTP_PASSWORD")


class WebSource:
    """One file on a web server. A login goes to the named host only, never on with a redirect elsewhere."""

    def __init__(self, place: Place, fetching: Fetching, secret: Secret) -> None:
        """Open nothing yet.

        Raises:
            InputError: UnsupportedScheme for a folder; SecretMissing for a Secret without a key for the web.
        """
        if place.folder:
            raise InputError(
                "UnsupportedScheme",
                f"{place} names a folder, and a web server does not list folders.",
                "Name one file, or keep the folder in s3, gs, az, oci or pvc.",
            )
        secret.require_one_of(KEYS, "https")
        secret.require_together("HTTP_USERNAME", "HTTP_PASSWORD")
        self._place = place
        self._timeout = fetching.timeout_seconds
        self._session = transport.session(fetching.timeout_seconds)
        # Content codings are refused so that bytes, and so digests, are those of the file.
        self._session.headers["Accept-Encoding"] = "identity"
        if (token := secret.values.get("HTTP_BEARER_TOKEN")) is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"
        elif "HTTP_USERNAME" in secret.values:
            self._session.auth = (secret.values["HTTP_USERNAME"], secret.values["HTTP_PASSWORD"])

    def listing(self) -> Listing:
        """The one file. Whether it is there shows when it is read: not every server answers HEAD."""
        return Listing([Entry(self._place.name)], folder=False)

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The file's content."""
        del entry
        try:
            with self._session.get(self._place.uri, stream=True) as response:
                self._check(response.status_code)
                yield from response.iter_content(CHUNK)
        except transport.NETWORK_ERRORS as error:
            raise unreachable(self._place, transport.explain(error, self._timeout)) from None

    def _check(self, status: int) -> None:
        if status in (404, 410):
            raise not_found(self._place)
        if status in (401, 403):
            raise denied(self._place)
        if status != 200:
            raise unreachable(self._place, f"answered {status}")
