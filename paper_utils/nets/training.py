"""Training: one loop for every network, with a progress bar, a loss history and checkpoints that resume.

A network's own file says what one step does (`glo_step`, `wgan_step`; a plain loss is `supervised_step` below), `fit`
repeats it. Finished models are kept and found again by weights.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError
from paper_utils.nets.descent import descend

N_RECORDS = 200  # points of a recorded loss history: enough for a curve, few enough for a JSON card


def fabric(device: str = "auto", precision: str = "32-true"):
    """Lightning Fabric on one device: "auto" takes a CUDA GPU or else the CPU; Apple's GPUs lack float64."""
    from lightning_fabric import Fabric

    accelerator = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed` and leave the caller's random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def supervised_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    backward: Callable[[Tensor], None],
) -> Callable[[Tensor], dict[str, Tensor]]:
    """A plain loss: step over indices (B,) into inputs x (N, ...) and targets y (N, ...), both on the device."""

    def step(index: Tensor) -> dict[str, Tensor]:
        value = loss(model(x[index]), y[index])
        descend(optimizer, value, backward)
        return {"loss": value.detach()}

    return step


def halving(
    optimizer: torch.optim.Optimizer, n_steps: int, n_halvings: int = 5
) -> torch.optim.lr_scheduler.LRScheduler:
    """Halve the learning rate at equal intervals, as study 1: every 2 000 of 10 000 epochs, 3 000 of 15 000 steps."""
    return torch.optim.lr_scheduler.StepLR(optimizer, max(n_steps // n_halvings, 1), gamma=0.5)


def fit(
    step: Callable[[Tensor], dict[str, Tensor]],
    state: Mapping[str, Any],
    *,
    n_items: int,
    batch_size: int,
    n_steps: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_s: float = 60.0,
    stop_after_s: float = float("inf"),
    label: str = "training",
    progress: bool = True,
) -> dict[str, Any]:
    """Repeat `step` over shuffled batches of indices, n_steps times in all.

    Parameters
    ----------
    step : takes indices (batch_size,) and returns losses by name; it updates the weights itself.
    state : everything that a resumed run needs, by name: modules, optimizers, schedulers (stepped here after each step)
        and torch.Generators.
    checkpoint : file to resume from where it exists; saved to every `checkpoint_s` seconds and when stopped early.
    stop_after_s : stop cleanly after so many seconds; call again with the same checkpoint to go on.

    Returns
    -------
    history: {"step": [...], "<loss>": [...], "n_steps", "wall_s", "finished"}. Ctrl-C keeps what has been learned so
    far: the history then says finished = False, and the checkpoint lets the next call go on from there.
    """
    history: dict[str, Any] = {"step": [], "wall_s": 0.0}
    done = 0
    if checkpoint is not None and checkpoint.exists():
        history = load_state(checkpoint, state)
        done = history["n_steps"]
    schedulers = [s for s in state.values() if isinstance(s, torch.optim.lr_scheduler.LRScheduler)]
    modules = [m for m in state.values() if isinstance(m, nn.Module)]
    per_epoch = max(n_items // batch_size, 1)
    every = max(n_steps // N_RECORDS, 1)
    wall_before, begin = history["wall_s"], time.perf_counter()
    saved, sums = begin, {}

    def save() -> None:
        history.update(n_steps=done, wall_s=wall_before + time.perf_counter() - begin)
        if checkpoint is not None:
            save_state(checkpoint, state, history)

    for module in modules:
        module.train()
    bar = tqdm(total=n_steps, initial=done, desc=label, unit="step", disable=not progress, leave=False, mininterval=0.5)
    order = None
    try:
        with bar:
            while done < n_steps:
                if order is None or done % per_epoch == 0:
                    # One permutation per epoch, seeded by the epoch: a resumed run meets the same batches.
                    order = epoch_order(n_items, seed, done // per_epoch).to(device)
                i = done % per_epoch
                losses = step(order[i * batch_size : (i + 1) * batch_size])
                for scheduler in schedulers:
                    scheduler.step()
                done += 1
                for name, value in losses.items():  # summed on the device: .item() only when recorded
                    sums.setdefault(name, []).append(value)
                if done % every == 0 or done == n_steps:
                    history["step"].append(done)
                    for name, values in sums.items():
                        history.setdefault(name, []).append(float(torch.stack(values).mean()))
                    bar.set_postfix({name: f"{history[name][-1]:.3g}" for name in sums})
                    sums = {}
                    bar.update(done - bar.n)
                now = time.perf_counter()
                if now - saved > checkpoint_s:
                    save()
                    saved = now
                if now - begin > stop_after_s:
                    break
    except KeyboardInterrupt:
        tqdm.write(f"{label}: stopped at step {done} of {n_steps}; what was learned so far is kept")
    history["finished"] = done >= n_steps
    if history["finished"]:
        history.update(n_steps=done, wall_s=wall_before + time.perf_counter() - begin)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    else:
        save()
    for module in modules:
        module.eval()
    return history


def epoch_order(n_items: int, seed: int, epoch: int) -> Tensor:
    """The shuffled indices (n_items,) of one epoch."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n_items))


def save_state(path: Path, state: Mapping[str, Any], history: dict[str, Any]) -> None:
    """Write a checkpoint of modules, optimizers, schedulers and torch.Generators: tensors and JSON, nothing pickled."""
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


def load_state(path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """Put a checkpoint of `save_state` back into the same parts; returns the history so far."""
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
