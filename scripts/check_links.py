#!/usr/bin/env python3
"""Checks the Markdown pages of the repository and prints each error as page: what is wrong.

    check_links.py [ROOT]       exit status 1 if there is an error

  - A relative link leads to a file, and its #anchor to a heading of it.
  - A code block whose first line names a file (```cpp tests/extending/x.cpp) quotes that file: its lines
    occur there, in one piece.
"""

import argparse
import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"^```\w+ (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def prose(path):
    return CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path):
    """The anchors that GitHub makes from headings: lower case, spaces as hyphens, no other punctuation."""
    texts = (heading.replace("`", "").lower() for heading in HEADING.findall(prose(path)))
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


def broken_links(page):
    """A message for each broken link of `page`."""
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else page.parent / name
        if not target.exists():
            yield f"{page}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page}: {link}: no such heading"


def broken_quotes(page, root):
    """A message for each code block of `page` that differs from the file that it quotes."""
    for name, text in QUOTE.findall(page.read_text(encoding="utf-8")):
        if not (root / name).exists():
            yield f"{page}: quotes {name}: no such file"
        elif text not in (root / name).read_text(encoding="utf-8"):
            yield f"{page}: a quote of {name} differs from the file; it begins with: {text.splitlines()[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    pages = [page for folder in (".", "docs", "data") for page in sorted((root / folder).glob("*.md"))]
    if not pages:
        sys.exit(f"{root}: contains no Markdown pages")
    problems = [problem for page in pages for problem in (*broken_links(page), *broken_quotes(page, root))]
    print("\n".join(problems) or f"{len(pages)} pages: all links and quotes are valid")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
