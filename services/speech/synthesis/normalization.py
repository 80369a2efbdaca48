"""English as it is read aloud: numbers, dates, times, money, units, addresses and abbreviations as words.

Rules run one after another; each leaves words that no later rule takes. What none of them knows is left to the
voice. 03/04/2024 is the American month, day and year, unless that is no date; 3.4.2024 is day, month and year.
"""

import re
from collections.abc import Callable, Iterable

from services.speech.synthesis.numerals import cardinal, decade, digits, number, ordinal, roman, year
from services.speech.synthesis.readings import (
    ABBREVIATIONS,
    COUNTED,
    CURRENCIES,
    IN_ADDRESSES,
    MONTHS,
    NUMBERED,
    REIGNING,
    SCALES,
    SIGNS,
    TOP_DOMAINS,
    UNITS,
)

Found = re.Match[str]


def _any(words: Iterable[str]) -> str:
    """A pattern of any of these words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONTH = rf"(?:{_any(MONTHS)}|(?:{'|'.join(month[:3] for month in MONTHS)}|Sept)\.?)"
_FREE = r"(?<![\w.,])"  # before a number that stands by itself
_SCALE = r"(?:hundred|thousand|million|billion|trillion)"
_FRACTIONS = {2: "half", 3: "third", 4: "quarter"}


def english(text: str) -> str:
    """A text, or a sentence of one, with only words and punctuation in it."""
    for pattern, read in _RULES:
        text = pattern.sub(read, text)
    return re.sub(r" +([,.;:!?])", r"\1", re.sub(r"\s+", " ", text)).strip()


def _address(found: Found) -> str:
    said = re.sub(r"^(?:https?://)", "", found[0]).rstrip("/")
    said = re.sub(r"^www\.", "w w w dot ", said)
    said = re.sub(r"[^\w\s]|_", lambda sign: f" {IN_ADDRESSES.get(sign[0], '')} ", said)
    return re.sub(r"\d+", lambda run: f" {cardinal(int(run[0])) if len(run[0]) < 3 else digits(run[0])} ", said)


def _on(month: int, day: int, year_: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(year_))}" if year_ else "")


def _iso_date(found: Found) -> str:
    return _on(int(found[2]), int(found[3]), found[1]) or found[0]


def _slashed_date(found: Found) -> str:
    first, second, year_ = int(found[1]), int(found[2]), found[3]
    if len(year_) == 2:
        year_ = f"{'19' if int(year_) > 50 else '20'}{year_}"
    return _on(first, second, year_) or _on(second, first, year_) or found[0]


def _dotted_date(found: Found) -> str:
    return _on(int(found[2]), int(found[1]), found[3]) or found[0]


def _month(name: str) -> int:
    return next(at for at, month in enumerate(MONTHS, 1) if month.startswith(name[:3]))


def _month_day(found: Found) -> str:
    return _on(_month(found[1]), int(found[2]), found[3] or "") or found[0]


def _day_month(found: Found) -> str:
    if not 1 <= int(found[1]) <= 31:
        return found[0]
    return f"the {ordinal(int(found[1]))} of {MONTHS[_month(found[2]) - 1]}" + (
        f" {year(int(found[3]))}" if found[3] else ""
    )


def _time(found: Found) -> str:
    hour, minute, second = int(found[1]), int(found[2] or 0), found[3]
    half = f" {found[4].lower()}.m." if found[4] else ""
    said = cardinal(hour)
    if minute:
        said += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not half:
        said += " o'clock"
    if second:
        said += f" and {_counted(second.lstrip('0') or '0', ('second', 'seconds'))}"
    return said + half


def _telephone(found: Found) -> str:
    groups = [digits(group) for group in re.findall(r"\d+", found[0])]
    return ("plus " if found[0].startswith("+") else "") + ", ".join(groups)


def _counted(amount: str, words: tuple[str, str]) -> str:
    return f"{number(amount)} {words[0] if amount.lstrip('-−') == '1' else words[1]}"


def _money(found: Found) -> str:
    sign, currency, amount, scale = found.group("sign", "currency", "amount", "scale")
    one, many, one_part, many_parts = CURRENCIES[currency]
    minus = "minus " if sign else ""
    if scale:
        return f"{minus}{number(amount)} {SCALES.get(scale.lower(), scale.lower())} {many}"
    whole, _, parts = amount.replace(",", "").partition(".")
    if len(parts) != 2 or not one_part:
        return minus + _counted(amount, (one, many))
    said = [_counted(whole, (one, many))] if int(whole) or parts == "00" else []
    if parts != "00":
        said.append(_counted(parts.lstrip("0"), (one_part, many_parts)))
    return minus + " and ".join(said)


def _unit(found: Found) -> str:
    return _counted(found[1], UNITS[found[2]])


def _fraction(found: Found) -> str:
    above, below = int(found[2]), int(found[3])
    if not 0 < above < below <= 100:
        return found[0]
    name = _FRACTIONS.get(below, ordinal(below))
    part = f"{cardinal(above)} {name if above == 1 else 'halves' if below == 2 else name + 's'}"
    if not found[1]:
        return part
    return f"{cardinal(int(found[1]))} and {part.replace('one ', 'a ', 1)}"


def _range(found: Found) -> str:
    first, second = found[1], found[2]
    reads = [year(int(end)) if len(end) == 4 and 1000 <= int(end) < 2100 else number(end) for end in (first, second)]
    return " to ".join(reads)


def _of_person(found: Found) -> str:
    return f"{found[1]} the {ordinal(roman(found[2]))}" if roman(found[2]) else found[0]


def _of_thing(found: Found) -> str:
    return f"{found[1]} {cardinal(roman(found[2]))}" if roman(found[2]) else found[0]


def _abbreviation(found: Found) -> str:
    """Its words; a point that also ends the sentence stays."""
    return ABBREVIATIONS[found[1]] + ("." if found.end() == len(found.string) else "")


def _plain(found: Found) -> str:
    said = found[0]
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", said):
        return year(int(said))
    return number(said)


def _rule(pattern: str, read: Callable[[Found], str] | str) -> tuple[re.Pattern[str], Callable[[Found], str] | str]:
    return re.compile(pattern), read


_RULES = (
    _rule(r"[’‘]", "'"),
    # Addresses.
    _rule(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[a-zA-Z]{2,}\b", _address),
    _rule(r"\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", _address),
    _rule(
        rf"\b(?:[a-z0-9-]{{1,63}}\.){{1,4}}(?:{'|'.join(TOP_DOMAINS)})\b(?:/[^\s<>\"]*[^\s<>\".,;:!?)\]}}'])?", _address
    ),
    # Dates and times.
    _rule(r"(?<=\d{4}-\d\d-\d\d)T(?=\d)", " "),
    _rule(r"\b(\d{4})-(\d\d)-(\d\d)\b", _iso_date),
    _rule(r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?![\w/])", _slashed_date),
    _rule(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w])", _dotted_date),
    _rule(rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?(?![\d:%])(?:,? (\d{{4}})\b)?", _month_day),
    _rule(rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})(?![a-z])(?:,? (\d{{4}})\b)?", _day_month),
    _rule(r"\b([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?: ?([AaPp])\.?[Mm]\b\.?)?(?!\d)", _time),
    _rule(r"\b(1[0-2]|[1-9])()() ?([AaPp])\.?[Mm]\b\.?", _time),
    # What has digits in groups: telephones, versions and network addresses, ratios.
    _rule(r"(?<!\w)\+\d{1,3}(?:[ -]?\(?\d{1,4}\)?){2,5}\b", _telephone),
    _rule(r"(?<![\w-])(?:\(\d{3}\) ?|\d{3}[- .])?\d{3}-\d{4}(?![\w-])", _telephone),
    _rule(r"\bv(?=\d+\.\d)", "version "),
    _rule(r"\b\d+(?:\.\d+){2,}\b", lambda found: " point ".join(map(number, found[0].split(".")))),
    _rule(r"\b(\d+):(\d+)\b", lambda found: f"{number(found[1])} to {number(found[2])}"),
    # Money and measures, after the decades that look like seconds.
    _rule(r"\b(1[1-9]\d0|20\d0)'?s\b", lambda found: decade(int(found[1]))),
    _rule(r"(?<!\w)'?([2-9]0)s\b", lambda found: decade(int(found[1]))),
    _rule(
        rf"(?P<sign>[-−]?)(?P<currency>{_any(CURRENCIES)}) ?(?P<amount>{_NUMBER})"
        rf"(?: ?(?P<scale>{_SCALE}|bn|mn|tn|[kKmMbB])\b)?(?!\w)",
        _money,
    ),
    _rule(
        rf"(?<![\w.,])(?P<sign>[-−]?)(?P<amount>{_NUMBER})(?: (?P<scale>{_SCALE}))? ?"
        rf"(?P<currency>{_any(set(CURRENCIES) - {'¥'})})(?!\w)",
        _money,
    ),
    _rule(r"(\d)['′] ?(\d{1,2})[\"″]", lambda found: f"{cardinal(int(found[1]))} foot {cardinal(int(found[2]))}"),
    _rule(
        rf"{_FREE}({_NUMBER}) ?[-–] ?(?=(?:{_NUMBER}) ?(?:{_any(UNITS)})(?!\w))",
        lambda found: f"{number(found[1])} to ",
    ),
    _rule(rf"{_FREE}([-−]?(?:{_NUMBER})) ?({_any(UNITS)})(?!\w)", _unit),
    # Numbers that say more than how many.
    _rule(r"\b24/7\b", "twenty-four seven"),
    _rule(r"(?<![\w./])(?:(\d+) )?(\d{1,2})/(\d{1,3})(?![\w/])", _fraction),
    _rule(r"(\d)½", lambda found: f"{cardinal(int(found[1]))} and a half"),
    _rule(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda found: ordinal(int(found[1].replace(",", "")))),
    _rule(rf"\b({'|'.join(COUNTED)})\. ?(?=\d)", lambda found: f"{COUNTED[found[1]]} "),
    _rule(r"(?<!\w)#(?=\d)", "number "),
    _rule(rf"{_FREE}(\d+)\s?[-–]\s?(\d+)(?![\w.,-]\d)\b", _range),
    _rule(rf"\b({'|'.join(REIGNING)}) ([IVXL]+)\b", _of_person),
    _rule(rf"\b({'|'.join(NUMBERED)}|World War|Super Bowl|Final Fantasy|Star Wars) ([IVXL]+)\b", _of_thing),
    # Abbreviations.
    _rule(r"\bDr\.? (?=[A-Z])", "Doctor "),
    _rule(r"\bSt\.? (?=[A-Z])", "Saint "),
    _rule(r"(?<=[a-z] )St\.(?= [a-z]|,)", "Street"),
    _rule(r"(?<=[a-z] )St\.$", "Street."),
    _rule(rf"(?<![\w.])({_any(ABBREVIATIONS)})\.", _abbreviation),
    _rule(r"\bw/ ?(?=\w)", "with "),
    # Signs.
    _rule(r"\bC\+\+", "C plus plus"),
    _rule(r"\b([CF])#", r"\1 sharp"),
    _rule(r"(?<!\w)#(?=\w)", "hashtag "),
    _rule(r"(?<=\w)(?:²|\^2\b)", " squared"),
    _rule(r"(?<=\w)(?:³|\^3\b)", " cubed"),
    _rule(r"(?<=\w)\^(?=\w)", " to the power of "),
    _rule(r"~ ?(?=\d)", "about "),
    _rule(r"(?<=\d) ?[x*] ?(?=\d)", " times "),
    _rule(rf"[{re.escape(''.join(SIGNS))}]", lambda found: f" {SIGNS[found[0]]} "),
    _rule(r"(?<=\w)/(?=\w)", " slash "),
    _rule(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " "),
    # Numbers that say how many.
    _rule(r"(?<![\w.])\.(?=\d)", "point "),
    _rule(rf"(?:(?<=^)|(?<=[\s(]))[-−](?:{_NUMBER})|(?:{_NUMBER})", _plain),
    _rule(r"[\\_*|^~`®™•]", " "),
)
