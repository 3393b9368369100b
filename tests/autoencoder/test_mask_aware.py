"""The encoder that knows what was observed: it starts as the best linear fit, ignores what is hidden, and learns."""

import pytest
import torch
from test_autoencoder_use import spectra

from paper_utils.autoencoder import apply
from paper_utils.autoencoder.linear import PrincipalComponents
from paper_utils.autoencoder.mask_aware import MaskAwareAutoencoder, completion_loss, in_view, with_gap
from paper_utils.autoencoder.model import chi2, moved, normalised, shifted
from paper_utils.autoencoder.probes import gradient_weight
from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets import training
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Plan


@pytest.fixture(scope="module")
def data():
    return apply.prepared(spectra())


@pytest.fixture(scope="module")
def twin(data):
    found = PrincipalComponents(2).learn(data)
    found.standardise(apply.latents(found, data))
    return found


def begun(data):
    with training.seeded(0):
        model = MaskAwareAutoencoder(2)
    model.begin(data)
    return model


def test_it_begins_as_the_best_linear_fit(data):
    """Where the noise is small the prior has no say: latents and spectra are those of weighted least squares."""
    model = begun(data)
    unit = in_view(*(data[name] for name in "yzw"))
    in_unit = data | {"y": data["y"] / unit, "w": 100 * data["w"] * unit.square()}
    made, linear = (apply.reconstruct(each, in_unit) for each in (model, model.encoder.linear))
    assert torch.allclose(made.s, linear.s, atol=0.2)  # the second is of noise in good part
    assert torch.allclose(made.rest, linear.rest, atol=0.02 * linear.rest.abs().max())


def test_without_any_information_latents_are_the_mean_galaxys(data):
    s = begun(data).encode(data["y"], data["z"], 1e-9 * data["w"])
    assert s.abs().max() < 1e-2


def test_latents_do_not_know_the_unit(data):
    """Nor what else a redshift changes of it: a spectrum is divided by the median of what is then in view."""
    model, (y, z, w) = begun(data), (data[name] for name in "yzw")
    torch.nn.init.normal_(model.encoder.correction[-1].weight, std=0.1)
    with torch.no_grad():
        s = model.encode(y, z, w)
        assert torch.allclose(model.encode(7 * y, z, w / 49), s, atol=1e-3)
        y_new, w_new, z_new = shifted(y, w, z, torch.full_like(z, 0.3))
        alike = model.encode(y_new, z_new, w_new)
        y_own, w_own, unit = normalised(y_new, w_new)
        assert (unit - 1).abs().max() > 0.1
        assert torch.allclose(model.encode(y_own, z_new, w_own), alike, atol=1e-3)


@pytest.mark.parametrize("hidden", [(3000, 4500), (4000, 5000), (5500, 9300)])
def test_latents_hold_still_whatever_is_hidden(data, hidden):
    """Nor do they, but for what is not known then: spectra of two kinds of light, in any part of the range."""
    model, z = begun(data), data["z"]
    rest = torch.tensor(WAVE_OBS, dtype=torch.float32) / (1 + z[:, None])
    gone = (rest > hidden[0]) & (rest < hidden[1])
    with torch.no_grad():
        s = model.encode(data["y"], z, data["w"])
        part = model.encode(torch.where(gone, 1, data["y"]), z, torch.where(gone, 0, data["w"]))
    assert gone.float().mean() > 0.1
    assert (part - s).abs().median() < 0.03
    assert (part - s).abs().max() < 0.5


def test_one_bad_element_that_is_known_to_be_bad_moves_nothing(data):
    model, (y, z, w) = begun(data), (data[name].clone() for name in "yzw")
    s = model.encode(y, z, w)
    y[:, 1500], w[:, 1500] = 1e4, 1e-9
    assert torch.allclose(model.encode(y, z, w), s, atol=0.02)


