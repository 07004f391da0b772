#!/usr/bin/env python3
"""Writes tests/golden/eval_*.safetensors: reference numbers for `ddpm eval`.

  eval_statistics  Frechet, kernel, score, precision and recall, density and coverage of fixed features, by numpy and scipy
  eval_statistics.npz  mean and covariance as EDM and pytorch-fid store them
  eval_adm.npz     images and the statistics of a larger set, as in guided-diffusion's reference files
  eval_decoder     Ho 2020, Eq. 13, by scipy's normal distribution
  eval_inception   features, logits without bias and mixed_6 of pytorch-fid's Inception with weights made by a formula

Needs numpy, scipy, torch, safetensors, torchvision and pytorch-fid:  python3 scripts/make_eval_golden.py
"""

import pathlib

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats
import torch
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def frechet(x, y):
    """The trace by scipy's general matrix square root."""
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cx @ cy).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cx + cy - 2 * root)


def frechet_few(x, y):
    """The same if there are fewer rows than columns: the trace is the nuclear norm of the centred data's product."""
    a, b = (x - x.mean(0)) / np.sqrt(len(x) - 1), (y - y.mean(0)) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(a**2) + np.sum(b**2) - 2 * cross


def kernel(x, y):
    def k(a, b):
        return (np.einsum("id,jd->ij", a, b) / a.shape[1] + 1) ** 3

    m, n = len(x), len(y)
    off_x = sum(k(x, x)[i, j] for i in range(m) for j in range(m) if i != j)
    off_y = sum(k(y, y)[i, j] for i in range(n) for j in range(n) if i != j)
    return off_x / (m * (m - 1)) + off_y / (n * (n - 1)) - 2 * k(x, y).mean()


def score(logits, splits):
    p = scipy.special.softmax(logits, axis=1)
    parts = [p[i * len(p) // splits : (i + 1) * len(p) // splits] for i in range(splits)]
    scores = [np.exp(np.mean([scipy.stats.entropy(row, part.mean(0)) for row in part])) for part in parts]
    return np.array([np.mean(scores), np.std(scores)])


def distances(x, y):
    return np.array([[np.linalg.norm(a - b) for b in y] for a in x])


def radii(x, k):
    return np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(distances(x, x))])


def manifold(real, fake):
    real_3, fake_3, real_5 = radii(real, 3), radii(fake, 3), radii(real, 5)
    d = distances(real, fake)
    return np.array(
        [
            np.mean([np.any(d[:, j] <= real_3) for j in range(len(fake))]),
            np.mean([np.any(d[i] <= fake_3) for i in range(len(real))]),
            np.sum(d < real_5[:, None]) / (5 * len(fake)),
            np.mean(d.min(1) < real_5),
        ]
    )


def statistics():
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((12, 12)) * np.logspace(0, -3, 12)
    x = rng.standard_normal((150, 12)) @ mix + rng.standard_normal(12)
    y = rng.standard_normal((170, 12)) @ mix * 1.2 + x.mean(0) + 0.3
    few_x, few_y = rng.standard_normal((20, 50)), rng.standard_normal((15, 50)) * 1.5 + 0.2
    logits = rng.standard_normal((60, 7)) * 4
    save_file(
        {
            "x": x,
            "y": y,
            "frechet": np.array([frechet(x, y)]),
            "kernel": np.array([kernel(x, y)]),
            "manifold": manifold(x, y),
            "few_x": few_x,
            "few_y": few_y,
            "few_frechet": np.array([frechet_few(few_x, few_y)]),
            "mixed_frechet": np.array([frechet_few(few_x[:, :12], y)]),
            "logits": logits,
            "score": score(logits, 4),
        },
        GOLDEN / "eval_statistics.safetensors",
    )
    sigma = np.diag([1.0, 2.0, 3.0])
    sigma[1, 2] = sigma[2, 1] = 0.25
    np.savez(GOLDEN / "eval_statistics.npz", mu=np.arange(3.0), sigma=sigma)
    np.savez(
        GOLDEN / "eval_adm.npz",
        arr_0=rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8),
        mu=np.full(12, 0.25),
        sigma=0.5 * np.eye(12),
        mu_s=np.full(9, 0.125),
        sigma_s=2.0 * np.eye(9),
    )


