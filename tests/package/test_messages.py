# SPDX-License-Identifier: MIT
"""docs/messages.md against the messages that are in the source."""

import glob
import os
import re

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
# Not base (what is wrong with a command, a file or a thread stands behind the words of its caller) and main (options, which are
# refused with the file and the line).
LAYERS = ("api", "volume", "ceph", "host", "mapper", "device")
CALL = re.compile(r"\b(?:error_set|log_warning|log_error)\s*\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
NEXT = re.compile(r'\s*(?:[A-Z_]+\s*)?"((?:[^"\\]|\\.)*)"')
CONVERSION = r"%[-0-9.*]*(?:ll|l|z)?[sdux]"


def literal(text, start):
    """The text that begins there or behind, of as many parts as the compiler joins: (text, its end)."""
    first = LITERAL.search(text, start)
    if not first:
        return None, len(text)
    said, end = first.group(1), first.end()
    while more := NEXT.match(text, end):
        said, end = said + more.group(1), more.end()
    return said, end


def sources(layers="*"):
    for layer in layers:
        for path in sorted(glob.glob(f"{ROOT}/src/{layer}/*.c")):
            with open(path, encoding="utf-8") as f:
                yield f"{layer}/{os.path.basename(path)}", f.read()


def messages():
    """(file, format) of each error that a user sees and each warning in the journal; of a choice of two formats the first."""
    for file, text in sources(LAYERS):
        for call in CALL.finditer(text):
            said, end = literal(text, call.end())
            if re.fullmatch(r"[\w-]+", said):  # a word that decides between two
                said = literal(text, end)[0]
            if re.sub(CONVERSION, "", said).strip(" :'"):  # else it is only somebody else's words
                yield file, said


def literals():
    """Every text in the source."""
    for _, text in sources():
        end = 0
        while end < len(text):
            said, end = literal(text, end)
            if said:
                yield said


def phrases():
    with open(f"{ROOT}/docs/messages.md", encoding="utf-8") as f:
        rows = [line.split("|")[1] for line in f if line.startswith("| `")]
    return [phrase for row in rows for phrase in re.findall("`([^`]+)`", row)]


def pattern(phrase):
    words = ".*".join(re.escape(part) for part in phrase.split("…"))
    # the words of the kernel or of Ceph, with nothing behind them
    return re.compile(words.replace("WORDS", f"{CONVERSION}$") if phrase.endswith("WORDS") else words)


def test_each_message_has_a_row():
    known = [pattern(phrase) for phrase in phrases()]
    found = list(messages())
    assert len(found) > 400
    unexplained = sorted({f"{file}: {said}" for file, said in found if not any(one.search(said) for one in known)})
    assert not unexplained, "\n" + "\n".join(unexplained)


def test_each_row_is_of_a_message_that_there_is():
    said = set(literals())
    stale = [phrase for phrase in phrases() if not any(pattern(phrase).search(one) for one in said)]
    assert not stale


def test_a_message_without_a_row_would_be_found():
    assert not any(pattern(phrase).search("the moon is in the way of '%s'") for phrase in phrases())
