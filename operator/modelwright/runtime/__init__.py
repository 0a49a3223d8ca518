"""The process: wires everything together, and the only importer of kopf."""