def decoder():
    """log P(x0 | mean, sigma), x0 one of 256 levels in [-1, 1]; the outer bins reach to infinity."""
    levels = np.repeat(np.array([0, 1, 17, 127, 128, 200, 254, 255]), 6)
    mean = np.tile(np.array([-1.01, -0.86, 0.004, 0.02, 0.57, 0.999]), 8)
    sigma = np.array([0.002, 0.02, 0.3])
    x = levels / 127.5 - 1
    out = np.empty((3, len(x)))
    for row, s in enumerate(sigma):
        upper, lower = (x + 1 / 255 - mean) / s, (x - 1 / 255 - mean) / s
        norm = scipy.stats.norm
        inner = np.where(
            lower > 0,  # the smaller tails avoid cancellation
            norm.logsf(lower) + np.log1p(-np.exp(norm.logsf(upper) - norm.logsf(lower))),
            norm.logcdf(upper) + np.log1p(-np.exp(norm.logcdf(lower) - norm.logcdf(upper))),
        )
        out[row] = np.where(levels == 0, norm.logcdf(upper), np.where(levels == 255, norm.logsf(lower), inner))
    save_file({"levels": levels.astype(np.uint8), "mean": mean, "sigma": sigma, "log_p": out}, GOLDEN / "eval_decoder.safetensors")


def formula(position, shape):
    """Weights that any program can compute: cosines, scaled so that activations keep their size."""
    count = int(np.prod(shape))
    wave = np.cos(np.arange(count, dtype=np.float64) * (0.7 + 0.01 * position) + position)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    return torch.from_numpy((wave * np.sqrt(2.0 / fan_in)).reshape(shape))


def inception():
    from pytorch_fid import inception as fid

    class Weightless(dict):
        pass

    fid.load_state_dict_from_url = lambda *args, **kwargs: Weightless()
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda self, state, *a, **k: None if isinstance(state, Weightless) else load(self, state, *a, **k)
    net = fid.fid_inception_v3().double().eval()
    names = [n for n in net.state_dict() if not n.endswith("num_batches_tracked")]
    for position, name in enumerate(sorted(names)):
        tensor = net.state_dict()[name]
        value = formula(position, tensor.shape)
        if name.endswith("running_var") or name.endswith("bn.weight"):
            value = 1 + 0.3 * value / np.sqrt(2.0)
        elif tensor.dim() == 1:
            value = 0.1 * value
        tensor.copy_(value)
    kept = {}
    net.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, out: kept.update(spatial=out))
    # guided-diffusion, StyleGAN and torch-fidelity all omit the bias from the score's logits.
    net.fc.register_forward_hook(lambda m, i, out: kept.update(features=i[0], logits=i[0] @ m.weight.T))
    pixels = (np.arange(3 * 24 * 20) * 37 % 256).reshape(1, 3, 24, 20).astype(np.uint8)
    x = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).double() / 255, size=(299, 299), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        net.transform_input = False
        net(2 * x - 1)
    save_file(
        {
            "images": pixels,
            "features": kept["features"].numpy(),
            "logits": kept["logits"].numpy(),
            # TensorFlow's arrays are [N,H,W,C]: evaluator.py takes [..., :7] and flattens that.
            "spatial": np.ascontiguousarray(kept["spatial"].numpy().transpose(0, 2, 3, 1)[..., :7]).reshape(1, -1),
        },
        GOLDEN / "eval_inception.safetensors",
        {"names": " ".join(sorted(names))},
    )


if __name__ == "__main__":
    statistics()
    decoder()
    inception()
