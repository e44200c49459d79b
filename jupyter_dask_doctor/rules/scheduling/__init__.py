"""Who runs what, when, and what keeps the threads from working."""

__all__: list[str] = []
