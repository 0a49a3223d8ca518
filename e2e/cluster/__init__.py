"""A real Kubernetes cluster on one bare Linux machine, from nothing but package registries."""
