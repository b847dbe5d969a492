"""Ways of damaging a file, drawn by dice: of its bytes, of its lines, of one value, of the file as such."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

HUGE_LINE = 20 * 1024 * 1024
DEEP = 100_000
STRANGE_VALUES = (
    *("null", "{}", "[]", '"7"', "NaN", "Infinity", "-1", "1e15", "-1e15", "1e400", "true", '""'),
    *("-5m", "1ns", "99999999d", '"\u0663"', '"2000:999999999"', "9" * 400, "9" * 5000, "1e15]"),
    *("0", "99999999999999999999", '"\\u0000"', '"\\ud800"', "0.1e", "'", "1_000"),
)
Damage = Callable[[Path, random.Random], None]


def of_bytes(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 8)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    path.write_bytes(content)


def cut_anywhere(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def insert_bytes(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    at = dice.randrange(len(content) + 1)
    junk = dice.choice(
        [b"\0" * 5000, bytes(range(256)) * 8, b"\xff\xfe", b"\xef\xbb\xbf", b"\n" * 300, b"}{"]
    )
    path.write_bytes(content[:at] + junk + content[at:])


def utf_16(path: Path, dice: random.Random) -> None:
    del dice
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode("utf-16"))


def value(path: Path, dice: random.Random) -> None:
    """One value becomes another: a number text, a text null, a time beyond all bounds."""
    text = path.read_bytes().decode("utf-8", "replace")
    found = list(re.finditer(r'(?<=[:,=])\s*("[^"\n]*"|-?[\w.]+)', text))
    if not found:
        return of_bytes(path, dice)
    hit = dice.choice(found)
    path.write_bytes((text[: hit.start()] + " " + dice.choice(STRANGE_VALUES) + text[hit.end() :]).encode())
    return None


def key(path: Path, dice: random.Random) -> None:
    """A word becomes another one that the file has."""
    text = path.read_bytes().decode("utf-8", "replace")
    words = list(re.finditer(r"\w{2,}", text))
    if len(words) < 2:
        return of_bytes(path, dice)
    hit, other = dice.choice(words), dice.choice(words).group()
    path.write_bytes((text[: hit.start()] + other + text[hit.end() :]).encode())
    return None


def nesting(path: Path, dice: random.Random) -> None:
    opened = dice.choice([b"[", b'{"a":', b"(", b"- ", b"{ a: ", b"\n" + b" " * 7])
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(dice.randrange(len(lines) + 1), opened * DEEP + b"\n")
    path.write_bytes(b"".join(lines))


def huge_line(path: Path, dice: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(dice.randrange(len(lines) + 1), dice.choice([b"x", b'{"a":"x', b"0"]) * HUGE_LINE + b"\n")
    path.write_bytes(b"".join(lines)[: HUGE_LINE + 4096])


def lines_shuffled(path: Path, dice: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    dice.shuffle(lines)
    path.write_bytes(b"".join(lines))


def lines_lost(path: Path, dice: random.Random) -> None:
    """Some of the lines are gone: the first, the last, a hole, each one by chance."""
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) < 2:
        return empty(path, dice)
    start, end = sorted((dice.randrange(len(lines)), dice.randrange(1, len(lines) + 1)))
    kept = [line for line in lines if dice.random() > 0.2]
    choices = (lines[:start], lines[end:], lines[:start] + lines[max(end, start + 1) :], kept)
    chosen = dice.choice([some for some in choices if len(some) < len(lines)] or [lines[1:]])
    path.write_bytes(b"".join(chosen))
    return None


def lines_twice(path: Path, dice: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    start = dice.randrange(len(lines))
    path.write_bytes(b"".join(lines[: start + 1] + lines[start:]))


def empty(path: Path, dice: random.Random) -> None:
    del dice
    path.write_bytes(b"")


def gone(path: Path, dice: random.Random) -> None:
    del dice
    path.unlink()


def a_folder(path: Path, dice: random.Random) -> None:
    del dice
    path.unlink()
    path.mkdir()


def a_dangling_link(path: Path, dice: random.Random) -> None:
    del dice
    path.unlink()
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path, dice: random.Random) -> None:
    del dice
    path.unlink()
    path.symlink_to(path.name)


def a_pipe(path: Path, dice: random.Random) -> None:
    del dice
    path.unlink()
    os.mkfifo(path)


def another_file(path: Path, dice: random.Random) -> None:
    """A neighbour's content in its place."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if not others:
        return empty(path, dice)
    shutil.copyfile(dice.choice(others), path)
    return None


