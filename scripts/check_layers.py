#!/usr/bin/env python3
"""Checks the layering of the sources and prints each violation as file:line: what is wrong.

    check_layers.py [ROOT]       exit status 1 if there is a violation
    check_layers.py --self-test  breaks each rule in a scratch tree and checks that it is reported

The rules:
  - an include stays within its module or leads to one that the module links (CMakeLists.txt), directly or through
    others; base and config are open to all, and of these two only config includes base
  - sample does not include nn, so that a sampler knows no network
  - no .cu or .cuh file sees a torch header, directly or through a header of ours
  - src/<module>/<name>.cpp and .cu include a header of their module: the one that declares what they define. A
    header may have several bodies: io/archive.h has archive.cpp, tar.cpp and gzip.cpp
  - no header includes itself
  - a folder for one kind of hardware includes no other, but for amx/, which includes cpu/
  - a header in include/ is needed by another module, directly or through a header that is; others lie beside
    their bodies in src/ (checked once all else holds)
  - no folder is called utils
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

# A module of CMakeLists.txt and what it links: the modules below it.
MODULE = re.compile(r"ddpm_add_module\((\w+)([^)]*)\)")
LINKED = re.compile(r"\bddpm_(\w+)")
FORBIDDEN = {("sample", "nn")}
# Bodies without a header of their own: stb.cpp compiles a third party's, torch_classes.cpp registers classes, the
# commands are declared together, none.cpp takes the place of what cuda/ declares.
HEADERLESS = re.compile(r"io/stb\.cpp|python/torch_classes\.cpp|cli/\w+_command\.cpp|\w+/cuda/none\.cpp")
# Folders for one kind of hardware, and the other ones that each may include.
VARIANT_FOLDERS = {"cuda": set(), "cpu": set(), "amx": {"cpu"}}
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
TORCH = re.compile(r"(torch|ATen|c10|caffe2)/")
INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^">]+)[">]')
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def includes(path):
    """Yields (line number, included path) of a file, comments aside."""

    def blank(match):
        text = match.group()
        return text if text.startswith('"') else "\n" * text.count("\n")

    lines = COMMENT.sub(blank, path.read_text(encoding="utf-8")).splitlines()
    for number, line in enumerate(lines, 1):
        if match := INCLUDE.match(line):
            yield number, match.group(1)


def layers(cmake):
    """The modules that each module may include, from the text of CMakeLists.txt."""
    below = {"base": set(), "main": set()}
    for name, rest in MODULE.findall(cmake):
        linked = set(LINKED.findall(rest)) & below.keys()
        below[name] = linked.union(*(below[module] for module in linked)) | {"base", "config"} - {name}
        below["main"].add(name)
    return below | {"base": set(), "config": {"base"}}


class Tree:
    def __init__(self, root):
        self.root = root
        self.below = layers((root / "CMakeLists.txt").read_text(encoding="utf-8"))
        self.files = sorted(
            path
            for top in ("include/ddpm", "src")
            for path in (root / top).rglob("*")
            if path.suffix in SOURCES and path.is_file()
        )

    def module(self, path):
        """The module a file belongs to: include/ddpm/<module>/..., src/<module>/..., src/main.cpp."""
        parts = path.relative_to(self.root).parts
        parts = parts[2:] if parts[0] == "include" else parts[1:]
        return parts[0] if len(parts) > 1 else Path(parts[0]).stem

    def resolve(self, path, name):
        """The file of ours that an include leads to, or None."""
        for folder in (path.parent, self.root / "include", self.root / "src"):
            candidate = (folder / name).resolve()
            if candidate.is_file() and any(
                candidate.is_relative_to(self.root / top) for top in ("include/ddpm", "src")
            ):
                return candidate
        return None

    def torch_header_seen(self, path, seen=None):
        """The first torch header that a file includes, in however many steps, or None."""
        seen = set() if seen is None else seen
        if path in seen:
            return None
        seen.add(path)
        for _, name in includes(path):
            if TORCH.match(name):
                return name
            target = self.resolve(path, name)
            if target and (found := self.torch_header_seen(target, seen)):
                return found
        return None

    def check_include(self, path, name):
        """The message about a wrong include, or None."""
        module, target = self.module(path), self.resolve(path, name)
        if path.suffix in (".cu", ".cuh"):
            torch = name if TORCH.match(name) else target and self.torch_header_seen(target)
            if torch:
                return f"a CUDA source sees a torch header, {torch}; take raw pointers and a stream"
        if not target:
            return f"there is no {name}" if name.startswith("ddpm/") else None
        if target == path:
            return "includes itself"
        other = self.module(target)
        folder, other_folder = path.parent.name, target.parent.name
        if folder in VARIANT_FOLDERS and other_folder in VARIANT_FOLDERS.keys() - VARIANT_FOLDERS[folder] - {folder}:
            return f"{folder}/ includes {other_folder}/, which is for other hardware"
        if module == other or module not in self.below or other not in self.below:
            return None  # a module without a place is reported once, by check_modules
        if (module, other) in FORBIDDEN:
            return f"{module} must not include {other}"
        if other not in self.below[module]:
            return f"{module} includes {other}, which is not below it"
        return None

    def check_modules(self):
        for path in self.files:
            module = self.module(path)
            if module not in self.below:
                yield path, 1, f"module {module} has no place in CMakeLists.txt"

    def check_headers(self):
        for path in self.files:
            parts = path.relative_to(self.root).parts
            if parts[0] != "src" or path.suffix not in (".cpp", ".cu") or len(parts) < 3:
                continue
            if HEADERLESS.fullmatch("/".join(parts[1:])):
                continue
            headers = [self.resolve(path, name) for _, name in includes(path)]
            if not any(header and self.module(header) == self.module(path) for header in headers):
                yield path, 1, f"includes no header of module {self.module(path)}, which declares what it defines"

    def check_folders(self):
        for top in ("include", "src", "tests", "scripts", "cmake"):
            for path in sorted((self.root / top).rglob("util*")):
                if path.is_dir() and path.name in ("util", "utils"):
                    yield path, 1, "a folder of leftovers; name it after what it does"

    def check_needed(self):
        """Public headers that no other module needs."""
        public = {path for path in self.files if path.is_relative_to(self.root / "include")}
        leads = {path: {self.resolve(path, name) for _, name in includes(path)} & public for path in self.files}
        needed = {
            target for path in self.files for target in leads[path] if self.module(target) != self.module(path)
        }
        while more := {target for path in needed for target in leads[path]} - needed:
            needed |= more
        for path in sorted(public - needed):
            yield path, 1, f"no other module needs it; move it to src/{self.module(path)}"

    def violations(self):
        """Every violation as (path, line, message)."""
        found = list(self.placement_violations())
        return found or list(self.check_needed())

    def placement_violations(self):
        yield from self.check_modules()
        yield from self.check_headers()
        yield from self.check_folders()
        for path in self.files:
            for line, name in includes(path):
                if message := self.check_include(path, name):
                    yield path, line, message


def report(root):
    """The violations below a root, as lines of text; and the number of files read."""
    tree = Tree(root.resolve())
    lines = [f"{path.relative_to(tree.root)}:{line}: {what}" for path, line, what in tree.violations()]
    return lines, len(tree.files)


CLEAN = {
    "CMakeLists.txt": """ddpm_add_module(base)
