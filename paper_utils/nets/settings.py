"""Settings of a study: a frozen dataclass whose fields say meaning, unit and the paper's value; profiles fill it.

    @dataclass(frozen=True)
    class Settings(settings.Settings):
        n_epochs: int = setting("passes over the training set", paper=10_000)
        lr: float = setting("learning rate of the generator", paper=0.5)

`Settings.load("01", "quick")` takes the values from notebooks/profiles/01.yaml, whose top-level keys are the profiles.
A field may itself be such a dataclass: its values are then indented under its name, and `train.lr` is one of them.
"""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError, unknown

PROFILES = ("smoke", "quick", "overnight", "paper")
NOT_PRINTED = "not printed"


def setting(meaning: str, *, paper: Any = NOT_PRINTED, unit: str = "", default: Any = dataclasses.MISSING):
    """A field of Settings. paper : the published value.   default : of all profiles that do not name the field."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "paper": paper, "unit": unit})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the settings of all studies share."""

    @classmethod
    def load(cls, study: str, profile: str, changes: Mapping[str, Any] | None = None, file: Path | None = None) -> Self:
        """The values of a profile, with `changes` such as {"train.lr": 0.01}.

        Raises ProfileError for a profile or key that does not exist, a value of another type, or one that is missing.
        """
        file = file or paths.NOTEBOOKS / "profiles" / f"{study}.yaml"
        return cls.of(read(file, profile), f"{file}, {profile}").changed(changes or {})

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Self:
        """From a mapping, nested where a field is. Raises ProfileError, naming `where`."""
        fields, types = {f.name: f for f in dataclasses.fields(cls)}, typing.get_type_hints(cls)
        if stray := [key for key in values if key not in fields]:
            raise unknown(f"setting ({where}) is called", str(stray[0]), fields)
        missing = [f.name for f in fields.values() if f.name not in values and f.default is dataclasses.MISSING]
        if missing:
            meaning = fields[missing[0]].metadata["meaning"]
            raise ProfileError(f"{where}: {missing[0]} ({meaning}) has no value. Give it one.")
        return cls(**{name: fitting(value, types[name], f"{where}: {name}") for name, value in values.items()})

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same with other values, by dotted name. Raises ProfileError."""
        settings, types = self, typing.get_type_hints(type(self))
        for name, value in changes.items():
            first, _, rest = name.partition(".")
            old = getattr(settings, first) if first in types else None
            if first not in types or (rest and not isinstance(old, Settings)):
                raise unknown("setting is called", name, [row[0] for row in self.rows()])
            new = old.changed({rest: value}) if rest else fitting(value, types[first], f"--set: {first}")
            settings = dataclasses.replace(settings, **{first: new})
        return settings

    def rows(self, before: str = "") -> list[tuple[str, Any, Any, str]]:
        """(name, value of this run, value of the paper, meaning with unit) of every field, nested ones dotted."""
        found = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Settings):
                found += value.rows(f"{before}{f.name}.")
            else:
                unit = f" [{f.metadata['unit']}]" if f.metadata["unit"] else ""
                found.append((before + f.name, value, f.metadata["paper"], f.metadata["meaning"] + unit))
        return found

    def _repr_markdown_(self) -> str:
        """The table "this run | paper" that a notebook shows."""
        lines = ["| setting | this run | paper | meaning |", "|---|---|---|---|"]
        lines += [f"| {name} | {_shown(run)} | {_shown(paper)} | {text} |" for name, run, paper, text in self.rows()]
        return "\n".join(lines)


def read(file: Path, profile: str) -> dict[str, Any]:
    """The values of one profile in a file of them. Raises ProfileError."""
    try:
        profiles = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"there are no profiles: {file} does not exist.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not text, or a date that does not exist
        raise ProfileError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    profiles = profiles if isinstance(profiles, dict) else {}
    if profile not in profiles:
        raise unknown(f"profile in {file.name} is called", profile, map(str, profiles))
    values = profiles[profile] or {}
    if not isinstance(values, dict):
        raise ProfileError(f"{file}, {profile}: expected `setting: value` lines, found {values!r}")
    return values


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value in ("", None):
        return {True: "yes", False: "no"}.get(value, "–")
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def fitting(value: Any, kind: Any, where: str) -> Any:
    """`value` as the type of its field: whole numbers serve as floats, lists as tuples. Raises ProfileError."""
    if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, Settings):
        return kind.of(value, where)
    if isinstance(value, list | tuple) and typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(inner) == len(value):
            return tuple(fitting(item, k, where) for item, k in zip(value, inner, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    name = kind if typing.get_args(kind) else kind.__name__
    raise ProfileError(f"{where} is {value!r}. Write a {name} (YAML needs the point in 1.0e-4).")
