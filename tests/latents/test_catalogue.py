"""What a catalogue says of study 4's galaxies: measured on batches as on all at once, and classes from the truth."""

import numpy as np
import torch
from astropy.table import Table

from paper_utils.latents import catalogue
from paper_utils.measure import apertures

CPU = torch.device("cpu")
CUBE = torch.rand(40, 5, 24, 24, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(24)
TRUTH = Table(
    {
        "quiescent": [False, True, True, True, False], "burst_fraction": [0.0, 0.0, 0.05, 0.05, 0.0],
        "burst_age_gyr": [0.5, 0.5, 0.5, 3.0, 0.5], "agn_class": ["none", "none", "none", "none", "seyfert"],
        "agn_strength": [0.0, 0.0, 0.0, 0.0, 0.3], "log_sfr": [0.0, -2.0, -2.0, -2.0, 0.0],
        "log_mstar": [10.0, 10.5, 10.5, 10.5, 10.2], "sigma_star": [100.0, 200, 200, 200, 150],
        "b_t": [0.1, 0.9, 0.8, 0.8, 0.3], "age_gyr": [3.0, 9, 5, 8, 4], "metallicity": [0.0, 0.1, 0, 0, 0],
        "a_v": [1.0, 0, 0, 0, 0.5], "z": [0.05, 0.1, 0.1, 0.1, 0.07], "r_e": [4.0, 5, 3, 3, 4],
        "n_sersic": [1.0, 4, 3, 3, 2], "inclination": [30.0, 60, 20, 10, 50],
        "mag_g": [18.0, 17.5, 17.8, 17.9, 18.1], "mag_r": [17.5, 16.7, 17.2, 17.3, 17.5],
    }
)  # fmt: skip


def test_batches_are_measured_as_all_at_once():
    noise = torch.full((5,), 0.1)
    found = catalogue.observe(CUBE.split(15), 40, 1.0, 2, CPU, noise)
    assert torch.equal(found.images, CUBE)
    colours, sizes = apertures.catalogue(CUBE, 1.0, noise, 2)
    assert np.allclose(found.colours, colours, atol=1e-4)
    assert np.allclose(found.sizes, sizes, atol=1e-4)
    assert torch.equal(found.noise, noise)


def test_noise_is_that_of_the_first_batch():
    found = catalogue.observe(CUBE.split(15), 40, 1.0, 2, CPU)
    assert torch.equal(found.noise, apertures.sky_noise(CUBE[:15]))


def test_classes_follow_from_the_truth():
    expected = ["star-forming", "quiescent", "post-starburst", "quiescent", "AGN"]
    assert catalogue.classes(TRUTH).tolist() == expected


def test_quantities_and_perfect_photometry_are_those_of_the_truth():
    found = catalogue.quantities(TRUTH)
    assert np.allclose(found["log SFR/M*"], TRUTH["log_sfr"] - TRUTH["log_mstar"])
    assert np.allclose(found["log σ*"], [2, 2.30103, 2.30103, 2.30103, 2.17609])
    total, structure, with_z = catalogue.true_photometry(TRUTH, ["g", "r"]).values()
    assert np.allclose(total[:, 2], TRUTH["mag_g"] - TRUTH["mag_r"])
    assert structure.shape == (5, 7)
    assert np.allclose(10 ** structure[[0, 1], 3], [4 / 1.008, 5 / 1.905], rtol=0.01)  # Planck 2018
    assert np.array_equal(with_z[:, -1], TRUTH["z"])
