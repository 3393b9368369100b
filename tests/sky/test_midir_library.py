"""The mock infrared library: energy, dust physics, the ranges of Table A.1, and a look like real galaxies."""

from types import SimpleNamespace

import numpy as np
import pytest

from paper_utils.base import dust
from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.midir.features import pah_strength, silicate_depth
from paper_utils.sky import midir_library, transfer


def power(flux):
    return np.trapezoid(np.asarray(flux) / WAVE_UM, np.log(WAVE_UM), axis=-1)


def at(wave_um):
    return np.argmin(abs(WAVE_UM - wave_um))


def galaxies(**columns):
    """A table of one galaxy per entry of `columns`, the other parameters in the middle of their ranges."""
    from astropy.table import Table

    n = max(np.size(v) for v in columns.values())
    every = (*midir_library.PARAMETERS, *midir_library.HIDDEN)
    hidden = {p.name: np.sqrt(p.low * p.high) for p in midir_library.HIDDEN if p.low > 0}
    middle = {p.name: np.full(n, hidden.get(p.name, 0.5 * (p.low + p.high))) for p in every}
    shares = {f: np.full(n, 1 / 3) for f in midir_library.FRACTIONS.values()}
    return Table({**middle, **shares, **{k: np.broadcast_to(v, n) for k, v in columns.items()}})


@pytest.fixture(scope="module")
def params():
    return midir_library.draw(400, seed=3)


@pytest.fixture(scope="module")
def parts(params):
    return midir_library.components(params)


def test_parameters_fill_the_ranges_of_table_a1():
    expected = {
        "tau_V": (50, 250), "tau_star": (10, 30), "t_star": (5, 35), "tau_s": (0.125, 8), "psi_s": (1, 17),
        "tau_v_s": (0.1, 15), "tau_uv": (250, 1450), "r2_r1": (20, 100), "theta_o": (30, 75), "theta_i": (0, 90),
    }  # fmt: skip
    table = midir_library.draw(4000, seed=0)
    for name, (low, high) in expected.items():
        column = np.asarray(table[name])
        assert low <= column.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < column.max() <= high
    shares = np.array([table[f] for f in midir_library.FRACTIONS.values()])
    np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-12)
    # Dirichlet(1, 0.7, 0.7) has means a / sum(a), and each component dominates somewhere.
    np.testing.assert_allclose(shares.mean(axis=1), np.array([1, 0.7, 0.7]) / 2.4, atol=0.02)
    assert (shares.max(axis=1) > 0.95).all()
    assert len(set(table["id"])) == 4000


