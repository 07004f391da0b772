#!/usr/bin/env python3
"""Training step and forward of one network, here and in PyTorch, in turn on one machine.

    compare_pytorch.py [--program build/release/ddpm] [--config configs/bench_small.toml] [--rounds 5] [--repeats 3]
                       [--device cpu|cuda] [--what eager,compile] [--precision fp32,bf16] [--set SECTION.KEY=VALUE]
                       [--diffusers] [--only-prepare] [--json FILE]

Each round runs `ddpm bench --json` and then every PyTorch variant, so that other load on the machine affects all. The
table gives the medians over the rounds, and the ratios of ours to the best of PyTorch.

PyTorch's network is a plain nn.Module of the same layers, or diffusers' UNet2DModel, in channels_last. Its number of
parameters is checked. pytorch_unet.py has the training step. --what names variants. The forward of each is first compared
with eager float32:

    eager         unchanged, under autocast for bf16
    cast          forward only, bf16 only: the weights are bf16, which avoids the casts of autocast
    compile       torch.compile, training with its backward pass; for the forward, with weights frozen (freezing)
    max-autotune  the same, and kernels are chosen by measurement; slow to compile, verbose
    openvino      forward only: the module converted by OpenVINO, for inputs of this shape
    graph         a GPU only: eager, the whole training step and the forward captured as CUDA graphs
    reduce-overhead
                  a GPU only: torch.compile, which captures CUDA graphs itself

On a GPU our training step and forward are CUDA graphs, as when training and sampling.

Freed memory is kept by the process, as in ours. torch.compile keeps its results in a cache, so a second run starts
faster. --only-prepare compiles, compares and stops. Needs Python 3.11 and PyTorch; the program does not use them.
"""

import argparse
import copy
import ctypes
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import tomllib
import warnings

import torch
from torch._inductor import metrics

from arguments import config_file, names, positive, program
from pytorch_unet import TrainingStep, autocast, images_of, network_of

VARIANTS = ("eager", "cast", "compile", "max-autotune", "openvino", "graph", "reduce-overhead")
GPU_VARIANTS = ("graph", "reduce-overhead")
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}  # relative, of the full output


def keep_freed_memory():
    """As in src/main.cpp: memory that a step frees is not returned to the system and cleared again for the next."""
    libc = ctypes.CDLL(None)
    for setting, value in ((-3, 32 << 20), (-1, 2**31 - 1), (-2, 64 << 20)):  # M_MMAP_THRESHOLD, _TRIM_, M_TOP_PAD
        libc.mallopt(setting, value)


def compiled(net, what):
    modes = {"max-autotune": "max-autotune-no-cudagraphs", "reduce-overhead": "reduce-overhead"}
    mode = modes.get(what, "default")
    return torch.compile(net, fullgraph=True, dynamic=False, mode=mode)


def openvino_call(net, x, t, precision):
    """OpenVINO's network on as many threads as PyTorch; returns a function that computes the output for x and t."""
    import openvino as ov

    with warnings.catch_warnings():  # of tracing diffusers' checks of its input
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        model = ov.convert_model(net, example_input=(x, t), input=[list(x.shape), list(t.shape)])
    settings = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision], "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    inputs = [x.contiguous().numpy(), t.numpy()]
    return lambda: torch.from_numpy(request.infer(inputs, share_inputs=True, share_outputs=True)[0])


