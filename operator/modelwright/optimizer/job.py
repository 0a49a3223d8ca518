"""A request in, a result out, whatever happens."""

import signal
from types import FrameType
from typing import TYPE_CHECKING

from modelwright.contract.request import OptimizeRequest
from modelwright.contract.result import OptimizeResult
from modelwright.errors import InputError, StoreError
from modelwright.optimizer.answer import fail
from modelwright.optimizer.progress import Event, Listener, print_event
from modelwright.optimizer.reuse import reuse

if TYPE_CHECKING:
    from modelwright.optimizer.bench import Effort
    from modelwright.optimizer.ports import Ports


class Stopped(BaseException):
    """SIGTERM arrived. Not an `Exception`: nothing on the way may take it for a failed candidate."""


def stop_on_sigterm() -> None:
    """Turn SIGTERM into `Stopped`, wherever the run is; the sandbox kills its child on the way out."""

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        # A second signal must not interrupt the writing of the answer.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


def run(
    request: OptimizeRequest, ports: "Ports", listener: Listener = print_event, effort: "Effort | None" = None
) -> OptimizeResult:
    """Do what the request asks, or say why not. Every end is a result; nothing is raised."""
    try:
        return _run(request, ports, listener, effort)
    except Stopped:
        message = "Stopped by SIGTERM; what was measured is in the journal."
        return fail("OptimizationFailed", message, "The next attempt goes on from there.", retriable=True)
    except InputError as error:
        return fail(error.reason, error.message, error.hint)
    except StoreError as error:
        return fail(error.reason, error.message, error.hint, retriable=error.retriable)
    except MemoryError:
        return fail("OptimizerOutOfMemory", "The Job's process ran out of memory.", "Raise its memory limit.")
    except Exception as error:  # noqa: BLE001 - the operator needs an answer; the class names the bug
        return fail("OptimizationFailed", f"{type(error).__name__}: {error}", "Report this as a bug.")


def _run(request: OptimizeRequest, ports: "Ports", listener: Listener, effort: "Effort | None") -> OptimizeResult:
    """A finished key is answered from the store without importing anything that can read a model."""
    store = ports.open_store()
    digest = store.find(request.key)
    if digest is not None:
        listener(Event("intake", f"the key is in the store already: {digest}"))
        return reuse(store, digest)
    from modelwright.optimizer.bench import Effort  # noqa: PLC0415 - see the docstring
    from modelwright.optimizer.pipeline import Pipeline  # noqa: PLC0415

    return Pipeline(request, store, ports, listener, effort or Effort()).run()
