"""Runs exported files with engines and compares them with the answers that were expected.

The arguments are the engines: `onnxruntime`, `openvino` (in 32-bit floats) and `openvino_default` (in what it chooses). Each line of the standard
input is a job as JSON: {"file", "numbers", "inputs": {name: {"shape", "type", "at"}}, "outputs": {name: {"shape", "type", "at"}}}, where `numbers`
is a file and `at` the place of the first byte in it.

Prints a line of JSON for each job, a list of {"engine", "version", "precision", "metadata", "seconds", "differences", "alone"}. `differences` has, for each
output, the largest difference from what was expected over the largest magnitude of that; `alone` that of the first case from the same case without
the others, where there are others. The session of a file is kept until another file is asked.
"""

import json
import sys
import time

import numpy

THREADS = 2


class OnnxRuntime:
    def __init__(self, name):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = THREADS
        self.version, self.precision = onnxruntime.__version__, "f32"
        self.session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        self.metadata = self.session.get_modelmeta().custom_metadata_map

    def run(self, wanted, inputs):
        return self.session.run(wanted, inputs)


class OpenVino:
    """With `hint` as its precision; without one it chooses."""

    core = None

    def __init__(self, name, hint=None):
        import openvino

        OpenVino.core = OpenVino.core or openvino.Core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS}
        settings |= {"INFERENCE_PRECISION_HINT": hint} if hint else {}
        self.version = openvino.__version__.split("-")[0]
        model = OpenVino.core.read_model(name)
        about = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
        self.metadata = {key: str(getattr(text, "value", text)) for key, text in about.items()}
        self.compiled = OpenVino.core.compile_model(model, "CPU", settings)
        self.precision = self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.request = self.compiled.create_infer_request()
        # An input that nothing looks at is none.
        self.inputs = {name for port in self.compiled.inputs for name in port.names}

    def run(self, wanted, inputs):
        found = self.request.infer({name: values for name, values in inputs.items() if name in self.inputs})
        return [found[self.compiled.output(name)].copy() for name in wanted]


ENGINES = {
    "onnxruntime": OnnxRuntime,
    "openvino": lambda name: OpenVino(name, "f32"),
    "openvino_default": OpenVino,
}


def array(bytes_of, described):
    count = int(numpy.prod(described["shape"]))
    return numpy.frombuffer(bytes_of, described["type"], count, described["at"]).reshape(described["shape"])


def distance(name, found, expected, magnitude):
    if found.shape != expected.shape:
        raise SystemExit(f"{name} is {found.shape}, not {expected.shape}")
    if not numpy.isfinite(found).all():
        return 1e30
    return float(numpy.abs(found.astype("float64") - expected).max()) / magnitude


def answer(session, name, inputs, outputs):
    wanted = list(outputs)
    magnitudes = [max(float(numpy.abs(expected).max()), 1e-30) for expected in outputs.values()]
    found = session.run(wanted, inputs)
    differences, alone = {}, {}
    for key, values, magnitude in zip(wanted, found, magnitudes):
        differences[key] = distance(f"{name}: {key}", values, outputs[key].astype("float64"), magnitude)
    if any(len(values) > 1 for values in inputs.values()):
        single = session.run(wanted, {key: values[:1] for key, values in inputs.items()})
        for key, values, among, magnitude in zip(wanted, single, found, magnitudes):
            alone[key] = distance(f"{name}: {key} of one case", values, among[:1].astype("float64"), magnitude)
            expected = outputs[key][:1].astype("float64")
            differences[key] = max(differences[key], distance(f"{name}: {key} of one case", values, expected, magnitude))
    return differences, alone


def main():
    try:
        import onnx
    except ImportError:
        onnx = None
    opened, sessions = None, {}
    for line in sys.stdin:
        job = json.loads(line)
        name = job["file"]
        if name != opened:
            if onnx is not None:
                onnx.checker.check_model(name, full_check=True)
            opened, sessions = name, {}
        with open(job["numbers"], "rb") as file:
            bytes_of = file.read()
        inputs, outputs = ({key: array(bytes_of, value) for key, value in job[which].items()} for which in ["inputs", "outputs"])
        answers = []
        for engine in sys.argv[1:]:
            begun = time.monotonic()
            session = sessions.get(engine) or sessions.setdefault(engine, ENGINES[engine](name))
            differences, alone = answer(session, f"{name} in {engine}", inputs, outputs)
            facts = {"engine": engine, "version": session.version, "precision": session.precision, "metadata": session.metadata}
            answers.append(facts | {"seconds": time.monotonic() - begun, "differences": differences, "alone": alone})
        print(json.dumps(answers), flush=True)


main()