ddpm_add_module(config LINK ddpm_base toml)
ddpm_add_module(io     LINK ddpm_base zip
                       json)
ddpm_add_module(kernels LINK ddpm_base)
ddpm_add_module(nn     LINK ddpm_io ddpm_kernels)
ddpm_add_module(sample LINK ddpm_io)
ddpm_add_module(train  LINK ddpm_nn ddpm_sample)
ddpm_add_module(eval   LINK ddpm_nn ddpm_sample)
ddpm_add_module(cli    LINK ddpm_train ddpm_eval)
""",
    "include/ddpm/base/error.h": "#pragma once\n",
    "include/ddpm/config/document.h": '#include "ddpm/base/error.h"\n',
    "include/ddpm/io/image.h": '#include "ddpm/config/document.h"\n#include <torch/types.h>\n',
    "include/ddpm/nn/unet.h": '#include "ddpm/io/image.h"\n#include "ddpm/kernels/device.h"\n',
    "include/ddpm/kernels/device.h": "#include <torch/types.h>\n",
    "include/ddpm/sample/ddim.h": '#include "ddpm/io/image.h"\n',
    "include/ddpm/train/trainer.h": '#include "ddpm/nn/unet.h"\n#include "ddpm/sample/ddim.h"\n',
    "include/ddpm/cli/train.h": '#include "ddpm/train/trainer.h"\n',
    "src/main.cpp": '#include "ddpm/cli/train.h"\n',
    "src/io/image.cpp": '#include "ddpm/io/image.h"\n#include "format.h"\n',
    "src/io/format.h": "#pragma once\n",
    "src/io/format.cpp": '#include "format.h"\n// #include "ddpm/nn/unet.h"\n/*\n#include "ddpm/cli/train.h"\n*/\n',
    "src/io/stb.cpp": "#include <stb_image.h>\n",
    "src/io/image_grid.cpp": '#include "ddpm/io/image.h"\n',
    "src/cli/train_command.cpp": '#include "ddpm/cli/train.h"\n',
    "src/kernels/random.cpp": '#include "cuda/random.h"\n#include <torch/torch.h>\n',
    "src/kernels/cpu/loops.h": "#pragma once\n",
    "src/kernels/cpu/loops_avx2.cpp": '#include "loops.h"\n',
    "src/kernels/cpu/random.cpp": '#include "loops.h"\n',
    "src/kernels/amx/tiles.h": '#include "../cpu/loops.h"\n',
    "src/kernels/cuda/random.h": '#include "ddpm/base/error.h"\n',
    "src/kernels/cuda/random.cu": '#include "random.h"\n',
    "src/kernels/cuda/none.cpp": '#include "random.h"\n',
}
# Each breaks one rule: the file, its text, and the start of the one reported line.
BROKEN = [
    ("include/ddpm/base/rng.h", '\n#include "ddpm/config/document.h"\n', "include/ddpm/base/rng.h:2: base includes config"),
    ("include/ddpm/io/grid.h", '#include "ddpm/kernels/device.h"\n', "include/ddpm/io/grid.h:1: io includes kernels"),
    ("include/ddpm/io/grid.h", '#include "ddpm/nn/unet.h"\n', "include/ddpm/io/grid.h:1: io includes nn"),
    ("include/ddpm/io/grid.h", '/* a\n b */ #include "ddpm/nn/unet.h"\n', "include/ddpm/io/grid.h:2: io includes nn"),
    ("include/ddpm/sample/plan.h", "#include <ddpm/nn/unet.h>\n", "include/ddpm/sample/plan.h:1: sample must not include nn"),
    ("include/ddpm/eval/fid.h", '#include "ddpm/train/trainer.h"\n', "include/ddpm/eval/fid.h:1: eval includes train"),
    ("src/kernels/random.h", '#include "../io/format.h"\n', "src/kernels/random.h:1: kernels includes io"),
    ("src/kernels/cuda/random.cu", '#include "random.h"\n#include <c10/cuda/CUDAStream.h>\n', "src/kernels/cuda/random.cu:2: a CUDA source sees"),
    ("src/kernels/cuda/random.cu", '\n\n#include "ddpm/kernels/device.h"\n', "src/kernels/cuda/random.cu:3: a CUDA source sees"),
    ("src/kernels/cuda/norm.cu", "", "src/kernels/cuda/norm.cu:1: includes no header of module kernels"),
    ("src/kernels/cpu/norm.cpp", "", "src/kernels/cpu/norm.cpp:1: includes no header of module kernels"),
    ("src/kernels/cpu/norm.h", '#include "../amx/tiles.h"\n', "src/kernels/cpu/norm.h:1: cpu/ includes amx/"),
    ("src/kernels/cuda/norm.h", '#include "../cpu/loops.h"\n', "src/kernels/cuda/norm.h:1: cuda/ includes cpu/"),
    ("src/io/png.cpp", "", "src/io/png.cpp:1: includes no header of module io"),
    ("src/nn/png.cpp", '#include "ddpm/io/image.h"\n', "src/nn/png.cpp:1: includes no header of module nn"),
    ("include/ddpm/io/lonely.h", "", "include/ddpm/io/lonely.h:1: no other module needs it"),
    ("src/io/own.h", '#include "own.h"\n', "src/io/own.h:1: includes itself"),
    ("src/misc/x.h", "", "src/misc/x.h:1: module misc has no place"),
    ("src/nn/utils/x.h", "", "src/nn/utils:1: a folder of leftovers"),
    ("include/ddpm/nn/gone.h", '#include "ddpm/io/gone.h"\n', "include/ddpm/nn/gone.h:1: there is no ddpm/io/gone.h"),
]


def self_test():
    """Exits with a message if a broken rule is not reported, or an unbroken one is."""
    cases = [(None, None, None), *BROKEN]
    for name, text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            files = CLEAN | ({name: text} if name else {})
            for path, content in files.items():
                path = Path(folder) / path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            found, _ = report(Path(folder))
        right = len(found) == 1 and found[0].startswith(expected) if expected else not found
        if not right:
            sys.exit(f"self-test: expected {expected or 'nothing'}, found {found or 'nothing'}")
    print(f"self-test: {len(BROKEN)} broken trees are reported, the clean one is not")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return
    found, count = report(arguments.root)
    if count == 0:
        sys.exit(f"{arguments.root}: contains no sources")
    print("\n".join([*found, f"{count} files, {len(found)} violations"]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
