"""How the cluster is made: versions, settings, the machines it stands on."""

from .version_mismatch import version_mismatch
from .vulnerable_version import vulnerable_version

__all__ = ["version_mismatch", "vulnerable_version"]
