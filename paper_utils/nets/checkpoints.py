"""Checkpoints: the whole state of a training in one safetensors file, tensors and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError

History = dict[str, Any]


def save(path: Path, state: Mapping[str, Any], history: History) -> None:
    """Write modules, optimizers, schedulers and torch.Generators by name, and the losses so far."""
    tensors: dict[str, Tensor] = {}

    def strip(value: Any, name: str) -> Any:
        """Move tensors out into `tensors`, leaving their names behind in a structure that JSON can hold."""
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().contiguous()
            return {"__tensor__": name}
        if isinstance(value, Mapping):
            return {"__items__": [[key, strip(item, f"{name}/{key}")] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return [strip(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value

    parts = {
        name: strip(part.get_state() if isinstance(part, torch.Generator) else part.state_dict(), name)
        for name, part in state.items()
    }
    with paths.atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(parts), "history": json.dumps(history)})


def load(path: Path, state: Mapping[str, Any]) -> History:
    """Put a checkpoint back into the same parts; returns the losses so far.

    Raises WeightsError for a file that is damaged or of another training.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file, not a dict)
            metadata = file.metadata()
        parts, history = json.loads(metadata["state"]), json.loads(metadata["history"])

        def restore(value: Any) -> Any:
            if isinstance(value, dict):
                if "__tensor__" in value:
                    return tensors[value["__tensor__"]]
                return {key: restore(item) for key, item in value["__items__"]}
            return [restore(item) for item in value] if isinstance(value, list) else value

        for name, part in state.items():
            value = restore(parts[name])
            part.set_state(value) if isinstance(part, torch.Generator) else part.load_state_dict(value)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: this checkpoint does not fit ({error}). Delete it and train afresh.") from error
    return history
