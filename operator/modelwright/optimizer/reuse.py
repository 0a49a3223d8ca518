"""Answers for a key whose artifact is in the store, from the artifact alone. Imports nothing that reads models."""

import json

from modelwright.contract.artifact import Recommendation
from modelwright.contract.result import OptimizeResult
from modelwright.optimizer.ports import Store

REPORT = "report.json"


def reuse(store: Store, digest: str) -> OptimizeResult:
    """The result that the run which made the artifact gave.

    Raises:
        StoreError: The artifact cannot be read.
    """
    report = json.loads(store.read_file(digest, REPORT))
    return OptimizeResult.model_validate(
        {
            "digest": digest,
            "outcome": report["outcome"],
            "reused": True,
            "recommendation": Recommendation.model_validate_json(store.read_config(digest)),
            "summary": report["summary"],
            "note": report["note"],
        }
    )
