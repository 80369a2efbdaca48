"""English as it is read aloud."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.synthesis.normalization import english
from services.speech.synthesis.numerals import cardinal, ordinal, roman, year

READ = {
    # Numbers.
    "3 cats and 1,250 dogs": "three cats and one thousand two hundred fifty dogs",
    "1000000 people": "one million people",
    "1,234,567.89": "one million two hundred thirty-four thousand five hundred sixty-seven point eight nine",
    "3.14 and 0.5 and .5": "three point one four and zero point five and point five",
    "it is -5 outside": "it is minus five outside",
    "agent 007": "agent zero zero seven",
    "12345678901234567890": "one two three four five six seven eight nine zero " * 2,
    "room 101": "room one hundred one",
    "10 x 20": "ten times twenty",
    "the 21st century": "the twenty-first century",
    "1st, 2nd, 3rd, 11th, 101st": "first, second, third, eleventh, one hundred first",
    "#1 fan": "number one fan",
    "No. 5 of Vol. 2": "number five of volume two",
    "3/4 of it and 1/2 cup": "three quarters of it and one half cup",
    "2 1/2 hours": "two and a half hours",
    "open 24/7": "open twenty-four seven",
    "pages 10-15": "pages ten to fifteen",
    "a 2:1 ratio": "a two to one ratio",
    "MP3 and B2B": "MP three and B two B",
    # Years and dates.
    "in 1999 and 1805": "in nineteen ninety-nine and eighteen oh five",
    "in 2004 and 2024": "in two thousand four and twenty twenty-four",
    "from 1990-1995": "from nineteen ninety to nineteen ninety-five",
    "the 1990s and the '80s": "the nineteen nineties and the eighties",
    "on 2024-03-05": "on March fifth, twenty twenty-four",
    "on 03/05/2024": "on March fifth, twenty twenty-four",
    "on 25/12/2023": "on December twenty-fifth, twenty twenty-three",
    "on 5.3.2024": "on March fifth, twenty twenty-four",
    "on 99/99/2024": "on ninety-nine slash ninety-nine slash twenty twenty-four",
    "March 5, 2024": "March fifth, twenty twenty-four",
    "5 March 2024": "the fifth of March twenty twenty-four",
    "the 5th of March": "the fifth of March",
    "Jan. 5th": "January fifth",
    "Tues. Sept. 3": "Tuesday September third",
    "2024-03-05T14:30": "March fifth, twenty twenty-four fourteen thirty",
    # Times.
    "at 9:30am": "at nine thirty a.m.",
    "at 14:05": "at fourteen oh five",
    "at 12:00": "at twelve o'clock",
    "at 7 pm": "at seven p.m.",
    "at 00:30": "at zero thirty",
    "in 1:02:03": "in one oh two and three seconds",
    # Money.
    "$9.99": "nine dollars and ninety-nine cents",
    "£3.50": "three pounds and fifty pence",
    "$0.50 or 5¢": "fifty cents or five cents",
    "$1 and €100": "one dollar and one hundred euros",
    "$1,000.01": "one thousand dollars and one cent",
    "¥500": "five hundred yen",
    "$1 million": "one million dollars",
    "$2.5bn": "two point five billion dollars",
    "20 USD": "twenty US dollars",
    # Measures.
    "50% and 3.5%": "fifty percent and three point five percent",
    "10-15%": "ten to fifteen percent",
    "5 km at 10 km/h": "five kilometers at ten kilometers per hour",
    "1 km": "one kilometer",
    "20°C or -40°F": "twenty degrees Celsius or minus forty degrees Fahrenheit",
    "16GB of RAM": "sixteen gigabytes of RAM",
    "8 lbs, 6 ft": "eight pounds, six feet",
    "5'11\" tall": "five foot eleven tall",
    # Telephones and addresses.
    "call 555-1234": "call five five five, one two three four",
    "call (555) 867-5309": "call five five five, eight six seven, five three zero nine",
    "call +44 20 7946 0958": "call plus four four, two zero, seven nine four six, zero nine five eight",
    "see https://www.example.com/a?q=1.": "see w w w dot example dot com slash a question mark q equals one.",
    "see example.org/docs": "see example dot org slash docs",
    "mail jo.doe@example.com": "mail jo dot doe at example dot com",
    "version 2.0.1": "version two point zero point one",
    # Roman numerals, where they are sure.
    "Chapter IV": "Chapter four",
    "World War II": "World War two",
    "Henry VIII and Louis XIV": "Henry the eighth and Louis the fourteenth",
    "I am MIX": "I am MIX",
    # Abbreviations and signs.
    "Dr. Smith and Mrs. Jones": "Doctor Smith and Missus Jones",
    "St. Paul lives on Main St.": "Saint Paul lives on Main Street.",
    "e.g. this, i.e. that": "for example this, that is that",
    "Bread, milk, etc.": "Bread, milk, et cetera.",
    "us vs. them": "us versus them",
    "approx. 5 min": "approximately five minutes",
    "A & B @ home": "A and B at home",
    "C++ and C#": "C plus plus and C sharp",
    "x^2 + y² = 1": "x squared plus y squared equals one",
    "*very* nice_name": "very nice name",
    "plain words, as they are: yes!": "plain words, as they are: yes!",
}


@pytest.mark.parametrize("text", READ)
def test_reads(text):
    assert english(text) == READ[text].strip()


def test_the_table_is_long_enough():
    assert len(READ) >= 60


@given(text=st.text("ab 0159.,:/-$€%°#@&'\"()+=xXIVkmnsth\n", max_size=60))
def test_no_digit_is_left(text):
    assert not any(character.isdecimal() for character in english(text))


@pytest.mark.parametrize("text", ["1", "1,", "a.", "1/", "-", "1:", "$", "1 ", "a@", "+1 ", "www.", "1.1", "a-", "III"])
def test_hard_texts_take_no_time(text):
    began = time.thread_time()
    english(text * (4000 // len(text)))
    assert time.thread_time() - began < 1.0


def test_numbers():
    assert [cardinal(number) for number in (0, 13, 40, 101, -2)] == [
        "zero",
        "thirteen",
        "forty",
        "one hundred one",
        "minus two",
    ]
    assert [ordinal(number) for number in (5, 12, 20, 31)] == ["fifth", "twelfth", "twentieth", "thirty-first"]
    assert [year(number) for number in (1066, 1900, 2000, 2100)] == [
        "ten sixty-six", "nineteen hundred", "two thousand", "twenty-one hundred",
    ]  # fmt: skip
    assert [roman(text) for text in ("XIV", "MMXXIV", "IIX", "")] == [14, 2024, 0, 0]
