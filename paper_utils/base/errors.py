"""The errors that a reader of the companion may meet, each with what is wrong and how to mend it."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial


class CompanionError(Exception):
    """Any failure that the reader can mend; the command line shows it without a traceback."""


class DataError(CompanionError):
    """Input data that cannot be used.

    Parameters
    ----------
    problem : what is wrong, in one clause.
    remedy : how to mend it, in one sentence.
    source : the file (or container) at fault.
    row : the first offending entry: an object id, row number, wavelength bin or column name.
    """

    def __init__(self, problem: str, *, remedy: str, source: object = None, row: object = None):
        where = ", ".join(str(part) for part in (source, row) if part is not None and str(part))
        super().__init__(f"{where + ': ' if where else ''}{problem}. {remedy}")
        self.problem, self.remedy, self.source, self.row = problem, remedy, source, row

    def __reduce__(self):  # so that it travels between processes
        return partial(DataError, self.problem, remedy=self.remedy, source=self.source, row=self.row), ()


def refusal(source: object) -> Callable[[object, str, str], None]:
    """A function `refuse(row, problem, remedy)` that raises the DataError of `source`."""

    def refuse(row: object, problem: str, remedy: str):
        raise DataError(problem, remedy=remedy, source=source, row=row)

    return refuse


@contextmanager
def readable(source: object, what: str, remedy: str) -> Iterator[None]:
    """Any failure of a library to read `source` in the block becomes a DataError: "not WHAT (its message)".

    Such libraries raise many kinds of exceptions, by where a file is damaged.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as problem:
        missing = isinstance(problem, FileNotFoundError)
        message = " ".join(str(problem).split())[:200] or type(problem).__name__
        remedy = "Check the path." if missing else remedy
        raise DataError(f"not {what} ({message})", remedy=remedy, source=source) from None


class ProfileError(CompanionError):
    """A profile, parameter or claim id that does not exist or does not fit."""


class WeightsError(CompanionError):
    """Saved weights that do not fit the model that asks for them."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ProfileError:
    """The error for a name that does not exist, with the names nearest to it, or all."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There is {', '.join(known) or 'none yet'}."
    return ProfileError(f"no {kind} {name!r}. {hint}")
