"""Fetch many files from an archive: a few at a time, resumable; a file appears under its name only when it is whole."""

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from paper_utils.base import paths
from paper_utils.base.errors import DataError

MAX_PARALLEL = 8  # requests to an archive at a time
MAX_WAIT_S = 120.0
BUSY = (408, 429, *range(500, 600))  # answers after which it is worth asking again


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
    per_second: float = math.inf,
):
    """Fetch each file from the first of its `addresses` that has it.

    A file that is there and `is_whole` is not fetched again, so that a second call resumes. At most `n_parallel`
    (8) requests run at once, and at most `per_second` begin in a second. A busy, failing or dropping server is asked
    `n_tries` times, after ever longer waits (in units of `wait_s`) or when it says (Retry-After). A file appears under
    its name only when it has the announced length and `is_whole`. With `resume` (large files, an `is_whole` that would
    notice halves of two versions) what came before the connection broke is kept in .NAME.part, by later calls too, and
    only the rest is asked for.

    Raises DataError, after all others were fetched, if some could not be; it names the first.
    """
    session, pace = requests.Session(), _pace(per_second)
    session.headers.update({"User-Agent": "galaxy-spectra-companion", "Accept-Encoding": "identity"})
    retry = _Retry(n_tries - 1, connect=0, read=0, backoff_factor=wait_s, status_forcelist=BUSY, raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=MAX_PARALLEL, max_retries=retry))

    def fetch(path: Path) -> DataError | None:
        if path.is_file() and is_whole(path):
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for address in addresses[path]:
                if _tried(session, address, path, is_whole, n_tries, wait_s, timeout_s, resume, pace):
                    return None
            raise DataError("the archive does not have this file", remedy="Check its name.", source=path.name)
        except DataError as problem:
            return problem
        except OSError as problem:
            return DataError(problem.strerror, remedy="Give a folder that can be written.", source=path.parent)

    with session, ThreadPoolExecutor(max(1, min(n_parallel, MAX_PARALLEL))) as pool:
        try:
            results = list(tqdm(pool.map(fetch, addresses), total=len(addresses), unit="file", disable=not progress))
        except BaseException:  # an interrupt must not wait for what is still queued
            pool.shutdown(cancel_futures=True)
            raise
    if failed := [result for result in results if result is not None]:
        raise DataError(
            f"{len(failed)} of {len(results)} files could not be fetched; the first: {failed[0]}",
            remedy="The others are in place: call again to try these again, or leave them out.",
        )


class _Retry(Retry):
    """Waits at most `MAX_WAIT_S`, whatever the server says."""

    def get_retry_after(self, response) -> float | None:
        wait = super().get_retry_after(response)
        return wait and min(wait, MAX_WAIT_S)


def _pace(per_second: float) -> Callable[[], None]:
    """A function that returns at most so often in a second, whichever threads call it."""
    lock, free = threading.Lock(), [time.monotonic()]

    def wait() -> None:
        with lock:
            turn = max(free[0], time.monotonic())
            free[0] = turn + 1 / per_second
        time.sleep(max(turn - time.monotonic(), 0))

    return wait


def _tried(session, address, path, is_whole, n_tries, wait_s, timeout_s, resume, pace) -> bool:
    """Whether the file is there now, and False where the server has no such file. Raises DataError."""
    for attempt in range(n_tries):
        pace()
        try:
            with (_kept if resume else paths.atomic)(path) as temporary:
                _fetch(session, address, temporary, timeout_s)
                if not is_whole(temporary):
                    temporary.unlink()
                    raise OSError("what came is not a whole file of its kind")
            return True
        except requests.HTTPError as error:  # of a busy server, after the session's own tries
            if error.response.status_code == 404:
                return False
            problem = f"the server says {error.response.status_code} {error.response.reason}"
            raise DataError(problem, remedy="Look at the address, or try again later.", source=address) from None
        except (OSError, HTTPError) as error:  # no connection, or a broken one
            if attempt + 1 == n_tries:
                problem = str(error)[:200]
                raise DataError(problem, remedy="Check the connection; try again later.", source=address) from None
            time.sleep(min(wait_s * 2**attempt, MAX_WAIT_S))
    return False


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    """As `paths.atomic`, but what is written stays when the block fails, for the next try to go on from."""
    part = path.with_name(f".{path.name}.part")
    yield part
    part.replace(path)


def _fetch(session: requests.Session, address: str, path: Path, timeout_s: float):
    """Fetch into `path`, or of a file that is there the rest, if the server can send a part of it."""
    begin = path.stat().st_size if path.exists() else 0
    headers = {"Range": f"bytes={begin}-"} if begin else {}
    with session.get(address, headers=headers, stream=True, timeout=timeout_s) as answer:
        if answer.status_code == 416:  # there is no rest: the part is whole, or that of another file
            return
        answer.raise_for_status()
        answer.raw.enforce_content_length = False  # what came is kept; its length is checked below
        begin = begin if answer.status_code == 206 else 0
        with path.open("ab" if begin else "wb") as file:
            shutil.copyfileobj(answer.raw, file)
        length = answer.headers.get("Content-Length")
    if length is not None and path.stat().st_size != begin + int(length):
        raise OSError(f"{path.stat().st_size - begin} of {length} bytes came")
