"""Questions and answers of the chat page's tests and pictures."""

EXAMPLES = [
    "How do I reset my password?",
    "Which plan includes single sign-on?",
    "Can I get a refund after 14 days?",
]

RESET = """To reset your password:

1. Open **Settings** and choose *Security*.
2. Select **Reset password**. We send a link to your e-mail address.
3. Open the link within 30 minutes and choose a new password.

If you use single sign-on, your administrator resets it for you."""

PLANS = """Single sign-on is part of **Business** and **Enterprise**.

| Plan | Single sign-on | Users | Support |
|:--|:--|--:|:--|
| Team | no | 10 | e-mail |
| Business | SAML | 100 | e-mail, chat |
| Enterprise | SAML, OpenID Connect | unlimited | telephone |

You can change the plan at any time; the difference is charged for the rest of the month."""

REFUND = """Yes. A yearly plan can be refunded within **30 days**, a monthly plan within **14 days**.

Write to billing with the number of the invoice:

```json
{
  "invoice": "2026-1142",
  "reason": "no longer needed"
}
```

The terms are at https://example.com/terms."""

LONG = "\n\n".join(
    f"Paragraph {number}. " + "The quick brown fox jumps over the lazy dog. " * 6 for number in range(1, 40)
)

KOREAN_QUESTION = "비밀번호를 잊어버렸어요. 어떻게 재설정하나요?"
KOREAN = """비밀번호는 다음과 같이 재설정할 수 있습니다.

1. **설정**을 열고 *보안*을 선택하세요.
2. **비밀번호 재설정**을 누르면 이메일로 링크를 보내 드립니다.
3. 30분 안에 링크를 열어 새 비밀번호를 입력하세요.

통합 로그인(SSO)을 사용하신다면 관리자에게 문의해 주세요."""

ARABIC_QUESTION = "كيف أعيد تعيين كلمة المرور؟"
ARABIC = "افتح **الإعدادات** ثم اختر *الأمان*، واضغط على إعادة تعيين كلمة المرور."

HOSTILE = """<script>window.hacked = 1</script>

<img src="/trap/html-image" onerror="window.hacked = 2">

![picture](/trap/markdown-image) and ![far](https://evil.example/far.png)

[click](javascript:window.hacked=3) and [data](data:text/html,<script>window.hacked=4</script>)

[the bank](https://evil.example/login) and [relative](/trap/relative)

<iframe src="/trap/frame"></iframe> <svg onload="window.hacked=5"></svg>

https://example.com/\u202egpj.exe

| a | b |
|---|---|
| <b onmouseover="window.hacked=6">x</b> | ![t](/trap/table-image) |

```html
<script src="/trap/code"></script>
```
"""

ANSWERS = {
    EXAMPLES[0]: RESET,
    EXAMPLES[1]: PLANS,
    EXAMPLES[2]: REFUND,
    KOREAN_QUESTION: KOREAN,
    ARABIC_QUESTION: ARABIC,
    "hostile": HOSTILE,
    "long": LONG,
}
BASE = """I can only give general advice: most products have a link named “Forgot password?” on the page where you
sign in. If there is none, ask the people who run the service."""

CONVERSATIONS: list[tuple[str, list[tuple[str, str]], float]] = [
    ("Which plan includes single sign-on?", [(EXAMPLES[1], PLANS), (EXAMPLES[2], REFUND)], 0.01),
    (EXAMPLES[0], [(EXAMPLES[0], RESET)], 0.02),
    (KOREAN_QUESTION, [(KOREAN_QUESTION, KOREAN)], 1.1),
    ("Export all projects as a spreadsheet", [("Can I export all projects?", "Yes, as CSV.")], 3),
    (ARABIC_QUESTION, [(ARABIC_QUESTION, ARABIC)], 4),
    ("Two-factor sign-in without a telephone", [("Is there another way?", "Use a security key.")], 20),
]

RIGHT_TO_LEFT = {
    "list.new": "محادثة جديدة",
    "composer.placeholder": "اكتب سؤالك…",
    "empty.title": "بماذا يمكنني مساعدتك؟",
}


def answer_to(question: str, model: str) -> str:
    """Return the answer of this model to the question."""
    if model == "base":
        return BASE
    return ANSWERS.get(question, f"You asked: {question}")
