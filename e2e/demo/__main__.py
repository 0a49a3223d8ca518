"""`make demo`: from a cluster to three optimized models that answer, and an update that loses nothing."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.paths import CACHE
from e2e.cluster.shell import ClusterError
from e2e.cluster.stages import Stages, explain
from e2e.demo import sites
from e2e.demo.demo import Demo
from e2e.demo.story import DemoError
from e2e.install import InstallError
from e2e.load.pod import LoadError
from e2e.scenarios.kube import KubectlError
from modelwright.errors import ModelwrightError


def main(words: Sequence[str]) -> int:
    """Run the demo.

    Returns:
        Exit code: 1 after any failure, and if the update lost a request.
    """
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.context and not asked.registry:
        parser.error("a cluster of your own needs --registry: where its images are, and where models are put")
    stages = Stages()
    try:
        site = (
            sites.named(asked.context, asked.registry, asked.tag) if asked.registry else sites.local(stages, asked.tag)
        )
        return Demo(site, stages, asked.cache).run()
    except ClusterError as error:
        print(explain(error), file=sys.stderr)
    except (DemoError, InstallError, LoadError, KubectlError, ModelwrightError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument(
        "--context", default=os.environ.get("CONTEXT", ""), help="of a cluster of your own, or $CONTEXT"
    )
    parser.add_argument("--registry", default="", help="host[:port] that its nodes and this machine both reach")
    parser.add_argument("--tag", default=os.environ.get("TAG", "dev"), help="of the images, or $TAG")
    parser.add_argument("--cache", type=Path, default=CACHE / "demo", help="where trained models are kept")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
