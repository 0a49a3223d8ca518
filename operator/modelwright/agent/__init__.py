"""Small programs beside a model: resolve a URI, fetch an artifact, probe a server."""
