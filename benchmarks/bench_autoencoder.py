"""Study 2's autoencoder beside spender, the authors' later package, on one mock batch in one run: training, inference.

Both have the published sizes: kernels 5, 11, 21, channels 128, 256, 512, hidden layers 128-64-32 and 64-256-1024, ten
latents, 5875 elements at z = 0. spender's own activations in the decoder are timed as well as leaky ReLU, as in the
paper. Runs are interleaved, so that what else the machine does falls on all alike; ratios are of medians.

    pip install -e ".[bench]"
"""

import statistics
import time
from functools import partial

import torch

from paper_utils.autoencoder.apply import SpectrumAutoencoder
from paper_utils.autoencoder.model import N_REST, reconstruction_loss
from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets.plan import Plan
from paper_utils.nets.training import Descent, fabric_on

N, ROUNDS = 32, 5


def batch(device):
    """Spectra with lines at random redshifts: values do not matter to the clock."""
    generator = torch.Generator().manual_seed(0)
    z = 0.01 + 0.29 * torch.rand(N, generator=generator)
    rest = torch.as_tensor(WAVE_OBS) / (1 + z[:, None])
    y = 1 + sum(torch.exp(-0.5 * ((rest - at) / 4) ** 2) for at in (3728.5, 4862.7, 5008.2, 6564.6))
    y = (y + 0.05 * torch.randn(y.shape, generator=generator)).float()
    return y.to(device), torch.full_like(y, 400.0).to(device), z.to(device)


def ours(device, precision):
    model, data = SpectrumAutoencoder().to(device), dict(zip("ywz", batch(device), strict=True))
    step = Descent(model, reconstruction_loss, data, Plan(ROUNDS, N, lr=1e-4), fabric_on(device, precision))
    return partial(step, torch.arange(N, device=device)), model.encode


def theirs(device, leaky):
    import spender

    wave_rest = torch.linspace(WAVE_OBS[0] / 1.5, WAVE_OBS[-1], N_REST)
    instrument = spender.Instrument(torch.as_tensor(WAVE_OBS, dtype=torch.float32))
    act = [torch.nn.LeakyReLU() for _ in range(3)] + [torch.nn.Identity()] if leaky else None
    model = spender.SpectrumAutoencoder(instrument, wave_rest, n_latent=10, act=act).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    y, w, z = batch(device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model.loss(y, w, instrument, z=z).backward()
        optimizer.step()

    return step, lambda y, z: model.encode(y)


def seconds(call, device):
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    device = fabric_on("auto").device.type
    data = batch(device)
    made = {"ours, float32": ours(device, "32-true"), "ours, bfloat16": ours(device, "bf16-mixed")}
    try:
        made |= {"spender, its activations": theirs(device, False), "spender, leaky ReLU": theirs(device, True)}
    except ImportError as error:
        print(f"spender is not installed ({error}): ours alone")

    @torch.no_grad()
    def encode(name):
        made[name][1](data[0], data[2])

    print(f"{N} spectra a batch, {device}, {torch.get_num_threads()} threads")
    for what, call in (("training step", lambda name: made[name][0]()), ("encoding", encode)):
        times = {name: [] for name in made}
        for _ in range(ROUNDS + 1):
            for name in made:
                times[name].append(seconds(partial(call, name), device))
        median = {name: statistics.median(t[1:]) for name, t in times.items()}  # the first warms up
        for name, value in median.items():
            ratio = f", {median[name] / median['ours, float32']:.2f} x the time of ours in float32"
            print(f"{what}: {name:26s} {N / value:7.0f} spectra/s{ratio}")


if __name__ == "__main__":
    main()
