"""ddpm.load and ddpm.Model."""

import json
import os
import threading

import torch

from ddpm._library import load_library

_Pipeline = load_library()


class Error(RuntimeError):
    """An error that a user can cause or fix. Its text is one line."""


class UsageError(Error, ValueError):
    """A setting that does not exist, is out of range, or does not fit the network."""


class IoError(Error, OSError):
    """A file or folder that is missing, unreadable or damaged."""

    def __str__(self):
        return self.args[0]


_KINDS = {"ddpm.UsageError": UsageError, "ddpm.IoError": IoError, "ddpm.Error": Error}


def _raised(error):
    """The exception for an error of the library, whose text begins with its kind."""
    for kind, exception in _KINDS.items():
        _, found, text = str(error).partition(kind + ": ")
        if found:
            return exception(text.splitlines()[0])
    return error


def _toml(value):
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    return repr(value)


def _assignments(settings):
    return [f"{key}={_toml(value)}" for key, value in settings.items() if value is not None]


def _class_words(classes):
    """Names and numbers as `ddpm sample --class` reads them, one per item."""
    if classes is None:
        return []
    items = [classes] if isinstance(classes, (str, int)) else list(classes)
    for item in items:
        if not isinstance(item, (str, int)) or isinstance(item, bool):
            raise UsageError(f"classes: {item!r} is neither a name nor a number")
    return [f"#{i}" if isinstance(i, int) else i.replace("\\", "\\\\").replace(",", "\\,") for i in items]


class Model:
    """A trained network that samples. Made by load()."""

    def __init__(self, path, weights="", device="auto", precision="fp32"):
        try:
            self._pipeline = _Pipeline(os.fspath(path), weights or "", str(device), precision)
        except RuntimeError as error:
            raise _raised(error) from None
        self._facts = json.loads(self._pipeline.describe())

    @property
    def facts(self):
        """A dict: path, weights, device, precision, image, model, diffusion, class_names, and sample,
        the default settings."""
        return self._facts

    @property
    def shape(self):
        """(C, H, W) of an image."""
        image = self._facts["image"]
        return image["channels"], image["height"], image["width"]

    @property
    def classes(self):
        """The names of the classes; [] for a network without classes or names."""
        return self._facts["class_names"]

    def __repr__(self):
        channels, height, width = self.shape
        weights = self._facts["weights"] or "only"
        return f"ddpm.Model({self._facts['path']!r}: {height}x{width}, {channels} channels, {weights} weights)"

    def settings(self, **settings):
        """Checks settings of sample(), and returns all of them as a dict."""
        try:
            return json.loads(self._pipeline.settings(_assignments(settings)))
        except RuntimeError as error:
            raise _raised(error) from None

    def sample(self, num=1, *, seed=0, first=0, batch=64, classes=None, conditions=None, vectors=None,
               to="torch", progress=None, **settings):
        """Draws images.

        num         images
        seed        image i of a seed does not depend on num, batch or first
        first       number of the first image: sample(2, first=4) are images 4 and 5 of the seed
        batch       images at a time
        classes     a name, a number, or a list of them, which the images take in turn; default: all
        conditions  uint8 [M,c,h,w], of a network with model.condition; image i takes row i mod M
        vectors     numbers [M,D], of a network with model.vector_conditional: a tensor, an array or lists;
                    image i takes row i mod M. Default: those of training images that the network keeps.
                    facts["vectors"] has the names of the D columns, their means and deviations
        to          "torch": float32 [num,C,H,W] on the CPU, about [-1,1], unclamped;
                    "numpy": uint8 [num,H,W,C] ([num,H,W] if C is 1), the pixels of `ddpm sample`
        progress    called with (done, total) network calls times images, about ten times a second
        settings    keys of [sample] (docs/config.md): method ("auto" too), steps, eta, guidance, ...

        Ctrl-C stops after the step that is under way. Raises UsageError, IoError or Error.
        """
        if to not in ("torch", "numpy"):
            raise UsageError(f'to = {to!r}: "torch" or "numpy"')
        total = num * self.settings(**settings)["steps"]
        words = _class_words(classes)
        if vectors is not None:
            vectors = torch.as_tensor(vectors)
        call = (num, first, seed, batch, words, conditions, vectors, _assignments(settings))
        samples = self._run(call, total, progress)
        if to == "torch":
            return samples
        pixels = ((samples + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        array = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return array[..., 0] if array.shape[-1] == 1 else array

    def _run(self, call, total, progress):
        """In a thread of its own, so that this one can report progress and take Ctrl-C."""
        outcome = {}

        def draw():
            try:
                outcome["samples"] = self._pipeline.sample(*call)
            except RuntimeError as error:
                outcome["error"] = error

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.1)
                if progress is not None:
                    progress(min(self._pipeline.done(), total), total)
        except BaseException:
            self._pipeline.stop()
            thread.join()
            raise
        if "error" in outcome:
            raise _raised(outcome["error"]) from None
        return outcome["samples"]


def load(path, weights="", device="auto", precision="fp32"):
    """Opens a trained network: a run, a checkpoint, a diffusers folder, or a file of weights.

    weights    "raw", "ema", "ema-2", ..., "ema-length-0.07"; default: ema if there is one
    device     "auto", "cpu", "cuda", "cuda:1"
    precision  "fp32", "tf32", "bf16", "fp64", or "auto": the fastest that is as good

    Raises IoError or UsageError.
    """
    return Model(path, weights, device, precision)
