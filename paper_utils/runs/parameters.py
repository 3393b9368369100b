"""What a run of a notebook is given: the names in its parameters cell, and settings of its study.

A notebook's cell tagged `parameters` names what a run decides (profile, data, output, device, seed, weights); sizes
and lengths are in the study's Settings, whose values are those of the profile, changed by `settings`.
"""

import ast
import json
import os
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError, unknown
from paper_utils.nets import settings
from paper_utils.runs import studies

SETTINGS = "settings"  # the parameter that takes changed settings: {"lr": 0.1, "train.n_steps": 5}
WITH_OPTIONS = {"profile": "--profile", "output": "--output", SETTINGS: "--set NN.NAME=VALUE, one by one"}


def defaults(notebook: Path) -> dict[str, object]:
    """Names and default values in the notebook's cell tagged `parameters`; empty when it has none."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = (cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    found = {}
    for statement in ast.parse("".join(next(tagged, ""))).body:
        name = ast.unparse(getattr(statement, "target", None) or statement.targets[0])
        try:
            found[name] = ast.literal_eval(statement.value)
        except ValueError:
            problem = f"parameter {name} is not a literal. Derive values in the next cell."
            raise ProfileError(f"{notebook.name}: {problem}") from None
    return found


def values_of(notebook: Path, profile: str) -> dict[str, object]:
    """What a profile says of a notebook's study, as written in profiles/NN.yaml. Raises ProfileError."""
    return settings.read(notebook.parent / "profiles" / f"{notebook.name[:2]}.yaml", profile)


def assigned(texts: list[str], profile: str) -> dict[str, dict[str, object]]:
    """Parameters by study from texts NN.NAME=VALUE, VALUE in YAML; settings of the study come under "settings".

    Paths are made absolute, since notebooks run in another folder.
    Raises ProfileError for names that do not exist, and values of another type.
    """
    import yaml

    found: dict[str, dict[str, object]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        study, dot, name = target.partition(".")
        if not equals or not dot:
            raise ProfileError(f"--set {text!r} is not of the form NN.NAME=VALUE, such as --set 01.n_epochs=200.")
        try:
            found.setdefault(study.zfill(2), {})[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
            raise ProfileError(f"--set {text!r}: {value!r} is not a value in YAML; put text in quotes.") from None
    return {study: _sorted(study, values, profile) for study, values in found.items()}


def _sorted(study: str, values: dict[str, object], profile: str) -> dict[str, object]:
    """Those that are the notebook's own parameters, and the others, which have to be settings."""
    notebook = paths.notebook(study)
    known = defaults(notebook)
    if given := WITH_OPTIONS.keys() & values.keys():
        name = given.pop()
        raise ProfileError(f"--set: {name} has an option of its own, {WITH_OPTIONS[name]}.")
    changed = {name: value for name, value in values.items() if name not in known}
    if changed and SETTINGS not in known:
        raise unknown(f"parameter of {notebook.name} is called", next(iter(changed)), known)
    if changed:
        studies.settings(study, profile, changed)  # raises for what does not fit
    own = {}
    for name in values.keys() - changed.keys():
        value = settings.fitting(values[name], type(known[name]), f"--set: {name}")
        if isinstance(value, str) and ("/" in value or known[name] == ""):
            path = os.path.expanduser(value)
            value = os.path.abspath(path) if os.path.exists(path) else value
        own[name] = value
    return own | ({SETTINGS: changed} if changed else {})
