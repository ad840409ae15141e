"""What every source must hold, whatever its vendor does: a folder in `connectors/` is enrolled because it exists.

Each test drives the real pipeline against the source's own simulator, in process. What a source is held to beyond what
all are, it declares itself (`Source.promises`, `Source.webhooks`, `Source.references`).
"""
