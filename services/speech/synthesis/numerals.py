"""Numbers as English words."""

import re


def _words(text: str) -> list[str]:
    return text.split()


_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = _words("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_FORM = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
MAX_DIGITS = 15  # of a number that is read as a whole; longer ones are read digit by digit


def cardinal(number: int) -> str:
    """The cardinal words of a number: 1250 as `one thousand two hundred fifty`."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]
    size, name = next((size, name) for size, name in _SCALES if number >= size)
    count, rest = divmod(number, size)
    return f"{cardinal(count)} {name}" + (f" {cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """The ordinal words of a number: 21 as `twenty-first`."""
    return re.sub(r"\w+$", lambda last: _ORDINALS.get(last[0], re.sub(r"y$", "ie", last[0]) + "th"), cardinal(number))


def digits(text: str) -> str:
    """The digits of a text one by one: `4 0 7` as `four zero seven`."""
    return " ".join(_ONES[int(digit)] for digit in text if digit.isdecimal())


def number(text: str) -> str:
    """The words of a decimal: `-1,234.50` as `minus one thousand two hundred thirty-four point five zero`.

    A number with leading zeros, such as 007, is read digit by digit.
    """
    sign, bare = ("minus ", text[1:]) if text[0] in "-−" else ("", text)
    whole, _, fraction = bare.replace(",", "").partition(".")
    long = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0")
    words = digits(whole) if long else cardinal(int(whole or "0"))
    return f"{sign}{words}" + (f" point {digits(fraction)}" if fraction else "")


def year(number: int) -> str:
    """The words of a year: 1905 as `nineteen oh five`, 2004 as `two thousand four`, 2024 as `twenty twenty-four`."""
    century, rest = divmod(number, 100)
    if century < 10 or century > 99 or number // 10 == 200 or (century % 10 == 0 and not rest):
        return cardinal(number)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(number: int) -> str:
    """The words of a decade: 1990 as `nineteen nineties`."""
    words = year(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def roman(text: str) -> int:
    """The value of a Roman numeral: XIV as 14; 0 if it is none."""
    if not text or not _ROMAN_FORM.fullmatch(text):
        return 0
    values = [_ROMAN[letter] for letter in text]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )
