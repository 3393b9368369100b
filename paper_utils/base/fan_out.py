"""The same work on many objects: over processes of one thread each, with a bar, resumable, and failures as rows."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base import paths
from paper_utils.base.errors import CompanionError, DataError

if TYPE_CHECKING:
    from astropy.table import Table

REASON = "reason"  # of a failure, in the row's place


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
    files = [None] * len(items)
    if folder is not None:
        common = _digest(f"{function.__module__}.{function.__qualname__}", shared)
        stems = [f"{name}-{_digest(common, item)}.npz" for name, item in zip(names, items, strict=True)]
        files = [Path(folder) / stem.replace("/", "_") for stem in stems]
    done = {i: _load(file) for i, file in enumerate(files) if file is not None and file.is_file()}
    done = {i: result for i, result in done.items() if result is not None}
    todo = [i for i in range(len(items)) if i not in done]
    fresh = _results(function, [items[i] for i in todo], shared, min(n_jobs, len(todo)), label, progress)
    for i, result in zip(todo, fresh, strict=True):
        done[i] = result
        if files[i] is not None and REASON not in result:
            with paths.atomic(files[i]) as temporary, temporary.open("wb") as file:
                np.savez(file, **result)
    return [done[i] for i in range(len(items))]


def table(results: Sequence[Mapping], names: Sequence[str], units: Mapping[str, str] | None = None) -> Table:
    """The numbers and texts of `run`'s results as a Table, with columns `id` first and `reason` last ("" if good).

    A row that failed has NaN (numbers), -1 (integers) or "" (text).
    """
    from astropy.table import Table

    first = next((r for r in results if REASON not in r), {})
    scalars = {key: np.asarray(value) for key, value in first.items() if np.ndim(value) == 0}
    empty = {"f": np.nan, "i": -1, "u": 0, "b": False, "U": ""}
    columns = {"id": list(names)}
    for key, value in scalars.items():
        columns[key] = [np.asarray(r.get(key, empty[value.dtype.kind])).item() for r in results]
    columns[REASON] = [str(r.get(REASON, "")) for r in results]
    kinds = {key: value.dtype.kind for key, value in scalars.items()}
    units = {key: unit for key, unit in (units or {}).items() if key in columns}
    units |= {f"{key}_err": unit for key, unit in units.items() if f"{key}_err" in columns}
    dtype = [str if kinds.get(key, "U") == "U" else {"f": float, "i": int, "u": int, "b": bool}[kinds[key]]
             for key in columns]  # fmt: skip
    return Table(columns, units=units, dtype=dtype)


def _results(function, items, shared, n_jobs, label, progress) -> Iterator[dict]:
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    bar = partial(tqdm, total=len(items), desc=label, disable=not progress)
    if n_jobs > 1:
        try:
            with ProcessPoolExecutor(n_jobs, initializer=_begin, initargs=(function, shared)) as pool:
                yield from bar(pool.map(_work, items))
        except BrokenProcessPool:
            raise DataError(
                "a process ended before its work was done, as when memory runs out",
                remedy="Run again with fewer at a time; what is finished is kept where a folder was given.",
            ) from None
    else:
        for item in bar(items):
            with threadpool_limits(1):
                result = _attempt(function, (*item, *shared))
            yield result


_task = ()  # in each process of a pool: the function and what its items share


def _begin(function, shared) -> None:
    from threadpoolctl import threadpool_limits

    global _task
    _task = (function, shared, threadpool_limits(1))


def _work(item) -> dict:
    return _attempt(_task[0], (*item, *_task[1]))


def _attempt(function, item) -> dict:
    try:
        return dict(function(*item))
    except CompanionError as problem:
        return {REASON: str(problem)}
    except Exception as problem:  # a library's, on one odd spectrum among thousands
        where = traceback.extract_tb(problem.__traceback__)[-1]
        return {REASON: f"{type(problem).__name__}: {problem} ({Path(where.filename).name}:{where.lineno})"}


def _load(file: Path) -> dict | None:
    """A kept result, or None where the file is not whole."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name][()] for name in arrays.files}
    except Exception:  # cut short, or of another kind: computed again
        return None


def _digest(*parts) -> str:
    digest = hashlib.sha256()

    def update(value):
        if isinstance(value, tuple | list):
            digest.update(f"[{len(value)}".encode())
            for part in value:
                update(part)
        elif isinstance(value, np.ndarray):
            digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        elif hasattr(value, "__dataclass_fields__"):
            update([type(value).__name__, *((name, getattr(value, name)) for name in value.__dataclass_fields__)])
        else:
            digest.update(repr(value).encode())

    update(parts)
    return digest.hexdigest()[:16]
