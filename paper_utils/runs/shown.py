"""How numbers, tables and figures look in a notebook: few digits, units in the header, alternative texts."""

import io
import math
import re
from collections.abc import Iterable, Sequence

MAX_ROWS = 40  # of a table that is shown; its file holds all


class Markdown(str):
    """Text that a notebook renders and a terminal prints."""

    __repr__ = _repr_markdown_ = str.__str__


def number(value, digits: int = 4) -> str:
    """A value with `digits` significant digits; whole numbers as they are, "–" where there is none.

    A tuple or list of three is a value with its interval: "49 [44, 54]".
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.{digits}g}"
        return f"{value:.0f}" if "e" in text and 1 <= abs(value) < 1e7 else text  # 12346, not 1.235e+04
    if isinstance(value, tuple | list):
        middle, *ends = (number(item, digits) for item in value)
        return f"{middle} [{', '.join(ends)}]" if ends else middle
    return str(value)


def rows(header: Sequence[str], cells: Iterable[Sequence[str]], numeric: Iterable[bool] = ()) -> Markdown:
    """A Markdown table; columns that are `numeric` are aligned to the right."""
    right = list(numeric) or [False] * len(header)
    lines = [header, ["---:" if is_right else "---" for is_right in right]]
    lines += [[re.sub(r"([|~])", r"\\\1", cell).replace("\n", " ") for cell in row] for row in cells]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def table(table, digits: int = 3) -> Markdown:
    """An astropy Table, or what makes one (a list of dicts, a dict of columns), with units in the header."""
    table = with_units_in_names(table)
    columns = [[number(value, digits) for value in table[name][:MAX_ROWS].tolist()] for name in table.colnames]
    cells = list(zip(*columns, strict=True))
    if len(table) > MAX_ROWS:
        cells.append([f"… {len(table)} rows in all", *[""] * (len(columns) - 1)])
    return rows(table.colnames, cells, [table[name].dtype.kind in "iuf" for name in table.colnames])


def with_units_in_names(table):
    """A copy as astropy Table whose columns are called like "wave [um]"."""
    from astropy.table import Table

    plain = Table(table)
    for name in plain.colnames:
        if plain[name].unit is not None:
            plain.rename_column(name, f"{name} [{plain[name].unit}]")
    return plain


def figure(fig, alt: str):
    """A matplotlib figure as a picture with the alternative text `alt`; the figure is closed."""
    import matplotlib.pyplot as plt
    from IPython.display import Image

    picture = io.BytesIO()
    fig.savefig(picture, format="png", bbox_inches="tight")
    plt.close(fig)  # left open, the notebook would show it a second time
    return Image(picture.getvalue(), format="png", alt=alt)
