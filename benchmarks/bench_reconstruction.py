"""Reconstruct 1000 galaxies in 1000 steps: one batch against a loop over galaxies, in the same run.

The loop is timed on its first galaxies and scaled to all, since the whole of it takes the better part of an hour. Their
spectra must agree with the batch's.
"""

import time

import torch

from paper_utils.base.containers import WAVE_UM
from paper_utils.base.photometry import measurement_matrix
from paper_utils.midir.model import Generator, to_sphere
from paper_utils.midir.reconstruct import reconstruct
from paper_utils.nets.training import seeded

N_GALAXIES, N_STEPS, N_LOOP = 1000, 1000, 8


def timed(function):
    begin = time.perf_counter()
    return function(), time.perf_counter() - begin


def main():
    A = torch.tensor(measurement_matrix(WAVE_UM), dtype=torch.float32)
    for width in (128, 256):
        with seeded(0):
            generator = Generator(width=width).eval()
            start, planted = to_sphere(torch.randn(2, N_GALAXIES, 50))
        with torch.no_grad():
            y = generator.measure(generator(planted), A)

        def batch(rows, steps=N_STEPS, generator=generator, y=y, start=start):
            return reconstruct(generator, A, y[rows], start[rows], lr=1e-3, n_steps=steps)[0]

        batch(slice(None), steps=5)  # warm up
        together, batch_s = timed(lambda: batch(slice(None)))
        loop, loop_s = timed(lambda: torch.cat([batch(slice(i, i + 1)) for i in range(N_LOOP)]))
        loop_s *= N_GALAXIES / N_LOOP
        worst = (together[:N_LOOP] - loop).abs().max().item()
        print(
            f"width {width}: one batch of {N_GALAXIES} {batch_s:.1f} s, loop {loop_s:.0f} s (scaled from {N_LOOP}): "
            f"{loop_s / batch_s:.0f} times faster on {torch.get_num_threads()} threads; "
            f"largest difference {worst:.1e} dex"
        )


if __name__ == "__main__":
    main()