def byte_order_mark(path: Path, dice: random.Random) -> None:
    del dice
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def carriage_returns(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", dice.choice([b"\r\n", b"\r"])))


def key_twice(path: Path, dice: random.Random) -> None:
    """A key stands there twice, with values of its own."""
    text = path.read_bytes().decode("utf-8", "replace")
    found = list(re.finditer(r'"[\w ]+": ?("[^"\n]*"|-?[\d.]+)', text))
    if not found:
        return value(path, dice)
    hit = dice.choice(found)
    name = hit.group().partition(":")[0]
    path.write_bytes(
        f"{text[: hit.start()]}{name}: {dice.choice(STRANGE_VALUES)}, {text[hit.start() :]}".encode()
    )
    return None


def rows_of_another(path: Path, dice: random.Random) -> None:
    """Lines of a neighbour stand among its own."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    lines = dice.choice(others).read_bytes().splitlines(keepends=True) if others else []
    if not lines:
        return lines_twice(path, dice)
    own = path.read_bytes().splitlines(keepends=True)
    at = dice.randrange(len(own) + 1)
    start = dice.randrange(len(lines))
    path.write_bytes(b"".join(own[:at] + lines[start : start + dice.randint(1, 20)] + own[at:]))
    return None


def time_shift(path: Path, dice: random.Random) -> None:
    """Every time of a file lies so much earlier or later."""
    by = dice.choice([-3600, -30, -2, 2, 30, 3600])
    text = path.read_bytes().decode("utf-8", "replace")
    shifted = re.sub(r'("t_s": ?)(-?\d+)', lambda hit: f"{hit[1]}{int(hit[2]) + by}", text)
    path.write_text(shifted, encoding="utf-8")


def another_case(path: Path, dice: random.Random) -> None:
    del dice
    path.rename(path.with_name(path.name.swapcase()))


def an_endless_device(path: Path, dice: random.Random) -> None:
    path.unlink()
    path.symlink_to(dice.choice(["/dev/zero", "/dev/urandom", "/dev/full"]))


OF_CONTENT: dict[str, Damage] = {
    "bytes": of_bytes,
    "cut": cut_anywhere,
    "inserted": insert_bytes,
    "utf-16": utf_16,
    "value": value,
    "word": key,
    "lines lost": lines_lost,
    "lines twice": lines_twice,
    "lines shuffled": lines_shuffled,
    "byte order mark": byte_order_mark,
    "carriage returns": carriage_returns,
    "key twice": key_twice,
    "rows of another": rows_of_another,
    "time shift": time_shift,
}
OF_FILE: dict[str, Damage] = {
    "empty": empty,
    "gone": gone,
    "folder": a_folder,
    "dangling link": a_dangling_link,
    "link to itself": a_link_to_itself,
    "pipe": a_pipe,
    "another file": another_file,
    "another case": another_case,
    "endless device": an_endless_device,
}
LARGE: dict[str, Damage] = {"nesting": nesting, "huge line": huge_line}
EVERY = OF_CONTENT | OF_FILE | LARGE
SELDOM = 0.03  # the share of the large ones: each takes as long as hundreds of the others


def drawn(dice: random.Random) -> tuple[str, Damage]:
    kinds = LARGE if dice.random() < SELDOM else OF_CONTENT if dice.random() < 0.7 else OF_FILE
    return dice.choice(sorted(kinds.items()))
