"""The group and the kinds of the API, and how long a model's name may be."""

GROUP = "modelwright.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
MODEL_KIND = "OptimizedModel"
MODEL_PLURAL = "optimizedmodels"
POLICY_KIND = "ServingPolicy"
POLICY_PLURAL = "servingpolicies"

MODEL_NAME_LIMIT = 50
"""Longest `metadata.name`: a child adds at most 13 characters and a Service name ends at 63."""
