# ruff: noqa: E501
import random

import numpy as np
import pytest

from phi_assets.conversations.drift import drift
from phi_assets.conversations.near_duplicates import NearDuplicates, jaccard, shingles
from phi_assets.conversations.rows import Conversation, Message
from phi_assets.conversations.words import features
from phi_assets.lineage.nearest import nearest

SAID = {
    "zh": ("请问怎样更换净水器的滤网和密封圈", "请问怎样更换净水器的滤网和密封环", "店里星期天几点钟开门营业"),
    "ja": ("浄水器のフィルターはどのように交換しますか", "浄水器のフィルターはどのように交換しますの", "日曜日は何時に開店しますか"),
    "ko": ("정수기 필터는 어떻게 교체하면 되나요", "정수기 필터를 어떻게 교체하면 되나요", "일요일에는 몇 시에 문을 엽니까"),
    "th": ("ต้องเปลี่ยนไส้กรองเครื่องกรองน้ำอย่างไรครับ", "ต้องเปลี่ยนไส้กรองเครื่องกรองน้ำอย่างไรคะ", "ร้านเปิดวันอาทิตย์กี่โมง"),
    "hi": ("पानी के फ़िल्टर को कैसे और कब बदलना चाहिए जी", "पानी के फ़िल्टर को कैसे और कब बदलना चाहिए", "रविवार को दुकान कितने बजे खुलती है"),
    "ar": ("كيف أغير فلتر جهاز تنقية المياه في البيت الآن", "كيف أغير فلتر جهاز تنقية المياه في البيت", "متى يفتح المتجر يوم الأحد"),
}  # fmt: skip


def asked(text: str) -> Conversation:
    return (Message("user", text),)


def test_characters_stand_for_words_where_there_are_no_spaces_and_in_pairs_too():
    assert features("滤网 Filter 3", punctuation=False) == ["滤", "网", "滤网", "filter", "3"]
    assert features("ไส้กรอง", punctuation=False)[:3] == ["ไ", "ส้", "ไส้"]
    assert features("A, b!", punctuation=True) == ["a", ",", "b", "!"]


def test_combining_marks_are_part_of_a_word():
    assert features("दिल्ली", punctuation=False) == ["दिल्ली"]
    assert features("cafe\u0301", punctuation=False) == features("caf\u00e9", punctuation=False) == ["café"]
    assert not np.array_equal(shingles(asked("दिल"), 3), shingles(asked("दिल्ली"), 3))


@pytest.mark.parametrize("language", SAID)
def test_near_duplicates_are_found_in_every_script(language: str):
    one, near, far = (shingles(asked(text), 3) for text in SAID[language])
    assert jaccard(one, near) > 0.6 > 0.1 > jaccard(one, far)
    rows = [asked(text) for text in (SAID[language][0], SAID[language][2], SAID[language][1])]
    assert [*NearDuplicates(rows, 0.6, 3).components()] == [[0, 2], [1]]


@pytest.mark.parametrize("language", SAID)
def test_the_nearest_conversation_is_found_in_every_script(language: str):
    rows = [
        {"id": name, "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "1"}]}
        for name, said in (("far", SAID[language][2]), ("near", SAID[language][0]))
    ]
    assert nearest(rows, SAID[language][1], "")[0].id == "near"


@pytest.mark.parametrize("language", SAID)
def test_drift_to_another_subject_shows_in_every_script(language: str):
    draw = random.Random(0)

    def about(which: int, count: int) -> list[str]:
        text = SAID[language][which]
        places = [draw.randrange(len(text) - 4) for _ in range(count)]
        return [text[:place] + str(draw.randrange(100)) + text[place + 3 :] for place in places]

    assert drift(about(0, 60), about(2, 20)).distance > 0.9
    assert drift(about(0, 60), about(0, 20)).distance < 0.5
