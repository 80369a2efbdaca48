"""The number of files and connections that a process may have open."""

import resource


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard limit, which children inherit, and return it.

    The soft limit is often 1,024 for the sake of programs that use select(), which none of ours does.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
