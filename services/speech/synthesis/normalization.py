"""Text normalization of English: numbers, dates, times, money, units, addresses and abbreviations become words.

The rules are applied in order; the output of a rule does not match any later rule. Text that matches no rule is passed
to the model unchanged. 03/04/2024 is read as month, day and year, unless that is no date; 3.4.2024 as day, month and
year.
"""

import re
from collections.abc import Callable, Iterable

from services.speech.synthesis.numerals import cardinal, decade, digits, number, ordinal, roman, year
from services.speech.synthesis.readings import (
    ABBREVIATIONS,
    ADDRESS_SYMBOLS,
    CURRENCIES,
    MONTHS,
    NUMBER_PREFIXES,
    NUMBERED_NOUNS,
    REGNAL_NAMES,
    SCALES,
    SYMBOLS,
    TOP_LEVEL_DOMAINS,
    UNITS,
)

Match = re.Match[str]


def _any(words: Iterable[str]) -> str:
    """A pattern that matches any of the words, longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONTH = rf"(?:{_any(MONTHS)}|(?:{'|'.join(month[:3] for month in MONTHS)}|Sept)\.?)"
_NOT_IN_NUMBER = r"(?<![\w.,])"  # no word character, point or comma before a number
_SCALE = r"(?:hundred|thousand|million|billion|trillion)"
_FRACTIONS = {2: "half", 3: "third", 4: "quarter"}


def english(text: str) -> str:
    """Normalize a text or a sentence to words and punctuation."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return re.sub(r" +([,.;:!?])", r"\1", re.sub(r"\s+", " ", text)).strip()


def _address(match: Match) -> str:
    words = re.sub(r"^(?:https?://)", "", match[0]).rstrip("/")
    words = re.sub(r"^www\.", "w w w dot ", words)
    words = re.sub(r"[^\w\s]|_", lambda sign: f" {ADDRESS_SYMBOLS.get(sign[0], '')} ", words)
    return re.sub(r"\d+", lambda run: f" {cardinal(int(run[0])) if len(run[0]) < 3 else digits(run[0])} ", words)


def _spoken_date(month: int, day: int, year_: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(year_))}" if year_ else "")


def _iso_date(match: Match) -> str:
    return _spoken_date(int(match[2]), int(match[3]), match[1]) or match[0]


def _slashed_date(match: Match) -> str:
    first, second, year_ = int(match[1]), int(match[2]), match[3]
    if len(year_) == 2:
        year_ = f"{'19' if int(year_) > 50 else '20'}{year_}"
    return _spoken_date(first, second, year_) or _spoken_date(second, first, year_) or match[0]


def _dotted_date(match: Match) -> str:
    return _spoken_date(int(match[2]), int(match[1]), match[3]) or match[0]


def _month(name: str) -> int:
    return next(at for at, month in enumerate(MONTHS, 1) if month.startswith(name[:3]))


def _month_day(match: Match) -> str:
    return _spoken_date(_month(match[1]), int(match[2]), match[3] or "") or match[0]


def _day_month(match: Match) -> str:
    if not 1 <= int(match[1]) <= 31:
        return match[0]
    return f"the {ordinal(int(match[1]))} of {MONTHS[_month(match[2]) - 1]}" + (
        f" {year(int(match[3]))}" if match[3] else ""
    )


def _time(match: Match) -> str:
    hour, minute, second = int(match[1]), int(match[2] or 0), match[3]
    half = f" {match[4].lower()}.m." if match[4] else ""
    words = cardinal(hour)
    if minute:
        words += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not half:
        words += " o'clock"
    if second:
        words += f" and {_counted(second.lstrip('0') or '0', ('second', 'seconds'))}"
    return words + half


def _telephone(match: Match) -> str:
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _counted(amount: str, nouns: tuple[str, str]) -> str:
    return f"{number(amount)} {nouns[0] if amount.lstrip('-−') == '1' else nouns[1]}"


def _money(match: Match) -> str:
    sign, currency, amount, scale = match.group("sign", "currency", "amount", "scale")
    singular, plural, subunit, subunits = CURRENCIES[currency]
    minus = "minus " if sign else ""
    if scale:
        return f"{minus}{number(amount)} {SCALES.get(scale.lower(), scale.lower())} {plural}"
    whole, _, parts = amount.replace(",", "").partition(".")
    if len(parts) != 2 or not subunit:
        return minus + _counted(amount, (singular, plural))
    words = [_counted(whole, (singular, plural))] if int(whole) or parts == "00" else []
    if parts != "00":
        words.append(_counted(parts.lstrip("0"), (subunit, subunits)))
    return minus + " and ".join(words)


def _unit(match: Match) -> str:
    return _counted(match[1], UNITS[match[2]])


def _fraction(match: Match) -> str:
    numerator, denominator = int(match[2]), int(match[3])
    if not 0 < numerator < denominator <= 100:
        return match[0]
    name = _FRACTIONS.get(denominator, ordinal(denominator))
    part = f"{cardinal(numerator)} {name if numerator == 1 else 'halves' if denominator == 2 else name + 's'}"
    if not match[1]:
        return part
    return f"{cardinal(int(match[1]))} and {part.replace('one ', 'a ', 1)}"


def _range(match: Match) -> str:
    first, second = match[1], match[2]
    words = [year(int(end)) if len(end) == 4 and 1000 <= int(end) < 2100 else number(end) for end in (first, second)]
    return " to ".join(words)


def _regnal_number(match: Match) -> str:
    return f"{match[1]} the {ordinal(roman(match[2]))}" if roman(match[2]) else match[0]


