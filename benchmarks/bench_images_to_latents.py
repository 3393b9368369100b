"""Study 4's training: where an epoch's time goes, and what bf16, channels-last and network deconvolution cost or save.

Random images of the paper's size in the memory of the device, as a training set would be. A step is split into data
(indexing and the draw of orientations), forward (with the loss) and backward (with the optimizer); times are medians
over steps, scaled to the 51 200 images (80 % of 64 000) of the paper's epoch. Every setting is also given as a ratio to
the plain one, float32 and NCHW, of the batch-norm network in the same run, which means little on cores that others use.
On a GPU the published batch of 128; on a processor one of 8, whose steps take seconds. `--size 64 --width 0.25` is a
quick run's size.
"""

import argparse
import time
from contextlib import nullcontext

import torch

from paper_utils.latents import model as xresnet
from paper_utils.latents.optimizers import ranger
from paper_utils.nets import d4, training
from paper_utils.nets.plan import Plan

N_EPOCH = 51_200
SETTINGS = {
    "float32": (None, torch.contiguous_format),
    "channels-last": (None, torch.channels_last),
    "bf16": (torch.bfloat16, torch.contiguous_format),
    "bf16, channels-last": (torch.bfloat16, torch.channels_last),
}


def timed(function, device):
    begin = time.perf_counter()
    result = function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def measure(name, setting, options, size, batch, n_steps, device):
    """Median seconds of data, forward and backward of one step."""
    precision, layout = SETTINGS[setting]
    build, lr = xresnet.TABLE_1[name]
    with training.seeded(0):
        model = build(**options).to(device, memory_format=layout)
    optimizer = ranger(model, Plan(n_steps, batch, lr, weight_decay=0.01))
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(4 * batch, 5, size, size, device=device).contiguous(memory_format=layout)
    target = torch.randn(4 * batch, 6, device=device)
    times = []
    for step in range(n_steps + 2):
        index = training.epoch_order(len(images), 0, step)[:batch].to(device)

        def data(index=index):
            return d4.randomly_oriented(images[index], generator), target[index]

        def forward(x, y):
            with torch.autocast(device.type, precision) if precision else nullcontext():
                output = model(x)
            return (output.float() - y).square().mean()

        def backward(loss):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        (x, y), data_s = timed(data, device)
        loss, forward_s = timed(lambda x=x, y=y: forward(x, y), device)
        _, backward_s = timed(lambda loss=loss: backward(loss), device)
        times.append((data_s, forward_s, backward_s))
    return torch.tensor(times[2:]).median(dim=0).values.tolist()


def main():
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=128 if on_gpu else 8)
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 3)
    given = parser.parse_args()
    device = torch.device("cuda" if on_gpu else "cpu")
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads of a processor"
    print(f"{where}: images of {given.size}x{given.size}, width {given.width:g}, batch {given.batch}")
    runs = [("xresnet18", setting) for setting in SETTINGS]
    runs += [(name, setting) for name in xresnet.TABLE_1 if name != "xresnet18" for setting in ("float32", "bf16")]
    plain = None
    for name, setting in runs:
        options = {"width": given.width}
        seconds = measure(name, setting, options, given.size, given.batch, given.steps, device)
        plain = plain or sum(seconds)
        split = ", ".join(
            f"{part} {100 * s / sum(seconds):.1f} %"
            for part, s in zip(("data", "forward", "backward"), seconds, strict=True)
        )
        epoch = sum(seconds) * N_EPOCH / given.batch
        print(
            f"{name:17s} {setting:20s} epoch {epoch:7.0f} s = {sum(seconds) / plain:5.2f} x plain: {split}", flush=True
        )


if __name__ == "__main__":
    main()
