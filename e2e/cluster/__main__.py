"""`python3 -m e2e.cluster VERB`: the local cluster's command line.

Answers go to standard output, progress to standard error.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster import addons, builds, controlplane, images, lifecycle, node, registry, verify
from e2e.cluster.paths import AUDIT_LOG, KUBECONFIG
from e2e.cluster.shell import ClusterError
from e2e.cluster.stages import Stages, explain
from e2e.cluster.topology import NODES, REGISTRY


def main(words: Sequence[str]) -> int:
    """Do what the words say and return the exit status."""
    arguments = _parser().parse_args(words)
    if os.geteuid() != 0 and arguments.verb in ("up", "down", "build-image", "stop-node", "start-node"):
        print("error: this makes namespaces and interfaces; run it as root", file=sys.stderr)
        return 1
    stages = Stages()
    try:
        return _VERBS[arguments.verb](arguments, stages)
    except ClusterError as error:
        print(explain(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m e2e.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring the cluster up, or make sure that it is")
    verbs.add_parser("down", help="remove it and all it made, except the cache")
    verbs.add_parser("status", help="say what runs")
    verbs.add_parser("verify", help="try every part of a running cluster")
    verbs.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    verbs.add_parser("registry", help="print the registry's address, starting it if need be")
    verbs.add_parser("audit-log", help="print the path of the audit log")
    for verb, does in (("stop-node", "take a node's power away"), ("start-node", "boot it again from its disk")):
        verbs.add_parser(verb, help=does).add_argument("name", choices=[one.name for one in NODES])
    program = verbs.add_parser("binary", help="print the path of a program, building it if need be")
    program.add_argument("name", choices=builds.PROGRAMS, metavar="NAME")
    image = verbs.add_parser("build-image", help="build a Dockerfile and push it, unless its inputs are unchanged")
    image.add_argument("context", type=Path)
    image.add_argument("dockerfile", type=Path)
    image.add_argument("tag", help="as in modelwright/operator:dev")
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    return parser


def _up(_: argparse.Namespace, stages: Stages) -> int:
    lifecycle.up(stages)
    return 0


def _down(_: argparse.Namespace, stages: Stages) -> int:
    lifecycle.down(stages)
    return 0


def _status(_: argparse.Namespace, __: Stages) -> int:
    ready = controlplane.ready_nodes() if KUBECONFIG.exists() else {}
    print(f"registry    {REGISTRY}  {'answers' if registry.answers() else 'down'}")
    for one in NODES:
        holder = node.holder_of(one)
        words = f"pid {holder}, {'Ready' if ready.get(one.name) else 'NotReady'}" if holder else "not running"
        print(f"{one.name:<11} {one.address}  pool {one.pool}  {words}")
    print(f"gateway     {addons.gateway_address() or 'not programmed'}" if ready else "gateway     down")
    healthy = lifecycle.is_healthy()
    print(f"cluster     {'healthy' if healthy else 'not healthy'}")
    return 0 if healthy else 1


def _kubeconfig(_: argparse.Namespace, __: Stages) -> int:
    print(KUBECONFIG)
    return 0


def _registry(_: argparse.Namespace, stages: Stages) -> int:
    lifecycle.prepare_registry(stages)
    print(REGISTRY)
    return 0


def _audit_log(_: argparse.Namespace, __: Stages) -> int:
    print(AUDIT_LOG)
    return 0


def _binary(arguments: argparse.Namespace, stages: Stages) -> int:
    with stages.stage(arguments.name):
        path = builds.ensure_binaries([arguments.name], stages.detail)[arguments.name]
    print(path)
    return 0


def _build_image(arguments: argparse.Namespace, stages: Stages) -> int:
    pairs: dict[str, str] = dict(pair.partition("=")[::2] for pair in arguments.build_arg)
    lifecycle.prepare_registry(stages)
    with stages.stage(arguments.tag):
        images.ensure_base(stages.detail)
        context, dockerfile = arguments.context.resolve(), arguments.dockerfile.resolve()
        built = images.build_image(context, dockerfile, arguments.tag, pairs, stages.detail)
    stages.say(f"{arguments.tag}: {'built and pushed' if built else 'up to date'}")
    return 0


def _stop_node(arguments: argparse.Namespace, stages: Stages) -> int:
    lifecycle.stop_node(arguments.name, stages)
    return 0


def _start_node(arguments: argparse.Namespace, stages: Stages) -> int:
    lifecycle.start_node(arguments.name, stages)
    return 0


def _verify(_: argparse.Namespace, stages: Stages) -> int:
    return verify.verify(stages)


_VERBS: dict[str, Callable[[argparse.Namespace, Stages], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "verify": _verify,
    "kubeconfig": _kubeconfig,
    "registry": _registry,
    "audit-log": _audit_log,
    "binary": _binary,
    "build-image": _build_image,
    "stop-node": _stop_node,
    "start-node": _start_node,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
