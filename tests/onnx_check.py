"""Runs exported files with ONNX Runtime and compares them with the answers that were expected.

Reads a list of jobs as JSON from the file given: [{"file", "inputs": {name: {"shape", "type", "values"}}, "outputs": {name: {"shape", "values"}}}].
Prints, as JSON, for each job the largest difference of each output over the largest magnitude of what was expected.
"""

import json
import sys

import numpy
import onnxruntime

try:
    import onnx
except ImportError:
    onnx = None


def array(described, kind):
    return numpy.array(described["values"], dtype=kind).reshape(described["shape"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    sessions, results = {}, []
    for job in jobs:
        name = job["file"]
        if name not in sessions:
            if onnx is not None:
                onnx.checker.check_model(name, full_check=True)
            sessions = {name: onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])}
        session = sessions[name]
        inputs = {key: array(value, value["type"]) for key, value in job["inputs"].items()}
        wanted = list(job["outputs"])
        found = session.run(wanted, inputs)
        differences = {}
        for key, value in zip(wanted, found):
            expected = array(job["outputs"][key], "float64")
            if value.shape != expected.shape:
                raise SystemExit(f"{name}: {key} is {value.shape}, not {expected.shape}")
            magnitude = max(float(numpy.abs(expected).max()), 1e-30)
            differences[key] = float(numpy.abs(value.astype("float64") - expected).max()) / magnitude
            if not numpy.isfinite(value).all():
                differences[key] = 1e30
        metadata = session.get_modelmeta().custom_metadata_map
        results.append({"file": name, "differences": differences, "metadata": metadata})
    json.dump(results, sys.stdout)


main()
