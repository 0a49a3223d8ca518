"""From a URI to a graph that is known to load, run and batch; whatever cannot is refused with its remedy."""
