"""How the cluster is made: versions, settings, the machines it stands on."""

from .bypassed_client import bypassed_client
from .exposed_cluster import exposed_cluster
from .gpu_workers import gpu_workers
from .retry_policy import retry_policy
from .second_cluster import second_cluster
from .thread_oversubscription import thread_oversubscription
from .version_mismatch import version_mismatch
from .vulnerable_version import vulnerable_version

__all__ = [
    "bypassed_client",
    "exposed_cluster",
    "gpu_workers",
    "retry_policy",
    "second_cluster",
    "thread_oversubscription",
    "version_mismatch",
    "vulnerable_version",
]