def test_hidden_parameters_fill_their_ranges_and_depend_on_nothing():
    table = midir_library.draw(4000, seed=0)
    names = [p.name for p in (*midir_library.PARAMETERS, *midir_library.HIDDEN)]
    assert set(table.colnames) == {"id", *names, *midir_library.FRACTIONS.values()}
    for p in midir_library.HIDDEN:
        column = np.asarray(table[p.name])
        share = np.log(column / p.low) / np.log(p.high / p.low) if p.low > 0 else (column - p.low) / (p.high - p.low)
        np.testing.assert_allclose(np.quantile(share, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.03)
    # What the truth knows is not hidden in another column: 4000 draws correlate by chance to 0.06 at most.
    correlation = np.corrcoef([np.asarray(table[name]) for name in names]) - np.eye(len(names))
    assert abs(correlation).max() < 0.07


@pytest.mark.parametrize("component", ["starburst", "host", "torus"])
def test_dust_gives_back_what_it_takes(parts, component):
    balance = {k: v.numpy() for k, v in parts["power"][component].items()}
    np.testing.assert_allclose(balance["reemitted"], balance["absorbed"], rtol=1e-10)
    np.testing.assert_allclose(balance["intrinsic"], 1, rtol=1e-10)
    assert ((balance["absorbed"] > 0) & (balance["absorbed"] < 1)).all()
    np.testing.assert_allclose(power(parts[component]), 1, rtol=1e-10)


def test_torus_seen_from_all_sides_sums_to_the_disc():
    """Averaging the observed spectra over inclination with sin(theta) recovers the disc's power."""
    angle = np.linspace(0, 90, 181)
    t = transfer.tables("cpu")
    for tau, ratio, opening in ((250, 20, 30), (1450, 100, 75), (800, 50, 50)):
        table = galaxies(tau_uv=tau, r2_r1=ratio, theta_o=opening, theta_i=angle)
        seen = power(midir_library._torus(midir_library._own(table, "torus", "cpu"), t)[0])
        weight = np.sin(np.radians(angle))
        assert seen @ weight / weight.sum() == pytest.approx(1, rel=1e-3)
        assert seen[0] > seen[-1]  # brighter from the pole


def test_an_onion_is_transparent_to_nothing_it_should_not_be():
    """The primary light that leaves is exp(-tau k) of what entered, whatever the shells do in between."""
    import torch

    t, one = transfer.tables("cpu"), torch.ones(2, dtype=torch.float64)
    dust_of = SimpleNamespace(pah=0.2 * one, small=0.1 * one, ionised=one, silicate=one, delta=0 * one)
    primary = transfer.unit_power(torch.ones(2, WAVE_UM.size, dtype=torch.float64), t.weight)
    tau = torch.tensor([1.0, 40.0], dtype=torch.float64)
    radius = torch.linspace(1, 5, 18, dtype=torch.float64).expand(2, -1)
    out = transfer.onion(primary, tau, radius, 300 * one, dust_of, t)
    _, k_abs = dust.opacity(WAVE_UM)
    np.testing.assert_allclose(
        out.direct, primary.numpy() * np.exp(-tau.numpy()[:, None] * k_abs), rtol=1e-6, atol=1e-15
    )
    assert (out.temperature.diff(dim=1) < 0).all()  # colder outward
    assert (out.temperature[:, 0] < 320).all()


def test_dust_opacity():
    extinction, absorption = dust.opacity(WAVE_UM)
    assert np.interp(0.55, WAVE_UM, extinction) == pytest.approx(1, rel=0.02)
    assert (absorption > 0).all()
    assert (absorption <= extinction).all()
    # 2175 A bump, 9.7 and 18 um bands, and a power law near wave^-2 in the far infrared.
    for peak, sides in ((0.2175, (0.17, 0.27)), (9.7, (7.5, 13.5)), (18, (14, 30))):
        line = np.exp(np.interp(np.log(peak), np.log(sides), np.log(np.interp(sides, WAVE_UM, extinction))))
        assert np.interp(peak, WAVE_UM, extinction) > 1.1 * line
    slope = np.log(absorption[at(800)] / absorption[at(150)]) / np.log(WAVE_UM[at(800)] / WAVE_UM[at(150)])
    assert -2.2 < slope < -1.6


def test_albedo_is_that_of_the_mixture():
    """The nodes kept in the module agree with the table of Draine (2003) that dust_extinction ships."""
    from importlib.resources import files

    table = files("dust_extinction") / "data" / "kext_albedo_WD_MW_3.1_60_D03.dat"
    if not table.is_file():
        pytest.skip("this release of dust_extinction keeps its tables elsewhere")
    rows = []
    for line in table.read_text().splitlines():
        try:
            rows.append([float(x) for x in line.split()[:4]])
        except ValueError:
            continue
    rows = np.array([r for r in rows if len(r) == 4])
    wave, albedo = rows[:, 0][::-1], rows[:, 1][::-1]
    extinction, absorption = dust.opacity(WAVE_UM)
    np.testing.assert_allclose(absorption / extinction, 1 - np.interp(WAVE_UM, wave, albedo), atol=0.05)


def test_pah_bins_keep_the_bands_power():
    """Averaged over bins a quarter as wide, the bands hold the same power, each where it belongs."""
    coarse = dust.pah_spectrum(WAVE_UM)
    fine_wave = np.geomspace(0.03, 12000, 222 * 8 + 1)
    fine = dust.pah_spectrum(fine_wave)
    fine_power = np.trapezoid(fine / fine_wave, np.log(fine_wave))
    assert np.trapezoid(coarse / WAVE_UM, np.log(WAVE_UM)) == pytest.approx(fine_power, rel=0.01)
    shares = dust.PAH_BANDS[:, 2]
    near = (fine_wave > 3.1) & (fine_wave < 3.5)
    band = np.trapezoid((fine / fine_wave)[near], np.log(fine_wave[near])) / fine_power
    assert band == pytest.approx(shares[0] / shares.sum(), rel=0.3)


def test_pahs_shine_in_starburst_and_host_but_not_in_the_torus(parts):
    ew = {k: pah_strength(WAVE_UM, parts[k].numpy())[0] for k in ("starburst", "host", "torus")}
    assert np.median(ew["starburst"]) > 0.4
    assert np.median(ew["host"]) > 0.4
    assert np.percentile(ew["starburst"], 1) > 0.005  # where clouds are hot, few survive, as in buried nuclei
    assert abs(ew["torus"]).max() < 0.03


def test_silicates_deepen_with_the_clouds_optical_depth_and_with_the_share_of_silicates():
    light = midir_library.components(galaxies(tau_V=np.linspace(50, 250, 9)))["starburst"].numpy()
    depth = silicate_depth(WAVE_UM, light)
    assert (np.diff(depth) < 0).all()
    assert depth[-1] < depth[0] - 0.3
    light = midir_library.components(galaxies(silicate_SB=np.linspace(0.4, 2, 9)))["starburst"].numpy()
    assert (np.diff(silicate_depth(WAVE_UM, light)) < 0).all()


def test_silicates_have_the_signs_and_strengths_of_real_galaxies(params, parts):
    """Starbursts -0.5 to -1.7, discs -0.2 to -0.7, bare quasars 0 to +0.4: templates of Rieke+ 2009, SWIRE, Lyu+ 2017.

    The mean galaxy of each class lies there, and hardly any with the wrong sign.
    """
    depth = {name: silicate_depth(WAVE_UM, parts[name].numpy()) for name in ("starburst", "host", "torus")}
    bare = depth["torus"][np.asarray(params["theta_i"] < params["theta_o"] - 5)]
    for values, low, high in ((depth["starburst"], -1.7, -0.5), (depth["host"], -0.7, -0.2), (bare, 0, 0.4)):
        assert low < np.median(values) < high
    assert np.mean(depth["starburst"] > 0) < 0.06  # filled H II regions; a quarter of SK07
    assert np.mean(depth["host"] > 0) < 0.05
    assert np.quantile(bare, 0.99) < 1.05


def test_the_far_infrared_of_starbursts_spreads_as_in_the_sky(params, parts):
    """f60/f100 is 0.34-0.60 in IRAS galaxies and 0.6-1.2 in templates of luminous ones (Rieke+ 2009)."""
    light = parts["starburst"].numpy()
    colour = light[:, at(60)] / light[:, at(100)]
    assert 0.45 < np.median(colour) < 1
    assert np.subtract(*np.quantile(colour, [0.84, 0.16])) > 0.3
    host = parts["host"].numpy()
    assert 1 < np.median(host[:, at(15)] / host[:, at(6)]) < 2.6


# Hidden parameter -> component, how to measure what it does, and whether that rises with it.
RELATIONS = {
    "t_cloud": ("starburst", lambda f: f[:, at(60)] / f[:, at(200)], 1),  # warmer grains
    "r_cloud": ("starburst", lambda f: f[:, at(0.2)] / f[:, at(100)], -1),  # slower to open
    "fill": ("starburst", lambda f: f[:, at(15)] / f[:, at(60)], 1),  # dust close to the stars
    "n_clumps": ("starburst", lambda f: f[:, at(0.2)] / f[:, at(100)], -1),
    "tau_screen": ("starburst", lambda f: f[:, at(0.2)] / f[:, at(0.7)], -1),
    "psi_screen": ("starburst", lambda f: f[:, at(250)] / f[:, at(80)], -1),
    "pah_SB": ("starburst", lambda f: pah_strength(WAVE_UM, f)[0], 1),
    "ionised_SB": ("starburst", lambda f: f[:, at(7.7)] / f[:, at(11.3)], 1),
    "small_SB": ("starburst", lambda f: f[:, at(15)] / f[:, at(100)], 1),
    "silicate_SB": ("starburst", lambda f: silicate_depth(WAVE_UM, f), -1),
    "delta_SB": ("starburst", lambda f: f[:, at(0.15)] / f[:, at(0.4)], 1),  # a greyer law hides less
    "age_s": ("host", lambda f: f[:, at(0.3)] / f[:, at(1.0)], -1),
    "metals_s": ("host", lambda f: f[:, at(0.4)] / f[:, at(1.0)], -1),
    "hot_s": ("host", lambda f: f[:, at(25)] / f[:, at(100)], 1),
    "ionised_s": ("host", lambda f: f[:, at(7.7)] / f[:, at(11.3)], 1),
    "t_sub": ("torus", lambda f: f[:, at(2.2)] / f[:, at(12)], 1),
    "slope_AGN": ("torus", lambda f: f[:, at(4)] / f[:, at(30)], 1),  # dust closer in
    "tau_polar": ("torus", lambda f: f[:, at(0.2)] / f[:, at(1.0)], -1),
    "t_polar": ("torus", lambda f: f[:, at(60)] / f[:, at(20)], -1),
    "slope_disc": ("torus", lambda f: f[:, at(1.0)] / f[:, at(0.2)], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", RELATIONS)
def test_a_hidden_parameter_does_what_it_says(name):
    component, measure, sign = RELATIONS[name]
    p = next(p for p in midir_library.HIDDEN if p.name == name)
    table = galaxies(**{name: np.linspace(p.low, p.high, 6), "theta_i": 20})
    assert (sign * np.diff(measure(midir_library.components(table)[component].numpy())) > 0).all()


def test_hidden_parameters_are_recovered_from_a_drawn_population():
    """Among galaxies that differ in everything else, too, each relation shows up as a rank correlation."""
    from scipy.stats import spearmanr

    table = midir_library.draw(1200, seed=11)
    light = midir_library.components(table)
    bare = np.asarray(table["theta_i"] < table["theta_o"] - 10)
    for name in ("t_cloud", "n_clumps", "pah_SB", "silicate_SB", "age_s", "hot_s", "ionised_s", "t_sub", "slope_AGN"):
        component, measure, sign = RELATIONS[name]
        seen = bare if component == "torus" else slice(None)  # the view hides the rest
        assert sign * spearmanr(table[name][seen], measure(light[component].numpy()[seen])).statistic > 0.2, name


def test_silicate_bands_are_part_of_the_opacity():
    bands, (_, absorption) = dust.silicate_bands(WAVE_UM), dust.opacity(WAVE_UM)
    assert ((bands >= 0) & (bands < absorption)).all()
    assert abs(WAVE_UM[bands.argmax()] - 9.7) < 0.6
    # A_V / tau_9.7 of the diffuse Milky Way is 18 +- 2 (Roche & Aitken 1984).
    assert 1.086 / bands.max() == pytest.approx(18, abs=3)


def test_silicates_turn_from_emission_to_absorption_with_inclination():
    light = midir_library.components(galaxies(theta_i=np.linspace(0, 90, 19), tau_polar=0.003))["torus"].numpy()
    depth = silicate_depth(WAVE_UM, light)
    assert depth[0] > 0.1
    assert depth[-1] < -0.5
    assert (np.diff(depth) < 0.02).all()
    # Type 1 is blue, type 2 has lost its disc.
    colour = light[:, at(0.3)] / light[:, at(30)]
    assert (np.diff(colour) < 0).all()
    assert colour[0] > 100 * colour[-1]


def test_stronger_starlight_makes_hotter_dust():
    """T ~ psi^(1/6) and the peak of nu F_nu at ~ 1/T: 17 times the starlight, 1.6 times shorter."""
    light = midir_library.components(galaxies(psi_s=np.array([1.0, 4.0, 17.0])))["host"].numpy() / WAVE_UM
    fir = np.where(WAVE_UM > 40, light, 0)
    peak = WAVE_UM[fir.argmax(axis=1)]
    assert peak[0] > peak[1] > peak[2]
    assert peak[0] / peak[2] == pytest.approx(17 ** (1 / 6), rel=0.15)


def test_young_bursts_are_hot_and_hidden_and_a_thin_host_blue():
    light = midir_library.components(galaxies(t_star=np.array([5.0, 15.0, 35.0])))["starburst"].numpy()
    warm = light[:, at(60)] / light[:, at(200)]
    assert warm[2] < 0.9 * warm[:2].min()
    assert (np.diff(pah_strength(WAVE_UM, light)[0]) > 0).all()
    host = midir_library.components(galaxies(tau_v_s=np.array([0.1, 2.0, 15.0])))["host"].numpy()
    assert (np.diff(host[:, at(0.2)] / host[:, at(100)]) < 0).all()
    young = midir_library.components(galaxies(tau_s=np.array([0.125, 1.0, 8.0])))["host"].numpy()
    assert (np.diff(young[:, at(0.2)] / young[:, at(0.8)]) > 0).all()


def test_library_is_usable_normalised_and_reproducible():
    library = midir_library.library(300, seed=5)
    assert isinstance(library.check(), SedLibrary)
    assert library.flux.shape == (300, 223)
    assert (library.flux > 1e-12).all()
    np.testing.assert_allclose(power(library.flux), 1, rtol=1e-6)
    again, other = midir_library.library(300, seed=5), midir_library.library(300, seed=6)
    np.testing.assert_array_equal(library.flux, again.flux)
    assert (library.ids == again.ids).all()
    assert not np.array_equal(library.flux, other.flux)


def test_a_galaxy_is_the_sum_of_its_parts(params, parts):
    mixed = sum(np.asarray(params[f])[:, None] * parts[k].numpy() for k, f in midir_library.FRACTIONS.items())
    np.testing.assert_allclose(midir_library.sed(params), mixed, rtol=1e-12)
    # Batches do not matter: alone or among others, a galaxy has the same spectrum.
    np.testing.assert_allclose(midir_library.sed(params[7:8]), mixed[7:8], rtol=1e-9)


def test_the_library_spreads_like_galaxies_do(params, parts):
    """Fork diagram: strong and no PAHs, silicates from emission to deep absorption; all components lead somewhere."""
    flux = midir_library.sed(params).numpy()
    ew, depth = pah_strength(WAVE_UM, flux)[0], silicate_depth(WAVE_UM, flux)
    assert np.percentile(ew, 5) < 0.1
    assert np.percentile(ew, 95) > 0.7
    assert np.percentile(depth, 3) < -1.3
    assert np.percentile(depth, 97) > 0.25


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_device_draws_the_same_sky(device):
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    table = midir_library.draw(20, seed=1)
    np.testing.assert_allclose(midir_library.sed(table, device).cpu(), midir_library.sed(table), rtol=1e-6)
