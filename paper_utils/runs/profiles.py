"""Profiles: how much of a study a notebook runs. `smoke` takes seconds, `quick` minutes, `paper` the published sizes.

A profile is a top-level key of notebooks/profiles/NN.yaml; its keys are parameters of notebook NN.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError, unknown

NAMES = ("smoke", "quick", "paper")


def load(study: str, profile: str, folder: Path | None = None) -> dict[str, object]:
    """Parameter values of one profile of one study.

    Raises ProfileError for an unknown study or profile, a key that the notebook does not have as a parameter, or a
    value whose type differs from that of the notebook's default.
    """
    import yaml

    notebook = paths.notebook(study, folder)
    file = notebook.parent / "profiles" / f"{study}.yaml"
    try:
        profiles = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"{notebook.name} has no profiles: {file} does not exist.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not text, or a date that does not exist
        raise ProfileError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(profiles, dict) or profile not in profiles:
        names = map(str, profiles) if isinstance(profiles, dict) else ()
        raise unknown(f"profile in {file.name} is called", profile, names)
    values = profiles[profile] or {}
    if not isinstance(values, dict):
        raise ProfileError(f"{file}, {profile}: expected `parameter: value` lines, found {values!r}")
    return checked(values, notebook, f"{file}, {profile}")


def checked(values: dict[str, object], notebook: Path, where: str) -> dict[str, object]:
    """`values`, if each is a parameter of the notebook and of its default's type; else ProfileError, naming `where`."""
    defaults = parameters(notebook)
    for key, value in values.items():
        if key not in defaults:
            raise unknown(f"parameter of {notebook.name} is called", str(key), defaults)
        if not _fits(value, defaults[key]):
            raise ProfileError(
                f"{where}: {key} is {value!r}, but the notebook's default is {defaults[key]!r}. "
                f"Write a {type(defaults[key]).__name__} (YAML needs the point in 1.0e-4)."
            )
    return values


def assignments(texts: list[str], option: str = "--set") -> dict[str, dict[str, object]]:
    """Values by study and parameter from texts of the form NN.NAME=VALUE, VALUE in YAML. Raises ProfileError.

    Paths are made absolute, since notebooks run in another folder.
    """
    import yaml

    found: dict[str, dict[str, object]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        study, dot, name = target.partition(".")
        if not equals or not dot:
            raise ProfileError(f"{option} {text!r} is not of the form NN.NAME=VALUE, such as {option} 01.n_epochs=200.")
        try:
            found.setdefault(study.zfill(2), {})[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
            raise ProfileError(f"{option} {text!r}: {value!r} is not a value in YAML; put text in quotes.") from None
    for study, values in found.items():
        notebook = paths.notebook(study)
        checked(values, notebook, option)
        if given := {"profile", "output"} & set(values):
            raise ProfileError(f"{option}: {given.pop()} has an option of its own, --profile or --output.")
        defaults = parameters(notebook)
        # A parameter that is empty by default is a path; elsewhere a slash tells one.
        found[study] = {
            name: _absolute(value) if isinstance(value, str) and ("/" in value or defaults[name] == "") else value
            for name, value in values.items()
        }
    return found


def _absolute(text: str) -> str:
    """Of what is there on disk; other texts as they are."""
    try:
        path = Path(text).expanduser()
        return str(path.absolute()) if text and path.exists() else text
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character: no path
        return text


def parameters(notebook: Path) -> dict[str, object]:
    """Names and default values in the notebook's cell tagged `parameters`; empty when it has none."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", ()):
            break
    else:
        return {}
    found = {}
    for statement in ast.parse("".join(cell["source"])).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and statement.value is not None:
            try:
                found[target.id] = ast.literal_eval(statement.value)
            except ValueError:
                raise ProfileError(
                    f"{notebook.name}: parameter {target.id} is not a literal. Derive values in the next cell."
                ) from None
    return found


def _fits(value: object, default: object) -> bool:
    if default is None or type(value) is type(default):
        return True
    return isinstance(default, float) and type(value) is int
