# ruff: noqa: RUF001
"""Personal data in the languages and number forms of the regions, and what looks like it and is none."""

import pytest

from benchmarks import masking as benchmark
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.personal_data import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("휴대폰은 010-2345-6789예요", "휴대폰은 <PHONE_NUMBER>예요"),
        ("전화번호 02-345-6789로 주세요", "전화번호 <PHONE_NUMBER>로 주세요"),
        ("주민등록번호는 900101-1234568입니다", "주민등록번호는 <KR_RRN>입니다"),
        ("메일은mina.kim@hanmail.net이에요", "메일은<EMAIL_ADDRESS>이에요"),
        ("카드는 4111-1111-1111-1111이에요", "카드는 <CREDIT_CARD>이에요"),
        ("비밀번호는 hunter2345! 입니다", "비밀번호는 <PASSWORD> 입니다"),
        ("여권번호 M12345678입니다", "여권번호 <PASSPORT>입니다"),
        ("사업자등록번호 123-45-67890", "사업자등록번호 <KR_BRN>"),
        ("계좌번호는 110-234-567890 (신한)", "계좌번호는 <BANK_ACCOUNT> (신한)"),
        ("IP는 8.8.8.8이에요", "IP는 <IP_ADDRESS>이에요"),
        ("我的手机13812345678，谢谢", "我的手机<PHONE_NUMBER>，谢谢"),
        ("身份证号11010519491231002X", "身份证号<CN_RESIDENT_ID>"),
        ("お電話は03-1234-5678まで", "お電話は<PHONE_NUMBER>まで"),
        ("マイナンバーは1234 5678 9018です", "マイナンバーは<JP_MY_NUMBER>です"),
        ("आधार 2341 2341 2346 है", "आधार <IN_AADHAAR> है"),
        ("电话：\uff10\uff11\uff10\uff0d\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "电话：<PHONE_NUMBER>"),
        ("Appelez le 06 12 34 56 78", "Appelez le <PHONE_NUMBER>"),
        ("Mein Passwort ist Sommer2024!", "Mein Passwort ist <PASSWORD>"),
        ("MI DNI ES 12345678Z", "MI DNI ES <ES_NIF>"),
        ("My NHS number is 943 476 5919", "My NHS number is <UK_NHS>"),
        ("use summer2024! as my password", "use <PASSWORD> as my password"),
        ("in case of an emergency: 212-555-2368", "in case of an emergency: <PHONE_NUMBER>"),
        ("My order is late, my card is 4111 1111 1111 1111", "My order is late, my card is <CREDIT_CARD>"),
    ],
)
def test_personal_data_is_masked_beside_letters_of_any_script(text: str, masked: str):
    assert mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "주문번호 2024-1234-5678, 2024년 3월 5일 10시 30분, 1,234,567원",
        "订单13812345678已发货", "注文番号03-1234-5678を発送しました",
        "身份证 那里写着110105194912310021。"[5:], "Commande 06 12 34 56 78 expédiée",
        "비밀번호는 8자 이상이어야 하고 sha256으로 저장합니다", "Das Passwort braucht 12 Zeichen",
        "part 123456789 and 123-456-78", "IP 주소는 192.168.0.1, 버전 8.8.4.4",
    ],
)  # fmt: skip
def test_orders_parts_dates_and_wrong_check_digits_are_left_alone(text: str):
    assert mask(text).text == text


def test_only_the_kinds_of_the_regions_set_are_found():
    text = "NINO AB123456C, 주민등록번호 900101-1234568, a@example.com"
    assert mask(text, ("KR",)).text == "NINO AB123456C, 주민등록번호 <KR_RRN>, <EMAIL_ADDRESS>"
    assert mask(text, ("UK",)).text == "NINO <UK_NINO>, 주민등록번호 900101-1234568, <EMAIL_ADDRESS>"
    with pytest.raises(ValueError, match="regions has XX; choose of US, UK"):
        CleaningOptions(regions=("XX",))


@pytest.mark.parametrize("half", benchmark.HALVES)
def test_recall_and_precision_hold_on_the_labelled_texts(half: str):
    texts = benchmark.masked_texts(half)
    both = benchmark.score(texts)
    assert min(both.recall, both.precision) >= 0.95
    for kind in {text.kind for text in texts}:
        some = [text for text in texts if text.kind == kind]
        found = benchmark.score(some)
        assert found.values >= 40
        assert len(some) == 2 * found.values
        assert min(found.recall, found.precision) >= 0.9, (kind, found)
