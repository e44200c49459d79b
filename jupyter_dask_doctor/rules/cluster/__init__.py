"""How the cluster is made: versions, settings, the machines it stands on."""

__all__: list[str] = []
