"""A million records, loaded and encoded: the example `million_rows` and pandas in turns, each in a process of its own.

    cargo run --release -p dermafuse-data --example million_rows -- write FOLDER
    python metadata_reference.py FOLDER [ROUNDS]

Needs pandas. `read_csv` and `get_dummies` alone are counted for pandas (its process without the imports), the whole
process for ours: reading, checking every value and identity, fitting the encoder, encoding.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PANDAS = """
import sys, time, resource
import pandas
start, cpu = time.perf_counter(), time.process_time()
table = pandas.read_csv(sys.argv[1])
record = table.drop(columns=["record", "patient", "diagnosis"])
encoded = pandas.get_dummies(record, columns=[name for name in record.columns if name != "age"])
assert encoded.shape[1] == 41, encoded.shape
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(time.perf_counter() - start, time.process_time() - cpu, peak)
"""


def run_ours(folder: Path) -> list[float]:
    command = [ROOT / "target/release/examples/million_rows", "load", folder]
    start = os.times().elapsed
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]}: build it with `cargo build --release -p dermafuse-data --example million_rows`")
    return [os.times().elapsed - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000]


def run_pandas(folder: Path) -> list[float]:
    command = [sys.executable, "-c", PANDAS, folder / "records.csv"]
    return [float(text) for text in subprocess.run(command, check=True, capture_output=True).stdout.split()]


def main() -> None:
    folder = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    results = {"ours": [], "pandas": []}
    for _ in range(rounds):
        results["ours"].append(run_ours(folder))
        results["pandas"].append(run_pandas(folder))
    for name, runs in results.items():
        wall, cpu, peak = zip(*runs)
        print(
            f"{name}: CPU {statistics.median(cpu):.2f} s (best {min(cpu):.2f}), "
            f"elapsed {statistics.median(wall):.2f} s (best {min(wall):.2f}), peak memory {max(peak):.0f} MB"
        )


if __name__ == "__main__":
    main()
