"""Where an answer stands as words of its own in scripts without spaces: Chinese, Japanese, Thai and their neighbours.

There is no dictionary here. A border is where the script changes or the neighbour is on a closed list of particles,
function words and the like; an unknown neighbour may be part of the same word, so it is no border.
"""

import re

from evaluation_code.negation import is_denied_inside
from evaluation_code.normalise import HAN, KANA, MARKS, THAI

_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA}]")
_HIRAGANA = re.compile("[\u3041-\u3096\u309d-\u309f]")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff]")
_THAI = re.compile(f"[{THAI}]")
_MARK = re.compile(f"[{MARKS}]")

# Japanese.
_JAPANESE_BEFORE_KANJI = frozenset("約計全毎各翌当同総合")
_JAPANESE_AFTER_KANJI = re.compile(
    "[都市県府区町村駅内間前後頃製色型産発着行中等様氏側付用](?![生])|以[内上下前後外降]|程度|[以未][上満]|工場|支店|本店|本社|営業所|倉庫|面|左右|方面|周辺"
)
_JAPANESE_PARTICLE_BEFORE = re.compile("(?:[はがをにでとのもへや]|から|まで|より|って|という|た|る|い|う|な|お)$")
_JAPANESE_PARTICLE_AFTER = re.compile(
    "[はがをにでともへやかねよ]|の|から|まで|より|です|でした|だ|なら|など|だけ|しか|って|という|くらい|ぐらい|ほど|ばかり|"
    "さん|さま|ちゃん|くん|する|します|した|して|できま|あたり|ごと|ずつ|じゃ|ま[すし]"
)

# Chinese.
_CHINESE_BEFORE = frozenset(
    "是为為在到用有约約共叫于於从從去往的和与與或及即需要选選向给給达達做成呈由被把将將对對换換按请請让讓令如像比至过過了着"
    "著放装裝含加名称稱住位买買卖賣发發寄送来來自经經近靠属屬您你我他她它这這那每各个個款台张張示使得持说說答计計长長高重宽"
    "市省县縣区區国國州则則就都也还還才会會可能内內里裡上下后後前间間时時且身体體器并並而但只仅僅满滿等色不"
)
_CHINESE_AFTER = frozenset(
    "的是在有和与與或及以内內后後前左右里裡中之了吗嗎吧呢啊哦就都也还還才会會可能将將要需已被把来來去到从從等时時期市省县縣区"
    "區总總设設制製出开開送发發进進位于於应應不没沒很更最整起止为為均所并並而但则則即每这這那您你我们們表示请請变變亮款字按"
    "版先女小附旁边邊两兩侧側方面附近系做作给給用上下吃喝说說"
)
_CHINESE_NOT_AFTER_MEASURE = frozenset("级級生半多余餘几幾代薪功轮輪花期制")
_CHINESE_COMPOUNDS = frozenset(
    "路街道站港人话話語语文菜酒茶机機车車树樹花果汁皮肉手店行队隊大学學银銀报報台岛島江河湾灣山湖海城村镇鎮乡鄉级級生率性化员員者家"
    "師师品板片粉油石族派式类類型厂廠局部院所寺庙廟桥橋门門园園岸口线線电電箱盒瓶杯包鞋衣帽牌调調素酸糖盐鹽水火木金土"
)
_CHINESE_SURNAMES = frozenset(
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何林高罗羅郑鄭梁谢謝宋唐许許邓鄧冯馮韩韓曹曾彭萧蕭蔡潘田董袁于余叶葉蒋蔣"
    "杜苏蘇魏程吕呂丁沈任姚卢盧傅钟鍾姜崔谭譚廖范汪陆陸金石戴贾賈韦韋夏邱方侯邹鄒熊孟秦白江阎薛尹段雷黎史龙龍陶贺賀顾顧毛郝龚龔邵"
)
_CHINESE_NUMERALS = frozenset("零〇一二两兩三四五六七八九十百千万萬亿億半")

