"""The only Kubernetes I/O: caches that show what is, writes that make it what shall be. No kopf here."""
