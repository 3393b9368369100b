"""Study 3's diffusion: what few steps, encoding once and bf16 save, and where the time of a training step goes.

All in one run, as ratios, which mean little on cores that others use.

- 20 steps of DPM-Solver++ against the published 250 of ancestral sampling, as speed and as error: the mean absolute
  difference of samples from their truth, for a small model trained here on a planted family of spectra.
- Images encoded once per image against once per image, sample and step, as the authors' public code does.
- A batch of images x samples against one image after the other.
- A training step split into data (augmentation and noise), forward and backward; with bf16 autocast; with images
  encoded beforehand.

On a GPU the published sizes and batch of 512; on a processor those of a quick run, batch 32. `--published` asks for the
former anywhere.
"""

import argparse
import time
from contextlib import nullcontext
from functools import partial

import torch

from paper_utils.diffusion import model as d
from paper_utils.diffusion.augmentation import augmented, centred
from paper_utils.diffusion.samplers import integrate
from paper_utils.nets import training
from paper_utils.nets.plan import Plan, moving_average

QUICK = {"base": 32, "mults": (1, 2), "patch": 8, "n_attention": 0, "pooled": True, "image_width": 1 / 8,
         "n_components": 20}  # fmt: skip
N_WAVE = 563


def planted(n, device, seed=0):
    """Images of one brightness in each band and log spectra whose slope, line and scatter go with it."""
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(n, 5, generator=generator)
    at = torch.linspace(-1, 1, N_WAVE)
    line = torch.exp(-0.5 * ((at - 0.3) / 0.02) ** 2)
    height = (b[:, 1:2] + 0.5 * torch.randn(n, 1, generator=generator)).exp()
    slope = 0.3 * b[:, :1] + 0.1 * torch.randn(n, 1, generator=generator)
    x = slope * at + 0.2 * height * line + 0.03 * torch.randn(n, N_WAVE, generator=generator)
    images = b[:, :, None, None] + 0.5 * torch.randn(n, 5, 64, 64, generator=generator)
    return images.to(device), x.to(device)


