#!/usr/bin/env python3
"""Trains tiny networks, converts them, and lets diffusers load the folders: without a warning, as DDPMPipeline and as
DDIMPipeline, and with the same images from the same noise as `ddpm sample`. torch.load reads the state dict. The
solvers' folders give the same images by their schedulers.

usage: load_diffusers.py DDPM_PROGRAM

Ends with status 77 (skipped) where diffusers is not installed; scripts/test.sh installs it into the cache folder.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

from checks import TINY, skip_or_start_over

STEPS = 10
SETTINGS = ["data.channels=3", "diffusion.timesteps=1000", "train.steps=4", "sample.clip=clip"]
# name, what is changed, flags of ddpm sample
RUNS = [
    ("plain", [], ["--ddpm"]),
    ("ddim", ["sample.method=ddim"], ["--ddim"]),
    ("cosine", ["diffusion.schedule=cosine", "diffusion.prediction=v", "sample.spacing=trailing"], ["--ddim"]),
    ("table", ["diffusion.schedule=sigmoid", "model.head_channels=4", "model.downsample_padding=symmetric"], ["--ddim"]),
    ("classes", ["model.class_conditional=true", "sample.method=ddim", "sample.steps=50"], ["--ddim"]),
]

# method, network calls of 50 inference steps, [sample]
SOLVERS = [
    ("dpmpp_2m", 50, ["spacing=linspace"]),
    ("dpmpp_3m", 50, ["spacing=trailing"]),
    ("unipc", 50, ["spacing=linspace", "order=2"]),
    ("deis", 50, ["spacing=leading", "last_alpha=first"]),
    ("euler", 50, ["spacing=trailing"]),
    ("heun", 99, ["spacing=leading"]),
    ("pndm", 51, ["spacing=leading"]),
]

# tests/golden/exchange: what we import is exported again
OPENAI = ["--image-size", 8, "--heads", 2, "--groups", 2]
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "exchange"
GOLDEN_NETWORKS = [
    ("library", []),
    ("classes", []),
    ("shift", []),
    ("google", []),
    ("ddim.pth", ["--image-size", 8, "--groups", 2]),
    ("openai_conv.pt", [*OPENAI, "--new-attention-order"]),
]


def same_images(torch, ours, unet, scheduler, x, z, labels, steps=STEPS):
    from diffusers import DDIMScheduler
    from diffusers.schedulers import scheduling_ddpm

    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            eps = unet(x, t, class_labels=labels).sample
            if not isinstance(scheduler, DDIMScheduler):
                scheduling_ddpm.randn_tensor = lambda *_, k=k, **__: z[k]
            x = scheduler.step(eps, t, x).prev_sample
    error = (x - ours).abs().max().item() / max(1, ours.abs().max().item())
    assert error < 1e-4, error
    return error


def check_other_steps(torch, save_file, load_file, run, folder, name, flags, pipeline, labels):
    """A folder in S steps that do not divide T: the timesteps are diffusers'."""
    for steps in (1, 7, 30):
        x, z = torch.randn(2, 3, 8, 8), torch.randn(steps, 2, 3, 8, 8)
        save_file({"x_T": x, "z": z}, folder / "other.safetensors")
        run("sample", "--ckpt", f"{name}-folder", "--steps", steps, "--init-noise", "other.safetensors", "--save-tensors",
            f"{name}-{steps}.safetensors", "--out", f"{name}-{steps}", *flags)
        ours = load_file(folder / f"{name}-{steps}.safetensors")["samples"]
        error = same_images(torch, ours, pipeline.unet.eval(), pipeline.scheduler, x, z, labels, steps)
        print(f"{name}, {steps} steps: images differ by {error:.1e}")


def check_script(torch, save_file, run, folder, name, classes):
    """sample.py, which convert wrote: the images of `ddpm sample` from the same noise."""
    from PIL import Image

    subprocess.run([sys.executable, str(folder / f"{name}-folder" / "sample.py")], cwd=folder, check=True, capture_output=True)
    torch.manual_seed(0)
    save_file({"x_T": torch.randn(classes, 3, 8, 8)}, folder / "script.safetensors")
    run("sample", "--ckpt", f"{name}-folder", "--init-noise", "script.safetensors", "--out", f"{name}-script")
    for i in range(classes):
        theirs, ours = (Image.open(folder / file).tobytes() for file in (f"sample-{i:03}.png", f"{name}-script/{i:06}.png"))
        assert len(theirs) == len(ours) and max(abs(a - b) for a, b in zip(theirs, ours)) <= 1, (name, i)
    print(f"{name}: sample.py makes the {classes} images of ddpm sample")