def captured(work):
    """`work`, without arguments, as a CUDA graph; returns what it returns."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay():
        graph.replay()
        return result

    return replay


class Variant:
    """One way of running PyTorch's network: `train` (None if it cannot train) and `forward` process one batch each."""

    def __init__(self, what, precision, net, config, device):
        self.name, self.precision, self.device = f"{what} {precision}", precision, device
        self.train = None
        x = images_of(config, device)
        t = torch.ones(config["train"]["batch_size"], dtype=torch.long, device=device)
        still = copy.deepcopy(net).eval().requires_grad_(False)
        expected = self.no_grad(lambda: still(x, t), "fp32")()
        if what == "openvino":
            self.forward = openvino_call(still, x, t, precision)
        elif what == "cast":
            still, x = still.bfloat16(), x.bfloat16()
            self.forward = self.no_grad(lambda: still(x, t), "fp32")
        else:
            moving = copy.deepcopy(net).train()
            if what in ("eager", "graph"):
                run = still
                self.train = TrainingStep(moving, moving, config, precision)
            else:
                run = compiled(still, what)
                self.train = TrainingStep(moving, compiled(moving, what), config, precision)
            self.forward = self.no_grad(lambda: run(x, t), precision)
            if what == "graph":
                self.forward, self.train = captured(self.forward), captured(self.train)
        self.prepare(expected)

    def no_grad(self, work, precision):
        def run():
            with torch.no_grad(), autocast(precision, self.device):
                return work()

        return run

    def prepare(self, expected):
        """Compiles, and checks that the outputs are still the same."""
        begin, kernels = time.perf_counter(), metrics.generated_kernel_count
        # Weights become constants, packed for oneDNN: PyTorch's fast way for the forward. Not with options of compile.
        with torch._inductor.config.patch(freezing=self.device == "cpu"):
            output = self.forward().float()
        error = ((output - expected).norm() / expected.norm()).item()
        forward_kernels = metrics.generated_kernel_count - kernels
        if self.train:
            self.train()
        made = metrics.generated_kernel_count - kernels
        print(f"{self.name}: ready in {time.perf_counter() - begin:.0f} s, relative error of the forward {error:.1e}"
              + (f", {made} fused kernels ({forward_kernels} of the forward)" if made else ""), file=sys.stderr, flush=True)
        if not error < TOLERANCE[self.precision]:
            sys.exit(f"{self.name}: is not the same network: a relative error of {error}")


def images_per_s(work, batch, repeats, device):
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3 if device == "cuda" else 1):
        work()
    wait()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times)


def run_ours(arguments, precision):
    gpu = arguments.device == "cuda"
    command = [arguments.program, "bench", "--config", arguments.config, "--json", "--device", arguments.device, "--what",
               "train,forward", "--warm-up", "5" if gpu else "1", "--repeats",
               str(arguments.repeats), "--set", f"train.precision={precision}"]
    for setting in arguments.set:
        command += ["--set", setting]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(arguments, precisions, variants, batch, parameters):
    """{(name, part): [a rate a round]}, and the FLOP of a forward."""
    rates = {}
    add = lambda name, part, value: rates.setdefault((name, part), []).append(value)
    for number in range(arguments.rounds):
        for precision in precisions:
            ours = run_ours(arguments, precision)
            if ours["parameters"] != parameters:
                sys.exit(f"the networks differ: {ours['parameters']} parameters here, {parameters} in PyTorch")
            for part in ("train", "forward"):
                add(f"ddpm {precision}", part, ours[part]["images_per_s"])
            add(f"convolutions {precision}", "train", ours["conv_gflops"])
            add(f"convolutions {precision}", "forward", ours["conv_forward_gflops"])
        for variant in variants:
            if variant.train:
                add(variant.name, "train", images_per_s(variant.train, batch, arguments.repeats, arguments.device))
            add(variant.name, "forward", images_per_s(variant.forward, batch, arguments.repeats, arguments.device))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    return rates, ours["forward_gflop"]


def print_table(rates, gflop):
    median = {key: statistics.median(values) for key, values in rates.items()}
    print("| | train images/s | share of the convolution rate | forward images/s | share |")
    print("| --- | --- | --- | --- | --- |")
    for name in dict.fromkeys(key[0] for key in rates if not key[0].startswith("convolutions")):
        row = f"| {name} "
        for part, flop in (("train", 3 * gflop), ("forward", gflop)):
            if (name, part) not in rates:
                row += "| | "
                continue
            values, rate = rates[(name, part)], median[("convolutions " + name.split()[-1], part)]
            share = median[(name, part)] * flop / rate
            row += f"| {median[(name, part)]:.1f} ({min(values):.1f} to {max(values):.1f}) | {share:.2f} "
        print(row + "|")


