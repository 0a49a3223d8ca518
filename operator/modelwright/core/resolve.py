"""What a spec resolves to under the policies: pools, model name, host names. The result goes to `status.resolved`."""

from dataclasses import dataclass

from modelwright.api.model import Gateway, ModelSpec, ParentRef
from modelwright.api.policy import Pool
from modelwright.api.status import ResolvedStatus
from modelwright.contract.request import Store
from modelwright.core.snapshot import ObservedModel, ObservedPolicy

OCI_PREFIX = "oci://"


@dataclass(frozen=True)
class Resolved:
    """A spec with every default filled in.

    Attributes:
        policy: The policy that picked pools and defaults.
        pool: Where Triton runs.
        optimization_pool: Where the Job runs.
        model_name: Triton's name of the model.
        parent_refs: Gateways; empty means no routes.
        hostnames: For HTTP.
        grpc_hostnames: For gRPC: an HTTPRoute and a GRPCRoute must not share a host name.
        store: Where artifacts live.
    """

    policy: ObservedPolicy
    pool: Pool
    optimization_pool: Pool
    model_name: str
    parent_refs: tuple[ParentRef, ...]
    hostnames: tuple[str, ...]
    grpc_hostnames: tuple[str, ...]
    store: Store

    def status(self) -> ResolvedStatus:
        """The part that status shows."""
        return ResolvedStatus(
            policy=self.policy.name,
            policy_hash=self.policy.hash,
            pool=self.pool.name,
            optimization_pool=self.optimization_pool.name,
            model_name=self.model_name,
            hostnames=self.hostnames if self.parent_refs else (),
            grpc_hostnames=self.grpc_hostnames if self.parent_refs else (),
        )


def chosen_policy(policies: tuple[ObservedPolicy, ...]) -> ObservedPolicy | None:
    """The policy that picks pools and defaults: highest priority, then first name."""
    return min(policies, key=lambda p: (-p.spec.priority, p.name), default=None)


def find_pool(policy: ObservedPolicy, name: str | None) -> Pool | None:
    """The pool of that name, or the first one if no name is given."""
    pools = policy.spec.pools
    return pools[0] if name is None else next((pool for pool in pools if pool.name == name), None)


def optimization_pool_name(spec: ModelSpec) -> str | None:
    """Name of the Job's pool: its own, else the one that serves."""
    return spec.optimization.pool or spec.serving.pool


def resolved(model: ObservedModel, spec: ModelSpec, policy: ObservedPolicy) -> Resolved | None:
    """The spec with every default filled in; None if it names a pool that the policy does not have."""
    pool = find_pool(policy, spec.serving.pool)
    optimization_pool = find_pool(policy, optimization_pool_name(spec))
    if pool is None or optimization_pool is None:
        return None
    gateway = _gateway(spec, policy)
    hostnames = gateway.hostnames or (f"{model.name}.{model.namespace}.{policy.spec.domain}",)
    store = policy.spec.optimization.artifact_store
    return Resolved(
        policy=policy,
        pool=pool,
        optimization_pool=optimization_pool,
        model_name=spec.model.name or model.name,
        parent_refs=gateway.parent_refs,
        hostnames=hostnames,
        grpc_hostnames=tuple(_grpc_hostname(name) for name in hostnames),
        store=Store(uri=store.uri, namespace=model.namespace, insecure=store.insecure),
    )


def _gateway(spec: ModelSpec, policy: ObservedPolicy) -> Gateway:
    """The model's gateway, its gaps filled from the policy's."""
    own = spec.rollout.traffic_routing.gateway or Gateway()
    default = policy.spec.rollout.defaults.gateway or Gateway()
    return Gateway(parent_refs=own.parent_refs or default.parent_refs, hostnames=own.hostnames)


def _grpc_hostname(hostname: str) -> str:
    first, _, rest = hostname.partition(".")
    return f"{first}-grpc.{rest}" if rest else f"{first}-grpc"
