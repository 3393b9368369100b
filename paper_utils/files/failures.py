"""Many files or objects, of which some may be bad: all are tried, the bad ones are counted and left out."""

import warnings
from collections.abc import Callable, Iterable, Iterator

from joblib import Parallel, delayed

from paper_utils.base.errors import DataError


def attempts(function: Callable, jobs: Iterable[tuple], n_jobs: int = 1) -> Iterator:
    """`function(*job)` of every job in order, or the DataError that it raised; `n_jobs` processes share the work."""
    return Parallel(n_jobs, return_as="generator")(delayed(_attempt)(function, job) for job in jobs)


def _attempt(function: Callable, job: tuple):
    try:
        return function(*job)
    except DataError as problem:
        return problem


def leave_out(bad: dict[str, str], n: int, what: str, source: object, remedy: str, most: float = 1.0) -> None:
    """Warn of the `bad`, {name: problem}, among `n` files or objects; if all or more than a share `most`, DataError."""
    if not bad:
        return
    count, (name, problem) = f"{len(bad)} of {n} {what}", next(iter(bad.items()))
    if len(bad) == n or len(bad) > most * n:
        raise DataError(f"{count} cannot be used; the first, {name}: {problem}", remedy=remedy, source=source)
    warnings.warn(f"{count} left out; {name}: {problem}", stacklevel=3)
