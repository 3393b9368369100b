"""What all trainings of one run of a study share: device, seed and data; each network is trained once and kept."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paper_utils.base import hashes, paths
from paper_utils.base.errors import WeightsError
from paper_utils.nets import model_file, training
from paper_utils.nets.checkpoints import History
from paper_utils.nets.model_file import Card, Model, slug
from paper_utils.nets.plan import Batch, Loss, Plan

Train = Callable[..., History]  # train(checkpoint=, label=, progress=)
Finish = Callable[[Model], object]  # what to do with a trained model before it is kept, such as its calibration
N_SAMPLED = 2**20  # elements of a tensor that its fingerprint looks at one by one


@dataclass
class Run:
    """One run of a study.

    study, profile : such as "01" and "quick".   seed : of weights, order of the data and draws.
    device, precision : "auto", "cpu" or "cuda", and as Lightning Fabric has them.
    weights : "train"; a folder of model files, which then are used instead of training; or "shipped": those models that
        come with the project are used where they are what this run would train, by architecture, plan and data.
    data : hashes "library" and "split" of all objects and of those to learn from; model files that learned from some
        of this run's test objects are refused.
    cache : where trained networks are kept; None for the project's.
    cards : of all networks so far, by name.
    """

    study: str
    profile: str = "quick"
    seed: int = 0
    device: str = "auto"
    precision: str = "32-true"
    weights: str = "train"
    data: Mapping[str, str] = field(default_factory=dict)
    cache: Path | None = None
    progress: bool = True
    cards: dict[str, Card] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)

    @cached_property
    def fabric(self):
        return training.fabric_on(self.device, self.precision)

    def make(self, build: Callable[[], Model], offset: int = 0) -> Model:
        """A network with first weights drawn from the run's seed + offset, on the run's device."""
        with training.seeded(self.seed + offset):
            return build().to(self.fabric.device)

    def fit(
        self,
        name: str,
        model: Model,
        loss: Loss,
        data: Batch,
        plan: Plan,
        *,
        rows: Tensor | None = None,
        validation: Batch | None = None,
        finish: Finish | None = None,
        keep: Callable[[Model], Model] = lambda model: model,
        **about: Any,
    ) -> Model:
        """`training.fit`, unless the run's weights or the cache have this network; returns it in evaluation mode.

        about : more for the card: what the model is, its settings, known limits.
        keep : as in `trained`.
        The cache knows a network by first weights, data, plan, loss and the code behind them.
        """
        train = partial(training.fit, model, loss, data, plan, rows=rows, validation=validation, fabric=self.fabric)
        return self.trained(name, model, train, (data, plan, loss, rows, finish), finish, keep, **about)

    def trained(
        self,
        name: str,
        model: Model,
        train: Train,
        inputs: tuple,
        finish: Finish | None = None,
        keep: Callable[[Model], Model] = lambda model: model,
        **about: Any,
    ) -> Model:
        """The same of any training in place.

        inputs : all that decides its result apart from the model's first weights, for the cache.
        keep : the part of the trained model that is of use; it is what is kept and returned.
        Raises WeightsError for weights that are missing, damaged, of another architecture or of this run's test data.
        """
        product = keep(model)
        given = self._given(name, product, inputs)
        if given is None:
            key = _fingerprint(type(model), model.config, model.state_dict(), inputs)
            kept = (self.cache or paths.CACHE / "models") / f"{self.study}-{slug(name)}-{key[:16]}.safetensors"
        if given or kept.exists():
            self._take(given or kept, product)
        else:
            history = train(checkpoint=kept.with_suffix(".checkpoint"), label=name, progress=self.progress)
            if history["finished"] and finish is not None:
                finish(model)
            product.card = self._card(name, history, inputs) | about
            if history["finished"]:
                product.save(kept)
        self.cards[name], self.models[name] = product.card, product
        return product.eval()

    def export(self, folder: Path, scores: Mapping[str, Any] | None = None, half: bool = False) -> None:
        """All finished models as files in a folder, where `weights` finds them, each with what it achieved by name;
        `half` as in `Model.save`."""
        for name, model in self.models.items():
            if model.card.get("finished"):
                achieved = model.card.get("scores", {}) | (scores or {}).get(name, {})
                model.save(folder / f"{slug(name)}.safetensors", half, scores=achieved)

    def _given(self, name: str, product: Model, inputs: tuple) -> Path | None:
        """The file that `weights` has for a network, which has to be there; None if it is to be trained."""
        folder = paths.WEIGHTS / self.study if self.weights == "shipped" else Path(self.weights)
        file = folder / f"{slug(name)}.safetensors"
        if self.weights == "train" or (self.weights == "shipped" and not file.exists()):
            return None
        if self.weights != "shipped":
            return file
        card, _ = model_file.read(file)
        wanted = {"config": product.config, "plan": _plan(inputs), "data": dict(self.data)}
        return file if all(card[key] == value for key, value in wanted.items()) else None

    def _take(self, file: Path, model: Model) -> None:
        found = type(model).load(file, str(self.fabric.device))
        differing = {k: (found.config.get(k), v) for k, v in model.config.items() if found.config.get(k) != v}
        if differing:
            words = ", ".join(f"{k} is {saved!r}, here {here!r}" for k, (saved, here) in differing.items())
            raise WeightsError(f"{file}: another architecture: {words}. Use its profile ({found.card.get('profile')}).")
        seen, here = found.card.get("data", {}), self.data
        if here and seen.get("library") == here.get("library") and seen.get("split") != here.get("split"):
            raise WeightsError(
                f"{file}: trained on some of this run's test objects. Use its split's seed, or train anew."
            )
        model.load_state_dict(found.state_dict())
        model.card = found.card

    def _card(self, name: str, history: History, inputs: tuple) -> Card:
        return {
            **{key: getattr(self, key) for key in ("study", "profile", "seed")},
            "name": name,
            "plan": _plan(inputs),
            "data": dict(self.data),
            "device": str(self.fabric.device),
            "torch": torch.__version__,
            "commit": hashes.commit(),
            "wall_s": round(history["wall_s"], 2),
            "finished": history["finished"],
            "history": history,
        }


def _plan(inputs: tuple) -> dict[str, Any]:
    """What a card says of the plans among the inputs of a training."""
    plans = [vars(part) for part in inputs if isinstance(part, Plan)]
    return {key: value for plan in plans for key, value in plan.items() if not callable(value)}


def _fingerprint(*parts: Any) -> str:
    """SHA-256 of tensors, plans, plain values, and functions and classes with the code of their modules."""
    code = {Path(training.__file__)}

    def plain(value: Any) -> Any:
        """What JSON holds of a value that it does not know."""
        if isinstance(value, Tensor):
            flat = value.detach().reshape(-1).contiguous()
            sampled = flat[:: len(flat) // N_SAMPLED + 1].cpu().contiguous().view(torch.uint8).numpy()
            total = int(flat.view(torch.uint8).sum(dtype=torch.int64))  # of all bytes; exact in any order
            return [str(value.dtype), value.shape, hashlib.sha256(sampled).hexdigest(), total]
        if isinstance(value, partial):
            return [value.func, value.args, value.keywords]
        if isinstance(value, Plan):
            return vars(value)
        file = Path(inspect.getsourcefile(value) or "")
        if not file.is_relative_to(hashes.PACKAGE):  # of a notebook
            return inspect.getsource(value)
        code.add(file)
        return value.__qualname__

    text = json.dumps(parts, default=plain)
    behind = code.union(*(hashes.imported(file.read_text(encoding="utf-8")) for file in code))
    text += hashes.code_hash_of(file for file in behind if file.parent.name != "base")
    return hashlib.sha256(text.encode()).hexdigest()
