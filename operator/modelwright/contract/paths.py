"""Where things are mounted in the pods that the operator makes."""

REQUEST_FILE = "/etc/modelwright/request.json"
"""The request of a Job, projected from the pod's own annotation by the downward API."""

SECRET_DIR = "/var/run/modelwright/secret"  # noqa: S105 - a path
"""The source's Secret, one file per key, optional: its absence is reported as `SecretMissing`."""

STORE_SECRET_DIR = "/var/run/modelwright/store-secret"  # noqa: S105 - a path
"""The artifact store's Secret."""

PVC_DIR = "/mnt/modelwright"
"""A `pvc://claim/path` source is mounted at `PVC_DIR/claim`."""

WORK_DIR = "/work"
"""Scratch space of a Job (emptyDir)."""

REPOSITORY_DIR = "/models"
"""Triton's model repository, laid down by `agent.fetch`, read-only for Triton."""

CONFIG_DIR = "/etc/modelwright/config"
"""The revision's ConfigMap, holding `config.pbtxt`."""

PROBE_DIR = "/opt/modelwright"
"""`probe.py` and `golden.json`, laid down by `agent.fetch` for the start-up probe."""

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LIMIT = 4096
"""Bytes the kubelet keeps of a termination message."""
