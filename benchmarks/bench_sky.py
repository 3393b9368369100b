"""The infrared mock library: 10 000 SEDs as one batch against one galaxy at a time, in the same run."""

import time

from paper_utils.sky import midir_library

N, N_LOOP = 10_000, 10


def main():
    midir_library.library(10)  # tables shared by all galaxies are made once, in neither of the two times
    begin = time.perf_counter()
    midir_library.library(N)
    batch_s = time.perf_counter() - begin
    params = midir_library.draw(N_LOOP, seed=0)
    begin = time.perf_counter()
    for i in range(N_LOOP):
        midir_library.sed(params[i : i + 1])
    loop_s = (time.perf_counter() - begin) * N / N_LOOP
    print(
        f"{N} SEDs: batch {batch_s:.1f} s, one by one {loop_s:.0f} s (scaled from {N_LOOP}): "
        f"{loop_s / batch_s:.0f} times faster"
    )


if __name__ == "__main__":
    main()
