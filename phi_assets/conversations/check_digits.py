"""Check digits of numbers for which Presidio has no recogniser of its own."""

from __future__ import annotations

from datetime import date


def is_french_nir(text: str) -> bool:
    """Thirteen digits and a key of 97 less their remainder; 2A and 2B of Corsica count as 19 and 18 (INSEE)."""
    plain = text.replace(" ", "").upper().replace("2A", "19").replace("2B", "18")
    return plain.isdigit() and len(plain) == 15 and 97 - int(plain[:13]) % 97 == int(plain[13:])


def is_chinese_resident_id(text: str) -> bool:
    """Region, date of birth, serial number, and a check digit by ISO 7064 MOD 11-2 (GB 11643-1999)."""
    if len(text) != 18 or not text[:17].isdigit():
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()


def is_japanese_my_number(text: str) -> bool:
    """Twelve digits, the last a check digit by weights 2 to 7 (ordinance 85 of 2014, article 5)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    if len(digits) != 12:
        return False
    rest = sum(digit * (n + 1 if n <= 6 else n - 5) for n, digit in enumerate(reversed(digits[:11]), start=1)) % 11
    return digits[11] == (0 if rest <= 1 else 11 - rest)
