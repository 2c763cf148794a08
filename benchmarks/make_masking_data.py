# ruff: noqa: E501, RUF001
"""Makes the labelled texts of `python -m benchmarks.masking`; needs `pip install faker`, which the project does not.

python -m benchmarks.make_masking_data

The two halves have other sentences, seeds and separators. Values come from Faker, phonenumbers and the rules of the
check digits here, which were written apart from those of the product.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import phonenumbers
from faker import Faker  # pyright: ignore[reportMissingImports]

FOLDER = Path(__file__).parent / "data" / "masking"
LOCALES = {"US": "en_US", "UK": "en_GB", "DE": "de_DE", "FR": "fr_FR", "ES": "es_ES", "KR": "ko_KR", "CN": "zh_CN",
           "JP": "ja_JP", "IN": "en_IN"}  # fmt: skip
LANGUAGES = {"US": "en", "UK": "en", "DE": "de", "FR": "fr", "ES": "es", "KR": "ko", "CN": "zh", "JP": "ja", "IN": "hi"}
# What a person says around a value ({w} names it), first for the half that was read, then for the one kept apart.
SAID = {
    "en": (["My {w} is {x}.", "{w}: {x}", "Please note the {w} {x}, thanks", "You can use {x} as my {w}."],
           ["The {w} on file should be {x}!", "Update my {w} to {x} please", "Here's my {w} ({x})", "{x} is my {w}"]),
    "de": (["Meine {w} ist {x}.", "{w}: {x}", "Bitte {w} {x} eintragen"],
           ["Die {w} lautet {x}, danke.", "Hier die {w} ({x})", "Ändern Sie die {w} auf {x}"]),
    "fr": (["Mon {w} est {x}.", "{w} : {x}", "Notez le {w} {x} svp"],
           ["Voici mon {w} : {x}, merci.", "Le {w} ({x}) a changé", "Changez mon {w} en {x}"]),
    "es": (["Mi {w} es {x}.", "{w}: {x}", "Apunte el {w} {x} por favor"],
           ["Le paso mi {w}: {x}, gracias.", "El {w} ({x}) ha cambiado", "Cambie mi {w} a {x}"]),
    "ko": (["{w}는 {x}입니다.", "{w}: {x}", "제 {w}는 {x}이에요", "{w} {x}로 등록해 주세요"],
           ["{w}를 {x}로 바꿔 주세요", "제 {w}({x})를 확인해 주세요", "{w}은 {x}예요.", "{w} {x}번으로 처리했습니다"]),
    "ja": (["{w}は{x}です。", "{w}：{x}", "私の{w}は{x}になります"],
           ["{w}を{x}に変更してください", "{w}（{x}）を確認しました", "こちらが{w}です：{x}"]),
    "zh": (["我的{w}是{x}。", "{w}：{x}", "请记录{w}{x}谢谢"],
           ["请把{w}改成{x}", "{w}（{x}）已更新", "这是我的{w}:{x}请核对"]),
    "hi": (["मेरा {w} {x} है।", "{w}: {x}", "कृपया {w} {x} लिखें"],
           ["{w} बदलकर {x} कर दें", "यह {w} ({x}) है", "मेरा {w}-{x}"]),
}  # fmt: skip
WORDS = {
    "email": {"en": "email", "de": "E-Mail-Adresse", "fr": "e-mail", "es": "correo", "ko": "메일", "ja": "メール", "zh": "邮箱", "hi": "ईमेल"},
    "phone": {"en": "phone number", "de": "Telefonnummer", "fr": "numéro de téléphone", "es": "teléfono", "ko": "전화번호", "ja": "電話番号", "zh": "电话", "hi": "फ़ोन नंबर"},
    "card": {"en": "card number", "de": "Kartennummer", "fr": "numéro de carte", "es": "número de tarjeta", "ko": "카드 번호", "ja": "カード番号", "zh": "卡号", "hi": "कार्ड नंबर"},
    "iban": dict.fromkeys(("en", "de", "fr", "es", "ko", "ja", "zh", "hi"), "IBAN"),
    "ip": {"en": "IP address", "de": "IP-Adresse", "fr": "adresse IP", "es": "IP", "ko": "IP", "ja": "IPアドレス", "zh": "IP地址", "hi": "IP पता"},
    "wallet": {"en": "wallet", "de": "Wallet", "fr": "portefeuille", "es": "monedero", "ko": "지갑 주소", "ja": "ウォレット", "zh": "钱包", "hi": "वॉलेट"},
    "password": {"en": "password", "de": "Passwort", "fr": "mot de passe", "es": "contraseña", "ko": "비밀번호", "ja": "パスワード", "zh": "密码", "hi": "पासवर्ड"},
    "passport": {"en": "passport number", "de": "Reisepassnummer", "fr": "numéro de passeport", "es": "pasaporte", "ko": "여권번호", "ja": "パスポート番号", "zh": "护照号", "hi": "पासपोर्ट नंबर"},
    "account": {"en": "bank account number", "de": "Kontonummer", "fr": "numéro de compte", "es": "número de cuenta", "ko": "계좌번호", "ja": "口座番号", "zh": "银行账号", "hi": "बैंक खाता संख्या"},
}  # fmt: skip
NOT_PERSONAL = {  # {x} is no personal data here
    "en": (["Order {x} has shipped.", "The part number is {x}.", "Invoice no. {x} is due", "Tracking code: {x}"],
           ["Your order number is {x}, ok?", "Replace part {x} first", "Model {x} is sold out", "Ticket {x} was closed"]),
    "de": (["Bestellung {x} ist unterwegs.", "Die Teilenummer ist {x}.", "Rechnung {x}"],
           ["Ihre Bestellnummer lautet {x}.", "Artikel {x} fehlt", "Sendungsnummer {x}"]),
    "fr": (["Commande {x} expédiée.", "La référence de la pièce est {x}.", "Facture {x}"],
           ["Votre numéro de commande : {x}.", "Article {x} épuisé", "Colis {x}"]),
    "es": (["Pedido {x} enviado.", "La referencia de la pieza es {x}.", "Factura {x}"],
           ["Su número de pedido: {x}.", "Artículo {x} agotado", "Envío {x}"]),
    "ko": (["주문번호 {x}가 발송되었습니다.", "부품 번호는 {x}입니다.", "송장번호 {x}"],
           ["주문 {x}번입니다.", "모델 {x}는 품절입니다", "운송장 번호: {x}"]),
    "ja": (["注文番号{x}を発送しました。", "部品番号は{x}です。", "型番{x}"],
           ["ご注文{x}です。", "商品コード{x}は在庫切れ", "伝票番号：{x}"]),
    "zh": (["订单{x}已发货。", "零件号是{x}。", "型号{x}"],
           ["您的订单号：{x}。", "产品编号{x}缺货", "快递单号{x}"]),
    "hi": (["ऑर्डर {x} भेजा गया।", "पार्ट नंबर {x} है।", "बिल नंबर {x}"],
           ["आपका ऑर्डर नंबर {x} है।", "मॉडल {x} उपलब्ध नहीं", "ट्रैकिंग नंबर {x}"]),
}  # fmt: skip
PLAIN = {  # neither a word for it nor against it
    "en": "It says {x} there.", "de": "Dort steht {x}.", "fr": "Il y a écrit {x}.", "es": "Ahí pone {x}.", "ko": "거기에 {x}이라고 적혀 있어요.",
    "ja": "そこに{x}と書いてあります。", "zh": "那里写着{x}。", "hi": "वहाँ {x} लिखा है।",
}  # fmt: skip


class Maker:
    """Values of one half, from one seed."""

    def __init__(self, half: int) -> None:
        self.half, self.draw = half, random.Random(100 + half)
        self.fakers = {}
        for region, locale in LOCALES.items():
            self.fakers[region] = Faker(locale)
            self.fakers[region].seed_instance(1000 * half + len(self.fakers))

    def digits(self, count: int) -> str:
        return "".join(self.draw.choices("0123456789", k=count))

    def letters(self, count: int, of: str = "ABCDEFGHJKLMNPRSTUVWXYZ") -> str:
        return "".join(self.draw.choices(of, k=count))

    def email(self, region: str) -> str:
        name = self.fakers["US"].user_name() + self.draw.choice(["", ".kim", "_x", "+shop", "-9"])
        hosts = [
            "example.com",
            "gmail.com",
            "hanmail.net",
            "web.de",
            "orange.fr",
            "correo.es",
            "163.com",
            "docomo.ne.jp",
            "mail.co.uk",
        ]
        return f"{name}@{self.draw.choice(hosts)}"

    def phone(self, region: str) -> str:
        code = "GB" if region == "UK" else region
        while True:
            kind = self.draw.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
            example = phonenumbers.example_number_for_type(code, kind) or phonenumbers.example_number(code)
            if example is None:
                raise ValueError(f"phonenumbers has no example of {code}")
            national = str(example.national_number)
            keep = self.draw.randint(2, 4)
            drawn = int(national[:keep] + self.digits(len(national) - keep))
            number = phonenumbers.PhoneNumber(example.country_code, drawn)
            if phonenumbers.is_valid_number_for_region(number, code):
                form = self.draw.choice(
                    [phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL]
                )
                return phonenumbers.format_number(number, form)

    def card(self, region: str) -> str:
        number = self.fakers["US"].credit_card_number(self.draw.choice(["visa16", "mastercard", "amex"]))
        return grouped(number, self.draw.choice(["", " ", "-"]), 4) if len(number) == 16 else number

    def iban(self, region: str) -> str:
        made = self.fakers[self.draw.choice(["UK", "DE", "FR", "ES"])].iban()
        return grouped(made, self.draw.choice(["", " "]), 4)

    def ip(self, region: str) -> str:
        return self.fakers["US"].ipv4_public()

    def wallet(self, region: str) -> str:
        import hashlib

        body = b"\x00" + self.draw.randbytes(20)
        body += hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
        number, text = int.from_bytes(body, "big"), ""
        while number:
            number, rest = divmod(number, 58)
            text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[rest] + text
        return "1" + text

    def password(self, region: str) -> str:
        return self.fakers["US"].user_name() + self.digits(3) + self.draw.choice(["!", "#", "", "$"])

    def passport(self, region: str) -> str:
        forms = {"US": "L########", "UK": "#########", "DE": "C01X00T47", "FR": "##LL#####", "ES": "LLL######", "KR": "M########",
                 "CN": "E########", "JP": "TL#######", "IN": "L#######"}  # fmt: skip
        if region == "DE":
            return "C" + self.letters(8, "0123456789CFGHJKLMNPRTVWXYZ")[:7] + self.digits(1)
        return "".join(self.digits(1) if c == "#" else self.letters(1) if c == "L" else c for c in forms[region])

    def account(self, region: str) -> str:
        forms = {
            "KR": (3, 3, 6),
            "JP": (7,),
            "CN": (19,),
            "IN": (12,),
            "US": (10,),
            "UK": (8,),
            "DE": (10,),
            "FR": (11,),
            "ES": (10,),
        }
        return "-".join(self.digits(count) for count in forms[region]).replace("0", "1", 1)

    def ssn(self, region: str) -> str:
        return f"{self.draw.randint(100, 665)}-{self.draw.randint(10, 99)}-{self.draw.randint(1000, 9999)}"

    def itin(self, region: str) -> str:
        return f"9{self.digits(2)}-{self.draw.randint(70, 88)}-{self.draw.randint(1000, 9999)}"

    def nino(self, region: str) -> str:
        sep = self.draw.choice(["", " "])
        return sep.join([self.letters(1, "ABCEHJKLMPRSTWXYZ") + self.letters(1, "ACEHJLMPRSTWXYZ"), self.digits(2), self.digits(2),
                         self.digits(2), self.letters(1, "ABCD")])  # fmt: skip

    def nhs(self, region: str) -> str:
        while True:
            nine = self.draw.choice("46") + self.digits(8)
            check = 11 - sum(int(d) * (10 - i) for i, d in enumerate(nine)) % 11
            if check != 10:
                ten = nine + str(check % 11)
                sep = self.draw.choice([" ", "-", ""])
                return sep.join((ten[:3], ten[3:6], ten[6:]))

    def tax_id(self, region: str) -> str:
        while True:
            nine = self.draw.sample("123456789", 9)
            ten = [nine[0], *self.draw.sample([*nine[1:], self.draw.choice(nine[1:])], 9)]
            product = 10
            for digit in ten:
                total = (int(digit) + product) % 10 or 10
                product = total * 2 % 11
            return "".join(ten) + str((11 - product) % 10)

    def social(self, region: str) -> str:
        body = f"{self.digits(2)}{self.draw.randint(1, 28):02d}{self.draw.randint(1, 12):02d}{self.digits(2)}"
        letter, serial = self.letters(1), self.digits(2)
        plain = body + f"{ord(letter) - 64:02d}" + serial
        total = sum(
            sum(divmod(int(d) * w, 10)) for d, w in zip(plain, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)
        )
        return body + letter + serial + str(total % 10)

    def nir(self, region: str) -> str:
        number = f"{self.draw.choice('12')}{self.digits(2)}{self.draw.randint(1, 12):02d}{self.draw.randint(1, 95):02d}{self.digits(3)}{self.digits(3)}"
        key = f"{97 - int(number) % 97:02d}"
        parts = (number[0], number[1:3], number[3:5], number[5:7], number[7:10], number[10:], key)
        return self.draw.choice(["", " "]).join(parts)

    def nif(self, region: str) -> str:
        number = self.draw.randint(10_000_000, 99_999_999)
        return f"{number}{self.draw.choice(['', '-'])}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"

    def nie(self, region: str) -> str:
        first, number = self.draw.randint(0, 2), self.digits(7)
        return f"{'XYZ'[first]}{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(f'{first}{number}') % 23]}"

    def birth(self, year: bool = False) -> str:
        day = f"{self.draw.randint(1, 12):02d}{self.draw.randint(1, 28):02d}"
        return (str(self.draw.randint(1950, 2009)) if year else f"{self.draw.randint(50, 99)}") + day

    def rrn(self, region: str) -> str:
        twelve = self.birth() + self.draw.choice("12") + self.digits(5)
        check = (
            11 - sum(int(d) * w for d, w in zip(twelve, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=True)) % 11
        ) % 10
        return f"{twelve[:6]}-{twelve[6:]}{check}"

    def brn(self, region: str) -> str:
        nine = self.draw.choice("123456") + self.digits(8)
        total = sum(int(d) * w for d, w in zip(nine, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True)) + int(nine[8]) * 5 // 10
        ten = nine + str((10 - total % 10) % 10)
        return f"{ten[:3]}-{ten[3:5]}-{ten[5:]}"

    def license(self, region: str) -> str:
        return f"{self.draw.randint(11, 26)}-{self.digits(2)}-{self.digits(6)}-{self.digits(2)}"

    def resident(self, region: str) -> str:
        body = (
            self.draw.choice(["110101", "310104", "440305", "510104", "330106"])
            + self.birth(year=True)
            + self.digits(3)
        )
        return body + "10X98765432"[sum(int(d) * 2 ** (17 - i) for i, d in enumerate(body)) % 11]

    def my_number(self, region: str) -> str:
        eleven = self.draw.choice("123456789") + self.digits(10)
        rest = sum(int(d) * (n + 1 if n <= 6 else n - 5) for n, d in enumerate(reversed(eleven), start=1)) % 11
        twelve = eleven + str(0 if rest <= 1 else 11 - rest)
        return self.draw.choice(["", " ", "-"]).join((twelve[:4], twelve[4:8], twelve[8:]))

    def aadhaar(self, region: str) -> str:
        eleven = self.draw.choice("23456789") + self.digits(10)
        twelve = eleven + verhoeff(eleven)
        return self.draw.choice([" ", "-"]).join((twelve[:4], twelve[4:8], twelve[8:]))

    def pan(self, region: str) -> str:
        return self.letters(3) + self.draw.choice("PPPCHF") + self.letters(1) + self.digits(4) + self.letters(1)


def grouped(text: str, separator: str, size: int) -> str:
    return separator.join(text[start : start + size] for start in range(0, len(text), size))


def verhoeff(number: str) -> str:
    """Verhoeff's check digit, by the dihedral group's composition."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    def turned(place: int, digit: int) -> int:
        for _ in range(place % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        return digit

    check = 0
    for place, digit in enumerate(reversed(number), start=1):
        check = times(check, turned(place, int(digit)))
    return str((0, 4, 3, 2, 1, 5, 6, 7, 8, 9)[check])


KINDS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {  # entity: maker, regions, its name by language
    "EMAIL_ADDRESS": ("email", tuple(LOCALES), WORDS["email"]),
    "PHONE_NUMBER": ("phone", tuple(LOCALES), WORDS["phone"]),
    "CREDIT_CARD": ("card", tuple(LOCALES), WORDS["card"]),
    "IBAN_CODE": ("iban", tuple(LOCALES), WORDS["iban"]),
    "IP_ADDRESS": ("ip", tuple(LOCALES), WORDS["ip"]),
    "CRYPTO": ("wallet", tuple(LOCALES), WORDS["wallet"]),
    "PASSWORD": ("password", tuple(LOCALES), WORDS["password"]),
    "PASSPORT": ("passport", tuple(LOCALES), WORDS["passport"]),
    "BANK_ACCOUNT": ("account", tuple(LOCALES), WORDS["account"]),
    "US_SSN": ("ssn", ("US",), {"en": "SSN"}),
    "US_ITIN": ("itin", ("US",), {"en": "ITIN"}),
    "UK_NINO": ("nino", ("UK",), {"en": "National Insurance number"}),
    "UK_NHS": ("nhs", ("UK",), {"en": "NHS number"}),
    "DE_TAX_ID": ("tax_id", ("DE",), {"de": "Steuer-ID"}),
    "DE_SOCIAL_SECURITY": ("social", ("DE",), {"de": "Rentenversicherungsnummer"}),
    "FR_NIR": ("nir", ("FR",), {"fr": "numéro de sécurité sociale"}),
    "ES_NIF": ("nif", ("ES",), {"es": "DNI"}),
    "ES_NIE": ("nie", ("ES",), {"es": "NIE"}),
    "KR_RRN": ("rrn", ("KR",), {"ko": "주민등록번호"}),
    "KR_BRN": ("brn", ("KR",), {"ko": "사업자등록번호"}),
    "KR_DRIVER_LICENSE": ("license", ("KR",), {"ko": "운전면허번호"}),
    "CN_RESIDENT_ID": ("resident", ("CN",), {"zh": "身份证号"}),
    "JP_MY_NUMBER": ("my_number", ("JP",), {"ja": "マイナンバー"}),
    "IN_AADHAAR": ("aadhaar", ("IN",), {"hi": "आधार नंबर"}),
    "IN_PAN": ("pan", ("IN",), {"hi": "पैन"}),
}  # fmt: skip
NO_PASSWORDS = {
    "en": "The password must have {x} characters.", "de": "Das Passwort braucht {x} Zeichen.", "fr": "Le mot de passe compte {x} signes.",
    "es": "La contraseña tiene {x} letras.", "ko": "비밀번호는 {x}자 이상입니다.", "ja": "パスワードは{x}文字以上です。", "zh": "密码是{x}位以上的。",
    "hi": "पासवर्ड {x} अक्षर का हो।",
}  # fmt: skip


def confusable(maker: Maker, kind: str, value: str, number: int, region: str) -> str:
    """A text with no personal data that looks like one of this kind: an order, a part, a date, a wrong check digit."""
    language, draw = LANGUAGES[region], maker.draw
    sentence = draw.choice(NOT_PERSONAL[language][maker.half])
    if kind == "PASSWORD":
        return (
            NO_PASSWORDS[language].format(x=draw.randint(8, 20))
            if number % 2
            else sentence.format(x=maker.password(region))
        )
    if kind == "EMAIL_ADDRESS":
        code = draw.choice(
            [
                "@app.route",
                "a @ b",
                f"@{maker.fakers['US'].user_name()}",
                f"pkg@{draw.randint(1, 9)}.{draw.randint(0, 20)}.0",
            ]
        )
        return PLAIN[language].format(x=code)
    if kind == "IP_ADDRESS":
        private = draw.choice(
            [f"192.168.{draw.randint(0, 9)}.{draw.randint(1, 250)}", f"10.0.{draw.randint(0, 9)}.7", "127.0.0.1"]
        )
        version = f"v{draw.randint(1, 9)}.{draw.randint(0, 9)}.{draw.randint(0, 9)}.{draw.randint(0, 9)}"
        return PLAIN[language].format(x=private if number % 2 else version)
    choice = number % 4
    if choice == 0 and kind in WITH_CHECK:
        return PLAIN[language].format(x=wrong_check(maker, value))
    if choice == 1:
        return PLAIN[language].format(x=draw.choice([f"2024-{draw.randint(10, 12)}-{draw.randint(10, 28)}", f"{draw.randint(1, 28)}.03.2023 10:30",
                                                     f"{draw.randint(1, 999)},{maker.digits(3)},{maker.digits(3)}"]))  # fmt: skip
    if choice == 2 and kind not in {"IBAN_CODE", "CRYPTO", "KR_RRN", "CN_RESIDENT_ID"}:
        return sentence.format(x=value.replace("+", ""))
    return sentence.format(x=maker.letters(2) + "-" + maker.digits(draw.randint(5, 12)))


# A wrong NHS number in groups of 3, 3 and 4 digits is a right phone number of America, so it isn't here.
WITH_CHECK = {"CREDIT_CARD", "IBAN_CODE", "CRYPTO", "DE_TAX_ID", "DE_SOCIAL_SECURITY", "FR_NIR", "ES_NIF", "ES_NIE",
              "CN_RESIDENT_ID", "JP_MY_NUMBER", "IN_AADHAAR", "KR_BRN"}  # fmt: skip


def wrong_check(maker: Maker, value: str) -> str:
    """The value with one digit raised by one, which every check digit notices."""
    places = [place for place, letter in enumerate(value) if letter.isdigit() and place > 0 and letter != "9"]
    place = maker.draw.choice(places)
    return value[:place] + str(int(value[place]) + 1) + value[place + 1 :]


def main() -> None:
    """Write both halves."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for half, name in enumerate(("read", "kept_apart")):
        maker, rows = Maker(half), []
        for kind, (how, regions, words) in KINDS.items():
            make: Callable[[str], str] = getattr(maker, how)
            for number in range(72 if len(regions) > 1 else 40):
                region = regions[number % len(regions)]
                language = LANGUAGES[region]
                said = maker.draw.choice(SAID[language][half])
                value = make(region)
                about = {"kind": kind, "language": language, "region": region}
                rows.append({**about, "value": value, "text": said.format(w=words[language], x=value)})
                rows.append(
                    {
                        **about,
                        "value": None,
                        "text": confusable(maker, kind, make(region), number // len(regions), region),
                    }
                )
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (FOLDER / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
