"""Samples from denoising diffusion models, by the library of the program ddpm.

    import ddpm

    model = ddpm.load("runs/mine")                       # a run, a checkpoint, a diffusers folder, a file
    x = model.sample(16, method="ddim", steps=50)        # torch, float32 [16,C,H,W], about [-1,1]
    pictures = model.sample(16, steps=10, to="numpy")    # uint8 [16,H,W,C]

The settings of sample() are the keys of [sample] in a config. The same settings and seed give the
same images as the command `ddpm sample`.
"""

__all__ = ["Error", "IoError", "Model", "UsageError", "load"]


def __getattr__(name):
    # Only now: the command ddpm imports this package too, and torch takes seconds.
    if name in __all__:
        from ddpm import _model

        return getattr(_model, name)
    raise AttributeError(f"module 'ddpm' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
