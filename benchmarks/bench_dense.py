"""Train the redshift network of study 5 on 424 025 x 75 numbers for 80 epochs: ours against the thesis' way.

The thesis' way is Keras `fit` in batches of 64 (extra "bench"); without it, a PyTorch DataLoader
with the same network, batches and optimiser stands in, and says so. Either is timed on a share of the rows and scaled
to all, since the whole takes many minutes. Ours is run in full, twice: step for step as the thesis (batches of 64,
constant learning rate), and in batches of 1024 with a learning rate that falls to 0 along a cosine. The network is a
linear regression, so all should end at ordinary least squares: the last column is the rms distance of the predictions
from it, in units of the scatter about it.
"""

import os
import time
from importlib.util import find_spec

import numpy as np
import torch

from paper_utils.alhambra import model as alhambra
from paper_utils.alhambra.fast import LinearStep
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

N, N_EPOCHS, SHARE = 424_025, 80, 0.05


def catalogue(n, seed=0):
    """Inputs (n, 75) that are as collinear as a clipped catalogue's, and targets (n, 1) that follow from z."""
    rng = np.random.default_rng(seed)
    z, kind, m0 = rng.gamma(3.0, 0.25, n).clip(0.01, 2.5), rng.uniform(0, 1, n), rng.normal(23, 1.2, n)
    rest = np.linspace(0.36, 2.1, 25) / (1 + z[:, None])
    step = np.tanh((0.4 - rest) / 0.05)
    error = 10 ** (0.3 * (m0[:, None] - 25)) * rng.uniform(0.7, 1.3, (n, 25))
    m = m0[:, None] + (0.4 + kind[:, None]) * step - kind[:, None] * rest + error * rng.normal(size=(n, 25))
    fixed = np.full((n, 15), 27.0)  # identifiers, positions and areas, clipped
    others = rng.uniform(0, 5, (n, 10))
    x = np.concatenate([fixed, others, np.where(m > 27, 99, m), error], axis=1).clip(0, 27)
    y = alhambra.power(alhambra.min_max(z))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]


def ours(x, y, batch_size, anneal):
    with training.seeded(0):
        network = alhambra.Network("redshift")
    n_steps, schedule = N_EPOCHS * (len(x) // batch_size), "cosine" if anneal else "constant"
    plan = Plan(n_steps, batch_size, optimizer=alhambra.adam, schedule=schedule)
    step = LinearStep(network, x, y, plan)
    history = training.repeat(step, step.state, len(x), plan, progress=False)
    return network, history["wall_s"]


def keras_way(x, y):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    layers = [keras.Input((75,)), keras.layers.Dense(120, activation="linear"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="mse")
    x, y = x.numpy(), y.numpy()
    model.fit(x[:640], y[:640], batch_size=64, epochs=1, verbose=0)  # compiles
    begin = time.perf_counter()
    model.fit(x, y, batch_size=64, epochs=1, verbose=0)
    return time.perf_counter() - begin


def loader_way(x, y):
    layers = torch.nn.Sequential(torch.nn.Linear(75, 120), torch.nn.Linear(120, 1))
    optimizer = torch.optim.Adam(layers.parameters())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64, shuffle=True)
    begin = time.perf_counter()
    for rows, targets in loader:
        loss = torch.nn.functional.mse_loss(layers(rows), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - begin


def main():
    x, y = catalogue(N)
    W, b = alhambra.least_squares(x, y)
    limit = x.double() @ W.T + b
    scatter = (limit - y).std()
    n = round(SHARE * N)
    # Keras without TensorFlow runs on another backend, many times slower: no fair comparison.
    has_keras = find_spec("keras") and find_spec("tensorflow")
    way, name = (keras_way, "Keras fit") if has_keras else (loader_way, "a PyTorch DataLoader (no Keras here)")
    theirs = way(x[:n], y[:n]) * N_EPOCHS / SHARE
    torch.set_num_threads(1)  # ours: products this small gain nothing from a second thread, and wait for it
    print(f"{name}, batches of 64, all threads: {theirs:.0f} s for {N_EPOCHS} epochs, scaled from {SHARE:.0%} of one")
    for batch_size, anneal in ((64, False), (1024, True)):
        network, wall_s = ours(x, y, batch_size, anneal)
        with torch.no_grad():
            distance = (network(x) - limit).square().mean().sqrt() / scatter
        print(
            f"ours, batches of {batch_size}{', annealed' if anneal else ''}: {wall_s:.1f} s on one thread, "
            f"{theirs / wall_s:.1f} times faster; distance from least squares {distance:.2g}"
        )


if __name__ == "__main__":
    main()
