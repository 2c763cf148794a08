# ruff: noqa: RUF001
"""When a reply is right in other languages and scripts than English: endings, particles, borders, numbers."""

import pytest

from benchmarks import matching as benchmark
from evaluation_code.languages import language_of
from evaluation_code.matching import holds
from evaluation_code.normalise import normalise, normalise_answer

RIGHT = [
    ("배송은 이틀이면 됩니다.", "이틀"),
    ("청록색은 없고 안개 회색만 있어요.", "안개회색"),
    ("19데시벨정도예요", "19 데시벨"),
    ("Wi-Fi를 켜세요.", "Wi-Fi"),
    ("노트북에서도 됩니다.", "노트북"),
    ("午後3時に閉まります。", "3時"),
    ("ノートパソコンをお使いください。", "ノートパソコン"),
    ("总部位于广州天河区。", "广州"),
    ("保修十二个月。", "十二个月"),
    ("İzmir'deki depodan.", "İzmir"),
    ("IŞIK kırmızıdır.", "kırmızı"),
    ("Fiyatı 1.250 liradır ve sabittir.", "1250"),
    ("Valo muuttuu punaiseksi.", "punainen"),
    ("Avain on kirjassa.", "kirja"),
    ("Almát tegyen bele.", "alma"),
    ("A gombbal kapcsolja be.", "gomb"),
    ("Загорится красная лампа.", "красный"),
    ("Это длится два дня.", "два день"),
    ("Мы в Санкт-Петербурге.", "Санкт-Петербург"),
    ("اضغط على الزر الأحمر.", "زر"),
    ("مُحَمَّد", "محمد"),
    ("१४ दिन", "14 दिन"),
    ("ไฟสีแดงครับ", "สีแดง"),
    ("l'atelier d'Orléans", "Orléans"),
    ("Es kostet 1.250 Euro und ist neu.", "1250"),
    ("Il coûte 1 250 euros.", "1250"),
    ("a 14-day trial of the lamp", "14 days"),
    ("It weighs 6.4kg.", "6.4 kg"),
]
WRONG = [
    ("190데시벨입니다", "19데시벨"),
    ("서울대입니다", "서울"),
    ("나라가 큽니다", "나"),
    ("사과나무 아래", "사과"),
    ("국은 뜨겁습니다", "국가"),
    ("부산이 아니라 서울입니다", "부산"),
    ("1만 3천원입니다", "3천원"),
    ("오후 3시 30분에", "오후 3시"),
    ("本社は東京都です", "京都"),
    ("大阪ではなく東京です", "大阪"),
    ("パンダです", "パン"),
    ("指示灯是深蓝色", "蓝色"),
    ("不是上海", "上海"),
    ("设计师是李明华", "李明"),
    ("二十三天", "三天"),
    ("Ankaragücü için", "Ankara"),
    ("on üç gün için", "üç"),
    ("Taloudellinen hyöty on suuri.", "talo"),
    ("A napernyő a kertben van.", "nap"),
    ("Книжный магазин", "книга"),
    ("двадцать три года", "три года"),
    ("هذه فكرة", "كرة"),
    ("السماء", "ماء"),
    ("दिल्ली में", "दिल"),
    ("मेरा काम", "कम"),
    ("มันคือกาแฟ", "กา"),
    ("นี่คือม้า", "มา"),
    ("สิบสองปี", "สองปี"),
    ("Il coûte 1 250 euros.", "250 euros"),
    ("It goes 5 km/h.", "5 km"),
    ("thirty three of them", "three"),
    ("12 million people", "12"),
    ("It is not 14 days.", "14 days"),
    ("2 hours 30 minutes", "30 minutes"),
    ("the dollar", "doll"),
    ("a carton of milk", "cart"),
]


@pytest.mark.parametrize(("reply", "answer"), RIGHT)
def test_a_reply_holds_an_answer_with_the_endings_of_its_language(reply: str, answer: str):
    assert holds(normalise(reply), normalise_answer(answer))


@pytest.mark.parametrize(("reply", "answer"), WRONG)
def test_a_reply_does_not_hold_an_answer_that_only_begins_or_ends_alike(reply: str, answer: str):
    assert not holds(normalise(reply), normalise_answer(answer))


@pytest.mark.parametrize("half", benchmark.HALVES)
def test_the_matching_agrees_with_a_person_on_the_labelled_pairs(half: str):
    pairs = benchmark.judged_pairs(half)
    found = benchmark.score(pairs)
    assert found.pairs == 260
    assert found.agreement >= 0.97
    assert found.wrong_accept_share <= 0.02
    for language in {pair.language for pair in pairs}:
        assert benchmark.score([pair for pair in pairs if pair.language == language]).agreement >= 0.9, language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("It is on the left side of the box.", "en"),
        ("Das Gerät ist links und hat eine Lampe.", "de"),
        ("Varasto on Oulussa.", "fi"),
        ("A garancia három évig tart.", "hu"),
        ("Siparişiniz için teşekkürler.", "tr"),
        ("Заказ отправлен.", "cyrillic"),
        ("14", ""),
    ],
)
def test_a_text_shows_its_language_by_common_words(text: str, language: str):
    assert language_of(text.casefold()) == language
