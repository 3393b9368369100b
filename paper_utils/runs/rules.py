"""The rules of data/claims.csv: what each of them asks of a notebook's numbers, and the verdict.

A rule is a list of conditions joined by ";" on named parts, each a number with its interval:

    name < 0.5      name >= 72      name < other      name in [0.23, 0.43]      name = 256      name = 5-11-21

A condition is true for certain when it is true at the unfavourable end of the interval, and false for certain when it
is false even at the favourable end. The comments at the top of claims.csv define the verdicts.
"""

import operator
import re
from collections.abc import Mapping
from typing import NamedTuple

from paper_utils.base.errors import ProfileError

HOLDS, FAILS, OPEN, SCALED, REPORTED = "holds", "fails", "open", "scaled", "reported"
ROUNDING = 1e-9
MIN_SEEDS = 3  # that an interval covers, where a random start may change the value
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
NUMBER = r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?"
CONDITION = re.compile(
    rf"([A-Za-z]\w*)\s*(?:(<=|>=|<|>|=)\s*(?:({NUMBER})|([\w.+-]+))|in\s*\[\s*({NUMBER})\s*,\s*({NUMBER})\s*\])"
)

Part = float | str | tuple[float, float, float]  # a number, a word, or (value, low, high)


class Condition(NamedTuple):
    """A part `name` compared with a number or another part, "=" to a word, or "in" bounds: `name sign target`."""

    name: str
    sign: str
    target: float | str | tuple[float, float]

    @property
    def other(self) -> str | None:
        """The part that `name` is compared with, if there is one."""
        return self.target if self.sign in COMPARE and isinstance(self.target, str) else None

    def judge(self, parts: Mapping[str, Part]) -> str:
        """ "holds", "fails" or "open"."""
        if self.sign == "=":
            return HOLDS if parts[self.name] == self.target else FAILS
        (low, high), limit = _ends(parts, self.name), self.target
        if self.other:  # judged by the difference, paired where it was recorded
            limit, paired, (other_low, other_high) = 0, f"{self.name}-{self.other}", _ends(parts, self.other)
            low, high = _ends(parts, paired) if paired in parts else (low - other_high, high - other_low)
        if self.sign == "in":
            first, last = limit
            true, possible = first <= low and high <= last, first <= high and low <= last
        else:
            at_ends = [COMPARE[self.sign](end, limit) for end in (low, high)]
            true, possible = all(at_ends), any(at_ends)
        return HOLDS if true else OPEN if possible else FAILS


def parse(rule: str) -> list[Condition]:
    """The conditions of a rule. Raises ProfileError for what is not written in the language above."""
    return [_condition(text.strip()) for text in rule.split(";")] if rule.strip() else []


def names(rule: str) -> list[str]:
    """The parts that a rule needs, in its order."""
    found = [name for condition in parse(rule) for name in (condition.name, condition.other) if name]
    return list(dict.fromkeys(found))


def verdict(rule: str, kind: str, parts: Mapping[str, Part], seeds: int | None = None) -> str:
    """The status of recorded parts under a rule of claims.csv.

    kind : of the claim; what is false of a "size" is scaled. A bare number of a "statistic" or "order" has no interval,
        so that it leaves the claim open at best.
    seeds : that the intervals cover; below MIN_SEEDS the claim is open at best. None: nothing random decides it.
    Raises ProfileError if a part that the rule needs is missing, or is a word where it needs a number.
    """
    needed = names(rule)
    if missing := [name for name in needed if name not in parts]:
        raise ProfileError(
            f"the rule {rule!r} needs {', '.join(needed)}; {', '.join(missing)} not recorded. "
            "Record a text in place of the parts where they cannot be had here."
        )
    found = {condition.judge(parts) for condition in parse(rule)}
    if FAILS in found:
        return SCALED if kind == "size" else FAILS
    bare = kind in ("statistic", "order") and any(not isinstance(parts[name], tuple | str) for name in needed)
    few = seeds is not None and seeds < MIN_SEEDS
    return REPORTED if not found else OPEN if OPEN in found or bare or few else HOLDS


def _condition(text: str) -> Condition:
    if not (match := CONDITION.fullmatch(text)):
        raise ProfileError(
            f"{text!r} is no condition of a rule, such as a < 0.5, a > b, a in [0.2, 0.4] or a = 5-11-21."
        )
    name, sign, number, word, *bounds = match.groups()
    if sign == "=" and number:  # equal up to rounding
        margin = ROUNDING * abs(float(number))
        return Condition(name, "in", (float(number) - margin, float(number) + margin))
    if sign:
        return Condition(name, sign, word or float(number))
    return Condition(name, "in", tuple(map(float, bounds)))


def _ends(parts: Mapping[str, Part], name: str) -> tuple[float, float]:
    part = parts[name]
    if isinstance(part, str):
        raise ProfileError(f"{name} is {part!r}, where the rule needs a number.")
    return part[1:] if isinstance(part, tuple) else (part, part)