def print_ratio(rates, precision, part, names, title):
    """Ours compared with the fastest of `names`."""
    names = [name for name in names if (name, part) in rates]
    if not names:
        return
    best = max(names, key=lambda name: statistics.median(rates[(name, part)]))
    ratio = [a / b for a, b in zip(rates[(f"ddpm {precision}", part)], rates[(best, part)])]
    print(f"{part}: ddpm {precision} is {statistics.median(ratio):.2f} x the best of PyTorch {title} ({best}); "
          f"by round {', '.join(f'{r:.2f}' for r in ratio)}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=program, default="build/release/ddpm")
    parser.add_argument("--config", type=config_file, default="configs/bench_small.toml")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--what", type=names(*VARIANTS), default="eager,compile", help=", ".join(VARIANTS))
    parser.add_argument("--precision", type=names("fp32", "bf16"), default="fp32", help="fp32, bf16 or both")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a config value")
    parser.add_argument("--diffusers", action="store_true", help="diffusers' UNet2DModel instead of a plain module")
    parser.add_argument("--only-prepare", action="store_true", help="compile everything, compare the outputs, and stop")
    parser.add_argument("--json", help="also write every number here")
    arguments = parser.parse_args()
    if arguments.device == "cpu" and set(arguments.what) & set(GPU_VARIANTS):
        parser.error(f"{', '.join(GPU_VARIANTS)}: only with --device cuda")
    for name, wanted, version in (("openvino", "openvino" in arguments.what, ">=2026"),
                                  ("diffusers", arguments.diffusers, "==0.42.1")):
        if wanted and importlib.util.find_spec(name) is None:
            sys.exit(f"{name} is not installed in this Python: {sys.executable} -m pip install '{name}{version}'")
    return arguments


def main():
    keep_freed_memory()
    arguments = parse_arguments()
    with open(arguments.config, "rb") as file:
        config = tomllib.load(file)
    for setting in arguments.set:
        key, value = setting.split("=", 1)
        section, name = key.split(".", 1)
        try:
            config.setdefault(section, {})[name] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            config.setdefault(section, {})[name] = value
    batch = config["train"]["batch_size"]
    torch.manual_seed(0)
    net = network_of(config, arguments.diffusers).to(arguments.device, memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in net.parameters())
    precisions = arguments.precision
    variants = [Variant(what, precision, net, config, arguments.device) for precision in precisions for what in arguments.what
                if (what, precision) != ("cast", "fp32")]
    if arguments.only_prepare:
        return
    rates, gflop = measure(arguments, precisions, variants, batch, parameters)

    kind = "diffusers UNet2DModel" if arguments.diffusers else "plain nn.Module"
    conv = ", ".join(f"{statistics.median(rates[(f'convolutions {p}', 'train')]):.0f} with backward and "
                     f"{statistics.median(rates[(f'convolutions {p}', 'forward')]):.0f} forward in {p}" for p in precisions)
    place = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__} ({kind}), {place}, batch {batch}, {parameters:,} parameters, "
          f"{arguments.rounds} rounds; {'cuDNN' if arguments.device == 'cuda' else 'oneDNN'}'s 3x3 convolutions alone, GFLOP/s: {conv}")
    print_table(rates, gflop)
    for precision in precisions:
        for part in ("train", "forward"):
            same = [v.name for v in variants if v.precision == precision]
            print_ratio(rates, precision, part, same, f"in {precision}")
            print_ratio(rates, precision, part, [v.name for v in variants], "in any precision")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({f"{name} / {part}": values for (name, part), values in rates.items()}, file, indent=1)


if __name__ == "__main__":
    main()
