#!/usr/bin/env python3
"""Checks that every message that docs/troubleshooting.md quotes is one of the program.

    check_messages.py [ROOT]     exit status 1 if a message is quoted that no source holds
    check_messages.py --self-test

A message is the code span at the beginning of a table's row: | `out of memory; lower ...` | ... |. Three dots stand
for what the program fills in. The rest must occur, in this order, in one string of src/; C++ joins adjacent literals.
"""

import argparse
import re
import sys
from pathlib import Path

PAGE = "docs/troubleshooting.md"
ROW = re.compile(r"^\| (`+)(.+?)\1 \|", re.MULTILINE)
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*')
BETWEEN = re.compile(r'"\s*\n?\s*"')
MARK = "\0"


def strings(source):
    """The string literals of a C++ source: adjacent ones joined, {placeholders} as MARK."""
    source = COMMENT.sub(lambda m: m.group() if m.group().startswith('"') else "", source)
    source = source.replace(r"\"", "\1")
    source = BETWEEN.sub("", source)
    for text in LITERAL.findall(source):
        yield re.sub(r"\{[^{}]*\}", MARK, text.replace("\1", '"'))


def is_in(message, texts):
    """Whether one of the texts holds the message's fixed parts in order."""
    parts = [part.strip() for part in message.split("...")]
    parts = [part for part in parts if part]
    if not any(len(part) >= 8 for part in parts):
        return False  # nearly everything is filled in: it could be any message
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.search(text) for text in texts)


def quoted(page):
    return [match.group(2) for match in ROW.finditer(page)]


def self_test():
    texts = list(strings('throw Error(fmt::format("rank {} of {}: gone; "\n   "set \\"x\\" {:g}", a)); // "no message"'))
    assert texts == [f'rank {MARK} of {MARK}: gone; set "x" {MARK}'], texts
    assert is_in('rank ... of ...: gone; set "x"', texts)
    assert not is_in("gone; rank ... of", texts)
    assert not is_in("no message", texts)
    assert not is_in("... of ...", texts)
    assert quoted("| `a b` | c |\n| plain `code` | d |\n") == ["a b"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    root = arguments.root
    sources = [path for ending in ("*.cpp", "*.h") for path in sorted((root / "src").rglob(ending))]
    texts = [text for path in sources for text in strings(path.read_text(encoding="utf-8"))]
    messages = quoted((root / PAGE).read_text(encoding="utf-8"))
    if not messages:
        sys.exit(f"{PAGE}: quotes no message")
    missing = [message for message in messages if not is_in(message, texts)]
    print("\n".join(f"{PAGE}: no source holds: {message}" for message in missing)
          or f"{PAGE}: all {len(messages)} messages are the program's")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
