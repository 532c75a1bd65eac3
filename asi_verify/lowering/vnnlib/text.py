"""The text of a VNN-LIB file as nested lists of tokens, in bounded time and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from asi_verify.core.limits import DEEPEST_FORM, LARGEST_VNNLIB, LONGEST_NUMERAL
from asi_verify.errors import PropertyError

__all__ = ["Form", "decoded", "forms", "line_of", "numeral", "shown"]

Form = str | list["Form"]
"""A token, or what stands between a pair of parentheses."""

_TOKEN = re.compile(r"[()]|[^ \t\r\n();]+|;[^\n]*")
_NUMERAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,4}))?")
_LARGEST_EXPONENT = 400
_SHOWN = 80


def decoded(data: bytes) -> str:
    """The text of a file.

    Raises:
        PropertyError: it is too large, or not UTF-8.
    """
    if len(data) > LARGEST_VNNLIB:
        raise PropertyError(f"a VNN-LIB file of {len(data)} bytes; {LARGEST_VNNLIB} are allowed")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PropertyError(f"not a VNN-LIB file: its bytes are not UTF-8 ({error})") from None


def forms(text: str) -> Iterator[tuple[int, list[Form]]]:
    """The outermost lists of a text, one after the other, each with where it ends.

    Raises:
        PropertyError: parentheses do not match or nest too deeply, or a token stands outside.
    """
    open_lists: list[list[Form]] = []
    outermost = 0
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word == "(":
            if len(open_lists) == DEEPEST_FORM:
                raise PropertyError(
                    f"{line_of(text, match.start())}parentheses nest more than {DEEPEST_FORM} deep"
                )
            if not open_lists:
                outermost = match.start()
            open_lists.append([])
        elif word == ")":
            if not open_lists:
                raise PropertyError(f"{line_of(text, match.start())}a ')' that nothing opened")
            done = open_lists.pop()
            if open_lists:
                open_lists[-1].append(done)
            else:
                yield match.end(), done
        elif word[0] != ";":
            if not open_lists:
                raise PropertyError(
                    f"{line_of(text, match.start())}{shown(word)} stands outside of parentheses"
                )
            open_lists[-1].append(word)
    if open_lists:
        raise PropertyError(
            f"{line_of(text, outermost)}the file ends inside {len(open_lists)} open parentheses, "
            "of which the first is opened here"
        )


def line_of(text: str, position: int) -> str:
    """The line of a position, for messages."""
    return f"line {text.count(chr(10), 0, position) + 1}: "


@lru_cache(maxsize=1 << 14)
def numeral(token: str) -> Fraction | None:
    """The exact value of a decimal numeral, with or without an exponent; None if it is none.

    Raises:
        PropertyError: it is so long, or its exponent so large, that it would cost much to hold.
    """
    match = _NUMERAL.fullmatch(token[: LONGEST_NUMERAL + 1])
    if match is None:
        return None
    if len(token) > LONGEST_NUMERAL:
        raise PropertyError(f"a numeral of more than {LONGEST_NUMERAL} characters")
    if match[1] is not None and abs(int(match[1])) > _LARGEST_EXPONENT:
        raise PropertyError(
            f"the numeral {shown(token)} has an exponent beyond {_LARGEST_EXPONENT}"
        )
    return Fraction(token)


def shown(form: Form) -> str:
    """The beginning of a form, for messages."""
    words: list[str] = []
    waiting: list[Form] = [form]
    while waiting and sum(map(len, words)) <= _SHOWN:
        match waiting.pop():
            case str(token):
                words.append(token)
            case list(parts):
                words.append("(")
                waiting += [")", *reversed(parts[:_SHOWN])]
    text = " ".join(words).replace("( ", "(").replace(" )", ")")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
