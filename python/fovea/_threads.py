"""How many threads calls use."""

from __future__ import annotations

from fovea import _fovea
from fovea._kinds import renamed


@renamed("set_num_threads")
def set_num_threads(n: int) -> None:
    """Sets how many threads one call of this library may use, for the whole process, from the next call on.

    Results have the same bits for any number. The default is the number of cores that the process may run on
    (``OMP_NUM_THREADS`` lowers it), since fewer leave cores idle and more take turns on them; a process that was forked
    after a first call begins with 1, because it is often one of many that share the cores.

    Parameters
    ----------
    n : int in [1, 1024]
        Threads, the calling one included. OpenMP's own number is set to it too, which oneDNN and PyTorch go by.

    Raises
    ------
    ValueError
        n is no integer, or outside of its range.

    Examples
    --------
    >>> import fovea
    >>> before = fovea.get_num_threads()
    >>> fovea.set_num_threads(1)
    >>> fovea.get_num_threads()
    1
    >>> fovea.set_num_threads(before)
    """
    from fovea._options import integer

    _fovea.set_num_threads(integer("n", n, 1, 1024))


def get_num_threads() -> int:
    """How many threads one call of this library may use now: what :func:`set_num_threads` set, or its default.

    Returns
    -------
    int
        At least 1, the calling thread included.

    Examples
    --------
    >>> import fovea
    >>> fovea.get_num_threads() >= 1
    True
    """
    return _fovea.get_num_threads()
