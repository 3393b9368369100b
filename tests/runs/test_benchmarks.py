"""Every benchmark still begins, and those that can be made small also end: their numbers are for quiet machines."""

import contextlib
import importlib.util
import sys

import pytest
import torch

from paper_utils.base import paths

FILES = {path.stem.removeprefix("bench_"): path for path in (paths.ROOT / "benchmarks").glob("bench_*.py")}
# Sizes in place of a benchmark's own, and words of its command line. The others are imported only: they share work
# among processes, or train as long as a study does.
TINY = {
    "alhambra": ({"N": 200, "N_SPECTRA": 4, "N_LOOP": 2}, ()),
    "apply_photoz": ({}, ("--lengths", "50")),
    "autoencoder": ({"N": 2, "ROUNDS": 1}, ()),
    "dense": ({"N": 1000, "N_EPOCHS": 1, "SHARE": 0.2}, ()),
    "diffusion": ({}, ("--batch", "2", "--steps", "2", "--images", "2", "--samples", "1")),
    "images": ({"N": 10, "N_LOOP": 1, "FINE": 1}, ()),
    "images_to_latents": ({}, ("--size", "32", "--width", "0.25", "--batch", "2", "--steps", "1")),
    "optical": ({"N": 20, "N_LOOP": 2, "ROUNDS": 1}, ()),
    "photoz": ({}, ("--n", "500", "--n-more", "600", "--n-test", "20")),
    "realism": ({}, ("400",)),
    "reconstruction": ({"N_GALAXIES": 4, "N_STEPS": 2, "N_LOOP": 1}, ()),
    "shift": ({"N": 12}, ()),
    "sky": ({"N": 20, "N_LOOP": 1}, ()),
}


@pytest.fixture(autouse=True)
def same_number_of_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_benchmark_runs(name, request, monkeypatch, capsys):
    if "templates.emiles" in FILES[name].read_text(encoding="utf-8"):
        request.getfixturevalue("emiles")  # or it is skipped
    monkeypatch.syspath_prepend(FILES[name].parent)  # what benchmarks share lies beside them
    spec = importlib.util.spec_from_file_location(FILES[name].stem, FILES[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if name not in TINY:
        return
    sizes, words = TINY[name]
    for constant, value in sizes.items():
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(sys, "argv", [FILES[name].name, *words])
    with contextlib.suppress(SystemExit):  # says that a few galaxies are not like the real ones
        module.main()
    assert capsys.readouterr().out
