"""An autoencoder that knows what was observed, so that a spectrum at another redshift is an incomplete one.

The published encoder is given fluxes alone: the same galaxy at another redshift, of which another part is in view, is
another spectrum to it, and its latents move. Here masks and variances are inputs. The spectrum is brought to z = 0,
where a redshift does no more than hide a part. The encoder begins with the latents of principal components that are
most probable given what is in view, and corrects them by what they leave unexplained: a first answer to the paper's
closing request, for invariant encodings that use all there is to see of each galaxy. The decoder is the published one.
Instance norm hides the amplitude from the published encoder; here it is fitted with the coefficients, so that latents
do not know the unit of a spectrum, which as the median of what is in view changes with redshift.
"""

import torch
from torch import Tensor, nn

from paper_utils.autoencoder import linear
from paper_utils.autoencoder.apply import SpectrumAutoencoder, latents
from paper_utils.autoencoder.linear import PrincipalComponents
from paper_utils.autoencoder.model import DARK, Z_MAX, apart, chi2, matched, moved, reconstruction_loss, weighted_mse
from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch

CHANNELS = (16, 32)
KERNEL, STRIDE = 11, 5
IN_VIEW = (3800.0, 6170.0)  # Angstrom at z = 0: an SDSS spectrum shows it from z = 0 to 0.5
HIDDEN = 128
GAP = 0.4  # of a spectrum's elements that are hidden at most, in training


class MaskAwareEncoder(Model):
    """y (N, L), z (N,), w (N, L) -> latents (N, S): those of principal components, and a network's correction.

    The network sees what the components leave unexplained, in units of sigma, and which elements were observed. It
    starts as no correction.
    """

    def __init__(self, n_latent: int = 10, channels: tuple[int, int] = CHANNELS):
        super().__init__()
        self.linear = PrincipalComponents(n_latent)
        self.features = nn.Sequential(
            nn.Conv1d(2, channels[0], KERNEL, STRIDE, KERNEL // 2),  # (N, 16, 1175)
            nn.GELU(),
            nn.Conv1d(channels[0], channels[1], KERNEL, STRIDE, KERNEL // 2),  # (N, 32, 235)
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(channels[1] * 235, HIDDEN),
            nn.GELU(),
        )
        self.correction = nn.Sequential(nn.Linear(HIDDEN + n_latent, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, n_latent))
        for parameter in self.correction[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, y: Tensor, z: Tensor, w: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):  # sums of weights need more digits than bfloat16 has
            s, residuals, observed = self.linear.most_probable(y, z, w)
        # asinh, so that no line outweighs all else.
        seen = self.features(torch.stack([residuals.asinh(), observed], dim=1))
        return s + self.correction(torch.cat([seen, s], dim=1))


class MaskAwareAutoencoder(SpectrumAutoencoder):
    """`SpectrumAutoencoder` whose encoder is given the weights too."""

    encoder_kind = MaskAwareEncoder

    def __init__(self, n_latent: int = 10, channels: tuple[int, int] = CHANNELS):
        super().__init__(n_latent, channels)

    def begin(self, data: Batch) -> None:
        """Start as principal components of spectra {"y", "w", "z"}: with their most probable latents, and a linear
        decoder."""
        twin = self.encoder.linear
        data = {name: data[name][: linear.N_FITTED] for name in "ywz"}
        unit = in_view(data["y"], data["z"], data["w"])
        data |= {"y": data["y"] / unit, "w": data["w"] * unit.square()}
        twin.learn(data).standardise(latents(twin, data))
        self.start_from(*twin.start())

    def encode(self, y: Tensor, z: Tensor, w: Tensor | None = None) -> Tensor:
        """Latents (N, S) of spectra with weights w (N, L), 0 where an element was not observed; by default all 1."""
        return self.encoder(y, z, torch.ones_like(y) if w is None else w)


def in_view(y: Tensor, z: Tensor, w: Tensor) -> Tensor:
    """Mean flux (N, 1) in `IN_VIEW`, or of all where nothing of that was observed: a unit to learn components in."""
    wave = torch.as_tensor(WAVE_OBS, device=z.device) / (1 + z[:, None])
    there = (wave > IN_VIEW[0]) & (wave < IN_VIEW[1]) & (w > 0)
    there = torch.where(there.any(dim=1, keepdim=True), there, w > 0).to(y)
    unit = (there * y).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(unit > DARK, unit, 1.0)


def with_gap(y: Tensor, w: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spectra of which up to `GAP` of the elements, next to each other, are hidden."""
    n, n_wave = y.shape
    length, at = (torch.rand(n, 1, generator=generator, device=y.device) for _ in range(2))
    length, at = (GAP * n_wave * length).long(), (n_wave * at).long()
    element = torch.arange(n_wave, device=y.device)
    hidden = (element >= at) & (element < at + length)
    return torch.where(hidden, 1.0, y), torch.where(hidden, 0.0, w)


def completion_loss(
    model: MaskAwareAutoencoder, batch: Batch, generator: torch.Generator, consistency: float = 0.0
) -> dict[str, Tensor]:
    """Eq. 1 of spectra {"y", "w", "z"}, drawn from what is left of half of them at another redshift, of 0 to 0.5, and
    behind a gap (`with_gap`).

    What the copy does not show has to be inferred from the rest, to fit the whole spectrum.
    consistency : weight of the penalty on how far the copies' latents are from those of the whole spectra, as in
        `model.reconstruction_loss`, which it is in evaluation.
    """
    if not model.training:
        return reconstruction_loss(model, batch, generator)
    y, w, z = (batch[name] for name in "ywz")
    n = len(z) // 2
    z_new = Z_MAX * torch.rand(n, generator=generator, device=z.device)
    y_new, w_new, z_new, _ = moved(y[:n], w[:n], z[:n], z_new.to(z.dtype))
    new = (*with_gap(y_new, w_new, generator), z_new)
    y_seen, w_seen, z_seen = (torch.cat([copy, old[n:]]) for copy, old in zip(new, (y, w, z), strict=True))
    s = model.encode(y_seen, z_seen, w_seen)
    seen = matched(model.observe(model.decode(s).float(), z), y, w)
    mse = weighted_mse(y, seen, w)
    losses = {"loss": mse, "mse": mse, "chi2": chi2(y[n:], seen[n:].detach(), w[n:]).mean()}
    if consistency and n:
        whole = model.encode(y[:n], z[:n], w[:n])
        distance = apart(s[:n], whole)
        losses |= {"loss": mse + consistency * distance * mse.detach(), "distance": distance}
    return losses