def seconds(function, device, n=1):
    """Median wall time of n calls, after one that does not count."""
    times = []
    for _ in range(n + 1):
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return sorted(times[1:])[n // 2]


def trained(options, images, x, batch, n_steps, device):
    """By regression first, then on images encoded beforehand."""
    with training.seeded(0):
        model = d.Diffusion(N_WAVE, prediction="v", **(options | {"n_components": 20})).to(device)
    model.learn_scale(images, x)
    fit = {"fabric": training.fabric_on(device.type)}
    plan = Plan(n_steps // 4, batch, 2e-3)
    training.fit(model, d.encoder_loss, {"images": images, "x": x}, plan, label="encoder", **fit)
    data = {"context": d.contexts(model, images), "x": x}
    model.learn_residuals(x, data["context"])
    plan = Plan(n_steps, batch, 2e-3, average=d.AVERAGE)
    training.fit(model, d.diffusion_loss, data, plan, label="diffusion", **fit)
    return model


@torch.no_grad()
def samplers(model, images, x, n_samples, device):
    context = d.contexts(model, images)
    found = {}
    for name, sampler, n_steps in (
        ("ancestral, 250 steps", "ancestral", None), ("DDIM, 25 steps", "ddim", 25),
        ("DPM-Solver++, 10 steps", "dpm++", 10), ("DPM-Solver++, 20 steps", "dpm++", 20),
    ):  # fmt: skip
        generator = torch.Generator(device).manual_seed(1)
        draw = partial(d.sample, model, context, sampler=sampler, n_steps=n_steps, generator=generator)
        begin = time.perf_counter()
        y = draw(n_samples)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found[name] = time.perf_counter() - begin, (y - x[:, None]).abs().mean().item()
    slow_s, slow_error = found["ancestral, 250 steps"]
    for name, (wall, error) in found.items():
        print(
            f"{name:24s} {wall:7.2f} s, {slow_s / wall:5.1f} x the speed; error {error:.4f}, "
            f"{100 * (error / slow_error - 1):+5.1f} %",
            flush=True,
        )


@torch.no_grad()
def encoding(model, images, n_samples, device, n_steps=20):
    seen = centred(images)
    generator = torch.Generator(device).manual_seed(1)

    def once():
        return d.sample(model, model.encode(seen), n_samples, n_steps=n_steps, generator=generator)

    def always():
        """What a network that holds the image encoder does when it is asked to denoise a sample."""
        images_of = seen.repeat_interleave(n_samples, dim=0)
        noise = torch.randn((len(images_of), model.n_wave), generator=generator, device=device)

        def clean(x, t):
            context = model.encode(images_of)
            return model.clean(x, t, context, model.beside(context))

        return integrate(clean, noise, model.alpha, model.sigma, n_steps=n_steps)

    def one_by_one():
        for image in seen:
            d.sample(model, model.encode(image[None]), n_samples, n_steps=n_steps, generator=generator)

    plain = seconds(once, device)
    print(f"images encoded once     {plain:7.2f} s for {len(images)} images x {n_samples} samples, {n_steps} steps")
    for name, function in (("encoded at every step", always), ("one image at a time", one_by_one)):
        wall = seconds(function, device)
        print(f"{name:23s} {wall:7.2f} s = {wall / plain:.2f} x", flush=True)


def step_times(options, images, x, batch, n_steps, device):
    """Median seconds of data, forward and backward; of float32, bf16, and images encoded beforehand."""
    plain = None
    for name, precision, cached in (
        ("float32", None, False), ("bf16 autocast", torch.bfloat16, False), ("encoded beforehand", None, True),
    ):  # fmt: skip
        with training.seeded(0):
            model = d.Diffusion(N_WAVE, prediction="v", **options).to(device).learn_scale(images, x)
        average = moving_average(model, d.AVERAGE)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        generator = torch.Generator(device).manual_seed(0)
        contexts = d.contexts(model, images) if cached else None
        model.train()
        times = []
        for _ in range(n_steps + 2):
            marks = [time.perf_counter()]

            def mark(marks=marks):
                if device.type == "cuda":
                    torch.cuda.synchronize()
                marks.append(time.perf_counter())

            index = torch.randint(len(x), (batch,), device=device)
            clean = model.standard(x[index])
            t = torch.randint(1, model.n_times + 1, (batch,), generator=generator, device=device)
            eps = torch.randn(clean.shape, generator=generator, device=device)
            noisy = model.noised(clean, eps, t)
            seen = None if cached else augmented(images[index], generator)
            mark()
            with torch.autocast(device.type, precision) if precision else nullcontext():
                context = contexts[index] if cached else model.encode(seen)
                output = model(noisy, t, context, model.beside(context))
            loss = (output - model.target(clean, eps, t)).square().mean()
            mark()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
            mark()
            times.append([b - a for a, b in zip(marks, marks[1:], strict=False)])
        parts = torch.tensor(times[2:]).median(dim=0).values.tolist()
        plain = plain or sum(parts)
        split = ", ".join(
            f"{part} {100 * s / sum(parts):.0f} %"
            for part, s in zip(("data", "forward", "backward"), parts, strict=True)
        )
        print(f"{name:19s} {1e3 * sum(parts):8.1f} ms a step = {sum(parts) / plain:4.2f} x: {split}", flush=True)


def main():
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser()
    parser.add_argument("--published", action="store_true", default=on_gpu)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=1200, help="of training, before sampling")
    parser.add_argument("--images", type=int, default=256 if on_gpu else 40, help="to sample spectra of")
    parser.add_argument("--samples", type=int, default=10, help="of each image")
    given = parser.parse_args()
    options = {} if given.published else QUICK
    batch = given.batch or (512 if on_gpu else 32)
    device = torch.device("cuda" if on_gpu else "cpu")
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads of a processor"
    size = sum(p.numel() for p in d.Diffusion(N_WAVE, **options).parameters())
    print(f"{where}: {size / 1e6:.2f} million parameters, batch {batch}")
    images, x = planted(4096 if on_gpu else 1500, device)
    step_times(options, images, x, batch, 20 if on_gpu else 8, device)
    rows = slice(given.images)
    model = trained(options, images[given.images :], x[given.images :], batch, given.steps, device)
    encoding(model, images[rows], given.samples, device)
    samplers(model, images[rows], x[rows], given.samples, device)


if __name__ == "__main__":
    main()
