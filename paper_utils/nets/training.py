"""Training: one loop for every network, with a progress bar, validation, a loss history and checkpoints that resume.

A network's file says what its loss is, `loss(model, batch, generator) -> {"loss": ..., ...}`; a `Plan` says how long,
how fast and by which optimizer it is brought down; `fit` does it. What has no single loss (the two players of a GAN)
brings a step of its own to `repeat`, the loop inside `fit`. A run that was stopped and resumed gives the same
numbers as one that was not, to the bit on one processor.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from tqdm.auto import tqdm

from paper_utils.nets import checkpoints
from paper_utils.nets.checkpoints import History
from paper_utils.nets.plan import Batch, Loss, Plan, moving_average, optimizer_of, schedule_of

N_RECORDS = 200  # points of a recorded loss history: enough for a curve, few enough for a JSON card
N_VALIDATIONS = 20  # times that the validation loss is looked at
CHUNK = 1024  # validation items at once
CHECKPOINT_S = 60  # seconds between checkpoints


def fabric_on(device: str = "auto", precision: str = "32-true"):
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


class Descent:
    """The step of `fit`: a batch's loss, its gradient, the optimizer; and all that a resumed run needs (`state`)."""

    def __init__(self, model: nn.Module, loss: Loss, data: Batch, plan: Plan, fabric, rows: Tensor | None = None):
        self.model, self.loss, self.data, self.plan, self.fabric, self.rows = model, loss, data, plan, fabric, rows
        self.optimizer = optimizer_of(model, plan)
        self.generator = torch.Generator(fabric.device).manual_seed(plan.seed)
        self.average = None if plan.average is None else moving_average(model, plan.average)
        state = {"model": model, "optimizer": self.optimizer, "generator": self.generator}
        state |= {"average": self.average, "schedule": schedule_of(self.optimizer, plan)}
        self.state = {name: part for name, part in state.items() if part is not None}

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        batch = _batch(self.data, index if self.rows is None else self.rows[index])
        with self.fabric.autocast():
            losses = self.loss(self.model, batch, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses["loss"])
        if self.plan.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        if hasattr(self.model, "constrain"):
            self.model.constrain()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return {name: value.detach() for name, value in losses.items()}


@dataclass
class Validation:
    """The loss of held-out items, with the same draws at every look, and the best weights so far where asked for."""

    model: nn.Module
    loss: Loss
    data: Batch
    plan: Plan
    fabric: Any
    best: float = float("inf")
    since: int = 0  # looks without a lower loss
    weights: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def look(self) -> float:
        """The loss now. NaN is never the best."""
        self.model.eval()
        generator = torch.Generator(self.fabric.device).manual_seed(self.plan.seed)
        n, total = len(next(iter(self.data.values()))), 0.0
        for index in torch.arange(n, device=self.fabric.device).split(CHUNK):
            with self.fabric.autocast():
                total += float(self.loss(self.model, _batch(self.data, index), generator)["loss"]) * len(index)
        self.model.train()
        value = total / n
        self.since = 0 if value < self.best else self.since + 1
        if value < self.best:
            self.best = value
            if self.plan.keep == "best":
                self.weights = {name: w.detach().clone() for name, w in self.model.state_dict().items()}
        return value

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "since", "weights")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.since, self.weights = (state[name] for name in ("best", "since", "weights"))


def fit(
    model: nn.Module,
    loss: Loss,
    data: Batch,
    plan: Plan,
    *,
    rows: Tensor | None = None,
    validation: Batch | None = None,
    fabric=None,
    **options: Any,
) -> History:
    """Train `model` in place as `plan` says; returns the losses, as `repeat` does, in evaluation mode.

    data : tensors (N, ...) on the device by name; a batch holds some rows of each, and their `index` (B,).
    rows : (M,) those to learn from; None for all N.   validation : the same of held-out items.
    fabric : device and precision, see `fabric_on`; by default the CPU.
    A model with a method `constrain` has it called after each step (latents kept on the sphere).
    """
    fabric = fabric or fabric_on("cpu")
    step = Descent(model, loss, data, plan, fabric, rows)
    kept = model if step.average is None else step.average.module
    watch = validation and Validation(kept, loss, validation, plan, fabric)
    n_items = len(next(iter(data.values()))) if rows is None else len(rows)
    history = repeat(step, step.state, n_items, plan, fabric.device, validation=watch, **options)
    if history["finished"]:
        best = watch is not None and plan.keep == "best"
        model.load_state_dict(watch.weights if best else kept.state_dict())
    return history


