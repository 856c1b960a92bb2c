"""Decoding a JPEG with Pillow, beside `call.rs`: milliseconds, the best and the median of some rounds, one thread.

    python call_reference.py FILE [ROUNDS]

Needs Pillow. `call.rs` leaves its photo of 12 megapixels at `target/tmp/call-12mp.jpg`.
"""

import statistics
import sys
import time
from io import BytesIO

from PIL import Image


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    times = {"decode": [], "decode, convert, resize to 224": []}
    for _ in range(rounds):
        start = time.perf_counter()
        image = Image.open(BytesIO(data))
        image.load()
        times["decode"].append(time.perf_counter() - start)
        start = time.perf_counter()
        Image.open(BytesIO(data)).convert("RGB").resize((224, 224), Image.BILINEAR)
        times["decode, convert, resize to 224"].append(time.perf_counter() - start)
    for name, found in times.items():
        print(f"{name}: median {1e3 * statistics.median(found):.1f} ms, best {1e3 * min(found):.1f} ms")


if __name__ == "__main__":
    main()