def _numbered_thing(match: Match) -> str:
    return f"{match[1]} {cardinal(roman(match[2]))}" if roman(match[2]) else match[0]


def _abbreviation(match: Match) -> str:
    """Expand an abbreviation; a point that also ends the sentence is kept."""
    return ABBREVIATIONS[match[1]] + ("." if match.end() == len(match.string) else "")


def _plain_number(match: Match) -> str:
    words = match[0]
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", words):
        return year(int(words))
    return number(words)


def _rule(
    pattern: str, replacement: Callable[[Match], str] | str
) -> tuple[re.Pattern[str], Callable[[Match], str] | str]:
    return re.compile(pattern), replacement


_RULES = (
    _rule(r"[’‘]", "'"),
    # Addresses.
    _rule(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[a-zA-Z]{2,}\b", _address),
    _rule(r"\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", _address),
    _rule(
        rf"\b(?:[a-z0-9-]{{1,63}}\.){{1,4}}(?:{'|'.join(TOP_LEVEL_DOMAINS)})\b(?:/[^\s<>\"]*[^\s<>\".,;:!?)\]}}'])?",
        _address,
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
    # Groups of digits: telephone numbers, versions, IP addresses and ratios.
    _rule(r"(?<!\w)\+\d{1,3}(?:[ -]?\(?\d{1,4}\)?){2,5}\b", _telephone),
    _rule(r"(?<![\w-])(?:\(\d{3}\) ?|\d{3}[- .])?\d{3}-\d{4}(?![\w-])", _telephone),
    _rule(r"\bv(?=\d+\.\d)", "version "),
    _rule(r"\b\d+(?:\.\d+){2,}\b", lambda match: " point ".join(map(number, match[0].split(".")))),
    _rule(r"\b(\d+):(\d+)\b", lambda match: f"{number(match[1])} to {number(match[2])}"),
    # Money and measures, after decades, which look like seconds.
    _rule(r"\b(1[1-9]\d0|20\d0)'?s\b", lambda match: decade(int(match[1]))),
    _rule(r"(?<!\w)'?([2-9]0)s\b", lambda match: decade(int(match[1]))),
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
    _rule(r"(\d)['′] ?(\d{1,2})[\"″]", lambda match: f"{cardinal(int(match[1]))} foot {cardinal(int(match[2]))}"),
    _rule(
        rf"{_NOT_IN_NUMBER}({_NUMBER}) ?[-–] ?(?=(?:{_NUMBER}) ?(?:{_any(UNITS)})(?!\w))",
        lambda match: f"{number(match[1])} to ",
    ),
    _rule(rf"{_NOT_IN_NUMBER}([-−]?(?:{_NUMBER})) ?({_any(UNITS)})(?!\w)", _unit),
    # Fractions, ordinals, ranges and Roman numerals.
    _rule(r"\b24/7\b", "twenty-four seven"),
    _rule(r"(?<![\w./])(?:(\d+) )?(\d{1,2})/(\d{1,3})(?![\w/])", _fraction),
    _rule(r"(\d)½", lambda match: f"{cardinal(int(match[1]))} and a half"),
    _rule(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1].replace(",", "")))),
    _rule(rf"\b({'|'.join(NUMBER_PREFIXES)})\. ?(?=\d)", lambda match: f"{NUMBER_PREFIXES[match[1]]} "),
    _rule(r"(?<!\w)#(?=\d)", "number "),
    _rule(rf"{_NOT_IN_NUMBER}(\d+)\s?[-–]\s?(\d+)(?![\w.,-]\d)\b", _range),
    _rule(rf"\b({'|'.join(REGNAL_NAMES)}) ([IVXL]+)\b", _regnal_number),
    _rule(rf"\b({'|'.join(NUMBERED_NOUNS)}|World War|Super Bowl|Final Fantasy|Star Wars) ([IVXL]+)\b", _numbered_thing),
    # Abbreviations.
    _rule(r"\bDr\.? (?=[A-Z])", "Doctor "),
    _rule(r"\bSt\.? (?=[A-Z])", "Saint "),
    _rule(r"(?<=[a-z] )St\.(?= [a-z]|,)", "Street"),
    _rule(r"(?<=[a-z] )St\.$", "Street."),
    _rule(rf"(?<![\w.])({_any(ABBREVIATIONS)})\.", _abbreviation),
    _rule(r"\bw/ ?(?=\w)", "with "),
    # Symbols.
    _rule(r"\bC\+\+", "C plus plus"),
    _rule(r"\b([CF])#", r"\1 sharp"),
    _rule(r"(?<!\w)#(?=\w)", "hashtag "),
    _rule(r"(?<=\w)(?:²|\^2\b)", " squared"),
    _rule(r"(?<=\w)(?:³|\^3\b)", " cubed"),
    _rule(r"(?<=\w)\^(?=\w)", " to the power of "),
    _rule(r"~ ?(?=\d)", "about "),
    _rule(r"(?<=\d) ?[x*] ?(?=\d)", " times "),
    _rule(rf"[{re.escape(''.join(SYMBOLS))}]", lambda match: f" {SYMBOLS[match[0]]} "),
    _rule(r"(?<=\w)/(?=\w)", " slash "),
    _rule(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " "),
    # Other numbers.
    _rule(r"(?<![\w.])\.(?=\d)", "point "),
    _rule(rf"(?:(?<=^)|(?<=[\s(]))[-−](?:{_NUMBER})|(?:{_NUMBER})", _plain_number),
    _rule(r"[\\_*|^~`®™•]", " "),
)