# Thai: words before and after, and numerals that a numeral continues.
_THAI_BEFORE = re.compile(
    "(?:คือ|ที่|ใน|ของ|เป็น|ใช้|ประมาณ|สี|เมือง|จังหวัด|มี|ได้|ไป|ชื่อ|จาก|ถึง|และ|หรือ|กับ|ต้อง|เปลี่ยน|ให้|อยู่|ว่า|ราว|เพียง|แค่|"
    "นาน|กัน|ราคา|ภายใน|ทุก|โดย|กด|ปุ่ม|ใส่|เติม|ดื่ม|กิน|ซื้อ|ขาย|ทำ|หมุน|ถอด|ตรวจ|ด้วย|รุ่น|แบบ|เพื่อ|ตัว|คุณ|จะ|แล้ว|เวลา|วันที่|หนัก|จุ)$"
)
_THAI_AFTER = re.compile(
    "ครับ|ค่ะ|คะ|นะ|และ|หรือ|ที่|ใน|เป็น|จะ|ได้|แล้ว|เท่านั้น|ของ|กับ|คือ|มี|อยู่|ก็|เพื่อ|โดย|ให้|ต่อ|เมื่อ|ซึ่ง|จาก|ถึง|ด้วย|ทุก|ไม่|เลย|"
    "เพราะ|แต่|นี้|นั้น|เต็ม|ขึ้น|พอดี"
)
_THAI_NUMERAL = "(?:สิบ|ร้อย|พัน|หมื่น|แสน|ล้าน|หนึ่ง|สอง|สาม|สี่|ห้า|หก|เจ็ด|แปด|เก้า|ยี่)"
_THAI_ENDS_IN_NUMERAL = re.compile(f"{_THAI_NUMERAL}$")
_THAI_STARTS_WITH_NUMERAL = re.compile(_THAI_NUMERAL)
_LONG = 5
"""Characters from which a word of Thai, Lao, Burmese or Khmer is hardly part of another one by chance."""


def stands_in(token: str, word: str, *, from_start: bool, to_end: bool, after_number: bool, japanese: bool) -> bool:
    """Whether `word` stands in the run of text `token` as words of its own.

    `from_start`, `to_end`: only there, because the answer has another token before or after it. `after_number`: the
    word begins with a unit. `japanese`: the whole text has kana, so that its Han characters are kanji.
    """
    place = token.find(word)
    while place >= 0:
        before, after = token[:place], token[place + len(word) :]
        if not (from_start and before) and not (to_end and after):
            starts = not before or _is_start(before, word, japanese)
            if (
                starts
                and not is_denied_inside(before, after)
                and (not after or _is_end(word, after, after_number, japanese))
            ):
                return True
        place = token.find(word, place + 1)
    return False


def has_kana(text: str) -> bool:
    """Whether a text is Japanese, by its script."""
    return bool(_KANA.search(text))


def _is_start(before: str, word: str, japanese: bool) -> bool:
    last, first = before[-1], word[0]
    if _HAN.match(first):
        if not _HAN.match(last):
            return True
        if japanese:
            return last in _JAPANESE_BEFORE_KANJI
        if len(word) > 1 and first in _CHINESE_NUMERALS:
            return last not in _CHINESE_NUMERALS and last != "第"
        return last in _CHINESE_BEFORE
    if _KATAKANA.match(first):
        return not _KATAKANA.match(last)
    if _HIRAGANA.match(first):
        return not _HIRAGANA.match(last) or bool(_JAPANESE_PARTICLE_BEFORE.search(before))
    if _THAI_ENDS_IN_NUMERAL.search(before) and _THAI_STARTS_WITH_NUMERAL.match(word):
        return False
    return len(word) >= _LONG or bool(_THAI_BEFORE.search(before))


def _is_end(word: str, after: str, after_number: bool, japanese: bool) -> bool:
    last, first = word[-1], after[0]
    if _MARK.match(first):
        return False
    if _HAN.match(last):
        if not _HAN.match(first):
            return not _KATAKANA.match(first) and not after.startswith("ちゃん")
        if japanese:
            return bool(_JAPANESE_AFTER_KANJI.match(after))
        if after_number or (len(word) > 1 and word[0] in _CHINESE_NUMERALS):
            return first not in _CHINESE_NOT_AFTER_MEASURE and first not in _CHINESE_NUMERALS
        if first in _CHINESE_AFTER or last == "色":
            return True
        # A longer word is rarely continued by others than these; one letter may be, and a name by any.
        may_go_on = len(word) == 1 or (len(word) == 2 and word[0] in _CHINESE_SURNAMES)
        return not may_go_on and first not in _CHINESE_COMPOUNDS
    if _KATAKANA.match(last):
        if _HAN.match(first):
            return after_number or bool(_JAPANESE_AFTER_KANJI.match(after)) or bool(_HAN.match(after[1:2]))
        return not _KATAKANA.match(first)
    if _HIRAGANA.match(last):
        return bool(_HAN.match(first)) or bool(_JAPANESE_PARTICLE_AFTER.match(after))
    if _THAI.match(first) and _THAI_ENDS_IN_NUMERAL.search(word) and _THAI_STARTS_WITH_NUMERAL.match(after):
        return False
    return len(word) >= _LONG or bool(_THAI_AFTER.match(after))