def test_most_probable_latents_are_those_of_the_normal_posterior(twin, data):
    """An independent code agrees: the mean of a normal posterior by its covariance, of amplitude and coefficients."""
    y, z, w = (data[name][:5] for name in "yzw")
    w = w / 3000  # so much noise that the prior counts
    s, residuals, observed = twin.most_probable(y, z, w)
    rest, w_rest = (part.double() for part in twin.deredshift(y, w, z))
    start, components = (part.double() for part in twin.start())
    for i in range(5):
        unit = (w_rest[i] * rest[i] * start).sum() / (w_rest[i] * start.square()).sum()
        basis = torch.cat([start[None], components])
        precision = (basis * w_rest[i]) @ basis.T + torch.diag(torch.tensor([0.0, 1, 1])) / unit.square()
        fit = torch.linalg.solve(precision, basis @ (w_rest[i] * rest[i]))
        expected = fit[1:] / fit[0]
        assert torch.allclose(s[i].double(), expected, atol=0.02)
        unexplained = (rest[i] - fit[0] * (start + expected @ components)) * w_rest[i].sqrt()
        assert torch.allclose(residuals[i].double(), unexplained, atol=0.05)
    assert torch.equal(observed > 0, twin.deredshift(y, w, z)[1] > 0)
    assert not residuals[observed == 0].any()


def test_gaps_hide_what_they_cover():
    y, w = torch.full((400, 1000), 3.0), torch.ones(400, 1000)
    y_new, w_new = with_gap(y, w, torch.Generator().manual_seed(0))
    hidden = w_new == 0
    assert (y_new[hidden] == 1).all()
    assert (y_new[~hidden] == 3).all()
    assert hidden.float().mean(dim=1).max() <= 0.4
    assert 0.1 < hidden.float().mean() < 0.2
    assert ((hidden[:, 1:] != hidden[:, :-1]).sum(dim=1) <= 2).all()  # one gap each


def test_what_is_hidden_has_no_say(data):
    y, w, z = (data[name] for name in "ywz")
    model = begun(data)
    torch.nn.init.normal_(model.encoder.correction[-1].weight)
    other = torch.where(w > 0, y, 100.0)
    with torch.no_grad():
        assert torch.equal(model.encode(y, z, w), model.encode(other, z, w))
        assert not torch.allclose(model.encode(y, z, w), model.encode(y, z, w * (torch.arange(y.shape[1]) < 2000)))


def test_what_latents_look_at_can_be_told(data):
    """Their slopes are numbers, and 0 where nothing was observed."""
    model = begun(data)
    torch.nn.init.normal_(model.encoder.correction[-1].weight, std=0.1)
    slopes = gradient_weight(model.encode, data["y"][:4], data["z"][:4], data["w"][:4], torch.ones(2))
    hidden = data["w"][:4] == 0
    assert hidden.any()
    assert torch.isfinite(slopes).all()
    assert (slopes[hidden] == 0).all()
    assert (slopes[~hidden] > 0).float().mean() > 0.9


def test_it_learns_to_complete_spectra(data):
    """From half of a galaxy's spectra, of which another part is hidden, and keeps its latents where they are."""
    model, spectra = begun(data), {name: data[name] for name in "ywz"}
    fabric = training.fabric_on("cpu")
    *far, _ = moved(data["y"], data["w"], data["z"], torch.full_like(data["z"], 0.45))
    far = dict(zip("ywz", far, strict=True))

    def judged():
        (whole, _, seen), (part, _, _) = (apply.reconstruct(model, part) for part in (data, far))
        distance = (whole - part).square().sum(dim=1).mean() / whole.var(dim=0).sum()
        return float(chi2(data["y"], seen, data["w"]).mean()), float(distance)

    before, _ = judged()
    history = training.fit(
        model, lambda *of: completion_loss(*of, consistency=1.0), spectra, Plan(60, 32, 1e-3), fabric=fabric
    )
    after, distance = judged()
    assert after < 0.8 * before
    assert distance < 0.01
    assert {"mse", "chi2", "distance"} <= set(history)


def test_it_is_kept_in_a_file(data, tmp_path):
    model = begun(data).eval()
    model.summarise(data)
    model.save(tmp_path / "model.safetensors", half=True)
    again = Model.load(tmp_path / "model.safetensors")
    assert isinstance(again, MaskAwareAutoencoder)
    one, other = (apply.reconstruct(each, data) for each in (model, again))
    assert torch.allclose(one.seen, other.seen, atol=0.02)
    assert (tmp_path / "model.safetensors").stat().st_size < 16e6
