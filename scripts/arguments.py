"""Types of command-line arguments: an error is one line, reported before anything is measured.

For the compare_*.py scripts; Python's standard library is all it needs.
"""

import argparse
import os
import shutil
import tomllib


def positive(text):
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be an integer from 1 on")
    return number


def numbers(text):
    """Numbers from 1 on, separated by commas."""
    return [positive(part) for part in text.split(",")]


def names(*known):
    """Some of the known names, separated by commas."""
    def read(text):
        for name in text.split(","):
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name}: use {', '.join(known)}")
        return text.split(",")
    return read


def path(text):
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{text}: does not exist")
    return text


def config_file(text):
    try:
        with open(path(text), "rb") as file:
            tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text}: cannot be read: {error}") from error
    return text


def program(text):
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(f"{text}: is not a program; build it (scripts/quickstart.sh) or name another one")
    return text
