"""The same work on many objects: over processes of one thread each, with a bar, resumable, and failures as rows."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
from astropy.table import Table
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from paper_utils.base import paths
from paper_utils.base.errors import CompanionError, DataError

REASON = "reason"  # of a failure, in the row's place
EMPTY = {"f": np.nan, "i": -1, "u": 0, "b": False, "U": ""}  # what a row that failed has, by the column's dtype.kind


def run(
    function: Callable[..., Mapping],
    items: Sequence[tuple],
    names: Sequence[str],
    shared: tuple = (),
    *,
    n_jobs: int = 1,
    folder: Path | str | None = None,
    label: str = "",
    progress: bool = True,
) -> list[dict]:
    """`function(*item, *shared)` for each of `items`, a dict of numbers, text and arrays each, in their order.

    function : of a module, so that other processes find it.   names : of the objects, unique; they name the files.
    shared : what all items need; each process gets it once.   n_jobs : processes, each with one BLAS thread.
    folder : finished results are kept there, a .npz each, and not computed again by the next call with the same
        function, items and folder: an interrupted run goes on where it was.
    An exception becomes {"reason": text}, and is tried again the next time. Raises DataError if a process dies.
    """
    files = []
    if folder is not None:
        common = joblib.hash((function.__module__, function.__qualname__, shared))
        stems = [f"{name}-{joblib.hash((common, item))[:16]}.npz" for name, item in zip(names, items, strict=True)]
        files = [Path(folder) / stem.replace("/", "_") for stem in stems]
    done = {i: result for i, file in enumerate(files) if (result := _load(file)) is not None}
    todo = [i for i in range(len(items)) if i not in done]
    fresh = _results(function, [items[i] for i in todo], shared, min(n_jobs, len(todo)), label, progress)
    for i, result in zip(todo, fresh, strict=True):
        done[i] = result
        if files and REASON not in result:
            with paths.atomic(files[i]) as temporary, temporary.open("wb") as file:
                np.savez(file, **result)
    return [done[i] for i in range(len(items))]


def table(results: Sequence[Mapping], names: Sequence[str], units: Mapping[str, str] | None = None) -> Table:
    """The numbers and texts of `run`'s results as a Table, with columns `id` first and `reason` last ("" if good).

    A row that failed has NaN (numbers), -1 (integers) or "" (text); where all did, the columns are those of `units`.
    """
    first = next((r for r in results if REASON not in r), dict.fromkeys(units or (), np.nan))
    found = Table({"id": np.array(names, dtype=str)})
    for key, value in first.items():
        if np.ndim(value) == 0:
            empty = EMPTY[np.asarray(value).dtype.kind]
            found[key] = np.array([r.get(key, empty) for r in results], dtype=type(empty))
    found[REASON] = np.array([r.get(REASON, "") for r in results], dtype=str)
    for key, unit in (units or {}).items():
        for name in {key, f"{key}_err"}.intersection(found.colnames):
            found[name].unit = unit
    return found


def _results(function, items, shared, n_jobs, label, progress) -> Iterator[dict]:
    with TemporaryDirectory() as folder:
        if n_jobs > 1:  # each process reads it once, and all of them hold its large arrays in the same memory
            shared = joblib.dump(shared, f"{folder}/shared")[0]
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            work = joblib.Parallel(max(n_jobs, 1), return_as="generator")
        try:
            results = work(joblib.delayed(_attempt)(function, item, shared) for item in items)
            yield from tqdm(results, total=len(items), desc=label, disable=not progress)
        except BrokenProcessPool:
            problem = "a process ended before its work was done, as when memory runs out"
            remedy = "Run again with fewer at a time; what is finished is kept where a folder was given."
            raise DataError(problem, remedy=remedy) from None
        finally:
            if n_jobs > 1:  # else they keep their memory for minutes
                get_reusable_executor(reuse=True).shutdown()


@lru_cache(maxsize=1)
def _shared(file: str) -> tuple:
    return joblib.load(file, mmap_mode="r")


def _attempt(function, item, shared: tuple | str) -> dict:
    """The result of one item, or the reason why there is none. `shared` may be a file that holds it."""
    try:
        with threadpool_limits(1):
            return dict(function(*item, *(_shared(shared) if isinstance(shared, str) else shared)))
    except CompanionError as problem:
        return {REASON: str(problem)}
    except Exception as problem:  # a library's, on one odd spectrum among thousands
        where = traceback.extract_tb(problem.__traceback__)[-1]
        return {REASON: f"{type(problem).__name__}: {problem} ({Path(where.filename).name}:{where.lineno})"}


def _load(file: Path) -> dict | None:
    """A kept result, or None where there is none, or no whole file."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name][()] for name in arrays.files}
    except Exception:  # absent, cut short, or of another kind: computed again
        return None
