"""The words that say what a number is, in the languages of the regions: "phone", "주민등록번호", "order"."""

from __future__ import annotations

import re
from typing import NamedTuple

REACH = 40
"""Characters before a number in which a word such as "phone" refers to it."""
_REACH_AFTER = 16
_REACH_OF_OTHERS = 12


class Words(NamedTuple):
    """Patterns that match up to a number and from its end."""

    before: re.Pattern[str]
    after: re.Pattern[str]


def _words(latin: str, other: str = r"(?!)") -> Words:
    """Latin words stand alone; the others have no borders, because particles and other words are attached to them."""
    either = rf"(?:(?<![a-zà-ÿ])(?:{latin})(?![a-zà-ÿ])|{other})"
    return Words(
        re.compile(rf"{either}(?=[^\d\n]*$)", re.IGNORECASE),
        re.compile(
            rf"\W{{0,3}}(?:is|as|was|ist|est|es)\s[^\d\n]{{0,{_REACH_AFTER}}}?(?<![a-zà-ÿ])(?:{latin})(?![a-zà-ÿ])|"
            rf"[^\d\n]{{0,{_REACH_AFTER}}}?(?:{other})",
            re.IGNORECASE,
        ),
    )


def position(words: Words, folded: str, start: int) -> int:
    """Where the last of the words before `start` ends, with no digit between; -1 when there is none in reach."""
    found = -1
    for match in words.before.finditer(folded[max(0, start - REACH) : start]):
        found = max(0, start - REACH) + match.end()
    return found


def is_other(folded: str, start: int, own: int) -> bool:
    """Whether a word such as "order" says that the number is no personal data: close to it, and after the own word."""
    found = position(NOT_PERSONAL, folded, start)
    return found > own and start - found <= _REACH_OF_OTHERS


PHONE = _words(
    r"phone|telephone|tel|mobile|cell|cellphone|fax|whatsapp|call|ring|dial|text|sms|"
    r"telefon\w*|handy\w*|rufnummer|mobil\w*|anrufen|t[ée]l[ée]phone|portable|appele[rz]|tel[ée]fono|m[óo]vil|celular|"
    r"ll[aá]m\w+",
    "전화|연락처|휴대폰|핸드폰|팩스|문자|번으로 연락|電話|携帯|ファックス|手机|手機|电话|聯絡|联系|致电|拨打|传真|"
    "फ[\u093c]?ोन|मोबाइल|कॉल|संपर्क|व्हाट्स",
)
PASSPORT = _words(
    r"passport(?: (?:number|no|nr))?|reisepass\w*|passnummer|pass-?nr|passeport|pasaporte",
    "여권|パスポート|旅券|护照|護照|पासपोर्ट",
)
ACCOUNT = _words(
    r"(?:bank )?account (?:number|no|nr)|bank account|checking account|savings account|acct|a/c|kontonummer|konto-?nr|"
    r"num[ée]ro de compte|compte bancaire|n[úu]mero de cuenta|cuenta bancaria",
    "계좌|口座|银行账号|银行账户|银行帐号|银行卡号|銀行帳號|账号|खाता",
)
CARD = _words(
    r"(?:credit |debit )?card(?: (?:number|no))?|kartennummer|kreditkarte\w*|num[ée]ro de carte|carte bancaire|"
    r"n[úu]mero de tarjeta|tarjeta",
    "카드|カード|卡号|信用卡|कार्ड",
)
SSN = _words(r"social security(?: (?:number|no))?|ssn")
ITIN = _words(r"itin|taxpayer(?: identification)?(?: number)?|tax id")
NINO = _words(r"national insurance(?: (?:number|no))?|ni (?:number|no)|nino")
NHS = _words(r"nhs(?: (?:number|no))?")
TAX_ID = _words(r"steuer-?id\w*|steuer-?identifikation\w*|steueridentifikationsnummer|idnr|steuernummer")
PENSION = _words(r"\w*versicherungsnummer|sv-?nummer|rvnr|svnr")
NIR = _words(r"s[ée]curit[ée] sociale|num[ée]ro de s[ée]cu|s[ée]cu|nir|carte vitale|insee")
DNI = _words(r"dni|nif|documento nacional(?: de identidad)?")
NIE = _words(r"nie|identidad de extranjero|extranjer[oa]")
RRN = _words("rrn", "주민등록|주민번호|외국인등록|외국인번호")
BRN = _words("brn|business (?:registration )?number", "사업자")
LICENSE = _words("driver'?s licen[cs]e", "면허")
RESIDENT = _words("resident id", "身份证|身份證|公民身份|证件号")
MY_NUMBER = _words("my ?number", "マイナンバー|個人番号")
AADHAAR = _words("aadhaar|aadhar|uidai", "आधार")
PAN = _words(r"pan|permanent account number", "पैन")
NOT_PERSONAL = _words(
    r"(?<!in )order(?: (?:number|no))?|part(?: (?:number|no))?|item|invoice|sku|model|serial|ticket|case|tracking|isbn|"
    r"ean|article|product|version|batch|lot|bestell\w*|teile?nummer|teil|artikel\w*|rechnung\w*|sendung\w*|auftrag\w*|modell|"
    r"commande|pi[èe]ce|facture|colis|mod[èe]le|produit|pedido|pieza|factura|art[íi]culo|env[íi]o|modelo|producto",
    "주문|부품|송장|모델|제품|일련|상품|품번|注文|部品|型番|商品|伝票|製造番号|製品|订单|訂單|零件|型号|型號|快递|运单|发票|产品|產品|"
    "ऑर्डर|पार्ट|बिल नं|मॉडल|ट्रैकिंग|उत्पाद",
)
VERSIONS = re.compile(
    r"(?<![a-z])(?:v|ver|version|release|build|firmware|section|chapter|oid|assembly)[\s:#.=-]*$|[<>=~^!]\s*$|"
    r"(?:버전|バージョン|版本|संस्करण)\D{0,6}$",
    re.IGNORECASE,
)
