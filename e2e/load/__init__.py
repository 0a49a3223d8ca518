"""A load generator that runs as a pod: constant rate, every request accounted."""