def repeat(
    step: Callable[[Tensor], dict[str, Tensor]],
    state: Mapping[str, Any],
    n_items: int,
    plan: Plan,
    device: torch.device | str = "cpu",
    *,
    validation: Validation | None = None,
    checkpoint: Path | None = None,
    stop_after_s: float = float("inf"),
    label: str = "training",
    progress: bool = True,
) -> History:
    """Repeat `step` over shuffled batches of indices, plan.n_steps times in all.

    Parameters
    ----------
    step : takes indices (batch_size,) and returns losses by name; it updates the weights itself.
    state : everything that a resumed run needs, by name: modules, optimizers, schedulers (stepped here after each step)
        and torch.Generators.
    checkpoint : file to resume from where it exists; written every minute and when stopped early.
    stop_after_s : stop cleanly after so many seconds; call again with the same checkpoint to go on.

    Returns
    -------
    history: {"step": [...], "<loss>": [...], "n_steps", "wall_s", "finished"}, with validation also "validation_step"
    and "validation". Ctrl-C keeps what has been learned so far: the history then says finished = False, and the
    checkpoint lets the next call go on from there.
    """
    # What decays, weights or moments, ends as denormal numbers, at which a CPU can be forty times slower. From here on
    # they are 0 in this thread, also after the training.
    torch.set_flush_denormal(True)
    state, history = dict(state), {"step": [], "n_steps": 0, "wall_s": 0.0}
    if validation is not None:
        state["validation"] = validation
        history |= {"validation_step": [], "validation": []}
    if checkpoint is not None and checkpoint.exists():
        history = checkpoints.load(checkpoint, state)
    done, n_steps = history["n_steps"], plan.n_steps
    schedulers = [part for part in state.values() if isinstance(part, LRScheduler)]
    modules = nn.ModuleList(part for part in state.values() if isinstance(part, nn.Module)).train()
    batch_size = min(plan.batch_size, n_items)
    per_epoch, every, look = n_items // batch_size, max(n_steps // N_RECORDS, 1), max(n_steps // N_VALIDATIONS, 1)
    wall_before, begin = history["wall_s"], time.perf_counter()
    saved, sums, order, stopped = begin, defaultdict(list), None, False

    def save(finished: bool = False) -> None:
        history.update(n_steps=done, wall_s=wall_before + time.perf_counter() - begin, finished=finished)
        if checkpoint is not None and finished:
            checkpoint.unlink(missing_ok=True)
        elif checkpoint is not None:
            checkpoints.save(checkpoint, state, history)

    bar = tqdm(total=n_steps, initial=done, desc=label, unit="step", disable=not progress, leave=False, mininterval=0.5)
    try:
        with bar:
            while done < n_steps and not stopped:
                if order is None or done % per_epoch == 0:
                    # One permutation per epoch, seeded by the epoch: a resumed run meets the same batches.
                    order = epoch_order(n_items, plan.seed, done // per_epoch).to(device)
                i = done % per_epoch
                losses = step(order[i * batch_size : (i + 1) * batch_size])
                for scheduler in schedulers:
                    scheduler.step()
                done += 1
                for name, value in losses.items():  # summed on the device: .item() only when recorded
                    sums[name].append(value)
                if validation is not None and (done % look == 0 or done == n_steps):
                    history["validation_step"].append(done)
                    history["validation"].append(validation.look())
                    stopped = plan.patience is not None and validation.since >= plan.patience
                if done % every == 0 or done == n_steps or stopped:
                    history["step"].append(done)
                    for name, values in sums.items():
                        history.setdefault(name, []).append(float(torch.stack(values).mean()))
                    bar.set_postfix({name: f"{history[name][-1]:.3g}" for name in sums}, refresh=False)
                    sums.clear()
                    bar.update(done - bar.n)
                now = time.perf_counter()
                if now - saved > CHECKPOINT_S:
                    save()
                    saved = now
                if now - begin > stop_after_s:
                    break
    except KeyboardInterrupt:
        tqdm.write(f"{label}: stopped at step {done} of {n_steps}; what was learned so far is kept")
    save(finished=done >= n_steps or stopped)
    modules.eval()
    return history


def _batch(data: Batch, rows: Tensor) -> Batch:
    return {name: values[rows] for name, values in data.items()} | {"index": rows}


def epoch_order(n_items: int, seed: int, epoch: int) -> Tensor:
    """The shuffled indices (n_items,) of one epoch."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n_items))
