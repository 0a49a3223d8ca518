"""What users write and read: the two kinds of `modelwright.dev/v1alpha1`, as pydantic models."""
