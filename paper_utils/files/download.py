"""Fetch many files from an archive: a few at a time, patiently, resumable; no file is ever half there."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import DataError

MAX_PARALLEL = 8  # requests at a time that an archive may be asked to bear
MAX_WAIT_S = 120.0


def download(
    addresses: Mapping[Path, Sequence[str]],
    is_whole: Callable[[Path], bool],
    *,
    n_parallel: int = 4,
    n_tries: int = 4,
    wait_s: float = 1.0,
    timeout_s: float = 60.0,
    progress: bool = True,
    resume: bool = False,
    per_second: float | None = None,
):
    """Fetch each file from the first of its `addresses` that has it.

    A file that is there and `is_whole` is not fetched again, so that a second call resumes. At most `n_parallel`
    (8) requests run at once, and at most `per_second` begin in a second. A busy, failing or dropping server is asked
    `n_tries` times, after `wait_s`, twice that and so on, or when it says (Retry-After). A file appears under its name
    only when it has the announced length and `is_whole`. With `resume` (large files, an `is_whole` that would notice
    halves of two versions) what came before the connection broke is kept in .NAME.part, by later calls too, and only
    the rest is asked for.

    Raises DataError, after all others were fetched, if some could not be; it names the first.
    """
    from tqdm import tqdm

    stop = threading.Event()
    pace = _pace(per_second, stop)

    def fetch(path: Path) -> DataError | None:
        if path.is_file() and is_whole(path):
            return None
        try:
            _first_of(addresses[path], path, is_whole, n_tries, wait_s, timeout_s, stop, resume, pace)
        except DataError as problem:
            return problem

    with ThreadPoolExecutor(max(1, min(n_parallel, MAX_PARALLEL))) as pool:
        try:
            results = list(tqdm(pool.map(fetch, addresses), total=len(addresses), unit="file", disable=not progress))
        except BaseException:  # an interrupt must not wait for what is still queued
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failed := [result for result in results if result is not None]:
        raise DataError(
            f"{len(failed)} of {len(results)} files could not be fetched; the first: {failed[0]}",
            remedy="The others are in place: call again to try these again, or leave them out.",
        )


def _pace(per_second: float | None, stop: threading.Event) -> Callable[[], None]:
    """A function that returns at most so often in a second, whichever threads call it."""
    lock, free = threading.Lock(), [time.monotonic()]

    def wait() -> None:
        if per_second is None:
            return
        with lock:
            turn = max(free[0], time.monotonic())
            free[0] = turn + 1 / per_second
        stop.wait(max(turn - time.monotonic(), 0))

    return wait


def _first_of(addresses, path, is_whole, n_tries, wait_s, timeout_s, stop, resume, pace):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(error.strerror, remedy="Give a folder that can be written.", source=path.parent) from None
    for address in addresses:
        for attempt in range(n_tries):
            pace()
            pause = wait_s * 2**attempt
            try:
                with (_kept if resume else paths.atomic)(path) as temporary:
                    _fetch(address, temporary, timeout_s)
                    if not is_whole(temporary):
                        temporary.unlink()
                        raise OSError("what came is not a whole file of its kind")
                return
            except urllib.error.HTTPError as error:
                problem = f"the server says {error.code} {error.reason}"
                if error.code == 404:
                    break  # perhaps at the next address
                if error.code < 500 and error.code not in (408, 429):
                    raise DataError(problem, remedy="Look at the address.", source=address) from None
                wanted = error.headers.get("Retry-After") or ""
                pause = float(wanted) if wanted.isdigit() else pause
            except (OSError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt + 1 == n_tries or stop.wait(min(pause, MAX_WAIT_S)):
                raise DataError(problem, remedy="Check the connection; try again later.", source=address)
    raise DataError("the archive does not have this file", remedy="Check its name.", source=path.name)


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    """As `paths.atomic`, but what is written stays when the block fails, for the next try to go on from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    yield part
    part.replace(path)


def _fetch(address: str, path: Path, timeout_s: float):
    """Fetch into `path`, or of a file that is there the rest, if the server can send a part of it."""
    begin = path.stat().st_size if path.exists() else 0
    headers = {"User-Agent": "galaxy-spectra-companion"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is no rest: the part is whole, or that of another file
            return
        raise
    with answer:
        begin = begin if answer.status == 206 else 0
        with path.open("ab" if begin else "wb") as file:
            shutil.copyfileobj(answer, file)
        length = answer.headers.get("Content-Length")
    if length is not None and path.stat().st_size != begin + int(length):
        raise OSError(f"{path.stat().st_size - begin} of {length} bytes came")