def check_solvers(diffusers, torch, save_file, load_file, run, folder):
    """By sample.py, or with DDPMPipeline's loop if that can call the scheduler."""
    x = torch.randn(2, 3, 8, 8)
    save_file({"x_T": x}, folder / "solvers.safetensors")
    for name, calls, changes in SOLVERS:
        sample = [f"method={name}", f"steps={calls}", "stepping=diffusers", "clip=none", *changes]
        settings = ["data.channels=3", "diffusion.timesteps=1000", "train.steps=4", *(f"sample.{s}" for s in sample)]
        run("train", "--config", TINY, "--out", f"runs/{name}", *(part for s in settings for part in ("--set", s)))
        run("convert", f"runs/{name}", f"{name}-folder", "--to", "diffusers")
        if (folder / f"{name}-folder" / "sample.py").exists():
            check_script(torch, save_file, run, folder, name, 1)
            continue
        run("sample", "--ckpt", f"{name}-folder", "--init-noise", "solvers.safetensors", "--save-tensors",
            f"{name}.safetensors", "--out", f"{name}-pictures")
        pipeline = diffusers.DDPMPipeline.from_pretrained(str(folder / f"{name}-folder"), low_cpu_mem_usage=False)
        error = same_images(torch, load_file(folder / f"{name}.safetensors")["samples"], pipeline.unet.eval(),
                            pipeline.scheduler, x.clone(), None, None, calls)
        print(f"{name}: images differ by {error:.1e}")


def main(program):
    try:
        import diffusers
        import torch
        from safetensors.torch import load_file, save_file
    except ImportError:
        return skip_or_start_over("diffusers")
    import logging

    class Messages(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    messages = []
    logging.getLogger("diffusers").addHandler(Messages(logging.WARNING))
    torch.manual_seed(0)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        def run(*arguments):
            return subprocess.run([program, *map(str, arguments)], cwd=folder, check=True, capture_output=True, text=True)

        x, z = torch.randn(2, 3, 8, 8), torch.randn(STEPS, 2, 3, 8, 8)
        save_file({"x_T": x, "z": z}, folder / "noise.safetensors")
        for name, changes, flags in RUNS:
            settings = [part for setting in SETTINGS + changes for part in ("--set", setting)]
            run("train", "--config", TINY, "--out", f"runs/{name}", *settings)
            said = run("convert", f"runs/{name}", f"{name}-folder", "--to", "diffusers").stderr
            assert ("sample.py" in said) == (name == "classes"), said
            run("convert", f"runs/{name}", f"{name}.pt", "--to", "torch")
            for source in (f"runs/{name}", f"{name}-folder"):
                run("sample", "--ckpt", source, "--steps", STEPS, "--init-noise", "noise.safetensors", "--save-tensors",
                    f"{name}.safetensors", "--out", f"{name}-pictures-{source.replace('/', '-')}", *flags)
                ours = load_file(folder / f"{name}.safetensors")["samples"]
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    pipelines = [kind.from_pretrained(str(folder / f"{name}-folder"), low_cpu_mem_usage=False)
                                 for kind in (diffusers.DDPMPipeline, diffusers.DDIMPipeline)]
                assert not messages and not [w for w in warned if "diffusers" in str(w.filename)], (messages, warned)
                chosen = pipelines[1 if "--ddim" in flags else 0]
                labels = torch.tensor([0, 1]) if name == "classes" else None
                error = same_images(torch, ours, chosen.unet.eval(), chosen.scheduler, x.clone(), z, labels)
                print(f"{name} from {source}: images differ by {error:.1e}")
            check_other_steps(torch, save_file, load_file, run, folder, name, flags, chosen, labels)
            if name == "classes":
                check_script(torch, save_file, run, folder, name, chosen.unet.config.num_class_embeds)
            state = torch.load(folder / f"{name}.pt", weights_only=True)
            for key, value in chosen.unet.state_dict().items():
                assert torch.equal(value, state[key]), key
        check_solvers(diffusers, torch, save_file, load_file, run, folder)
        assert not messages, messages
        for name, flags in GOLDEN_NETWORKS:
            run("convert", GOLDEN / name, f"{name}-golden", "--to", "diffusers", *flags)
            pipeline = diffusers.DDPMPipeline.from_pretrained(str(folder / f"{name}-golden"), low_cpu_mem_usage=False)
            assert not messages, messages
            golden = load_file(GOLDEN / f"{name.split('.')[0].replace('ddim', 'google')}.safetensors")
            with torch.no_grad():
                eps = pipeline.unet(golden["x"], golden["t"], class_labels=golden.get("labels")).sample
            error = ((eps - golden["eps"]).abs().max() / golden["eps"].abs().max()).item()
            assert error < 1e-5, (name, error)
            print(f"{name}: exported again, diffusers' output differs by {error:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
