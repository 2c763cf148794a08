"""Texts of users that Markdown would obey, a parser that says what it made of them, and pleasant texts."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.hostile_texts import HOSTILE

TRAP = "http://127.0.0.1:9/trap"
MUTATION = "/graphql?query=mutation{wipeAssets(assetPartitionRanges:[]){__typename}}"

MARKUP = {
    "image": f"![x]({MUTATION})",
    "image of another host": f"![x]({TRAP}.png 'title')",
    "inline link": f"[x]({TRAP}) [y](<{TRAP}>) [z](javascript:alert(1))",
    "reference link": f"[x][a] [a] ![b][a]\n\n[a]: {TRAP} 'title'\n",
    "definition alone": f"[a]: {TRAP}",
    "autolinks": f"<{TRAP}> <someone@evil.example> <mailto:x@evil.example>",
    "bare addresses": f"{TRAP} HTTPS://evil.example, (www.evil.example) www.evil.example. ftp://evil.example/x",
    "bare mail": "someone@evil.example, mailto:someone@evil.example xmpp:a@evil.example/x",
    "address behind escapes": r"https\://evil.example http&#58;//evil.example www\.evil.example www&period;x.example",
    "address between other letters": "사이트는https://evil.example입니다 看www.evil.example。مرحبا@evil.example",
    "address with what code cannot hold": f"`{TRAP}` {TRAP}|x| {TRAP}\\ `{TRAP} {TRAP}`",
    "html": f"<img src={TRAP}> <img src='{MUTATION}'> <a href={TRAP}>x</a> <iframe src={TRAP}></iframe>",
    "active html": f"<script src={TRAP}></script><svg onload=fetch('{TRAP}')><style>@import '{TRAP}'</style><!-- x -->",
    "html over lines": f"<div>\n\n<img src={TRAP}>\n\n</div>",
    "entities": "&lt;img src=x&gt; &#33;[x](y) &#x21;&#x5b;x&#x5d;(y) &amp;amp; &copy;",
    "backticks": "` `` ``` ```` `a` ``b`` ` x",
    "fence": f"```\n![x]({MUTATION})\n```",
    "longer fence": f"`````\n![x]({MUTATION})\n`````\n~~~~~\n[x]({TRAP})\n~~~~~",
    "cells": f"a | b || c \\| d \\\\| e |\n|---|\n| ![x]({MUTATION}) |",
    "backslashes": f"\\ \\\\ \\![x]({TRAP}) \\\\![x]({TRAP}) \\",
    "headings": "# a\n## b\na\n===\nb\n---\n",
    "lists": "- a\n+ b\n* c\n1. d\n2) e\n- [ ] f\n- [x] g\n> quote",
    "indented code": f"    code\n\tcode\n\n![x]({MUTATION})",
    "emphasis": "*a* **b** ***c*** _d_ __e__ ~~f~~ ~g~ $h$ $$i$$ a*b*c _x_y_",
    "footnote": f"x[^1]\n\n[^1]: ![x]({MUTATION})",
    "front matter": f"---\nlicense: mit\n---\n\n![x]({MUTATION})",
    "a picture's own reference": "](loss_curve.png) ![Loss curve](loss_curve.png)",
    "template": "{{ facts }} {% for x in y %} {# z #}",
}
ALL = {**HOSTILE, **MARKUP}

PLEASANT = (
    "How long is the warranty of the Nook?",
    "It is 2 years (24 months), from the day of purchase; see section 3.1.",
    "보증 기간은 얼마나 되나요? 소음은 19데시벨입니다.",
    "ما هي مدة الضمان؟ الضمان لمدة ٢٤ شهراً، من يوم الشراء.",
    "保修期有多长？两年。",  # noqa: RUF001
    "می‌خواهم بدانم: گارانتی چقدر است؟",
    "C'est \"bien\", n'est-ce pas ? 50 % - oui!",
    "👩‍🔬 ✔️ 🇩🇪",
    "Set PHI_HOME to /data/home and max_length=512.",
)

# What Dagster's UI (remark-gfm) makes a link of in a text, after backslashes and entities are gone.
BARE = re.compile(r"https?://[-.\w]|www\.[-.\w]|ftp://|[-.\w+]+@[-\w]+(\.[-\w]+)+", re.IGNORECASE)
HARMLESS = {"paragraph", "text", "inline", "code_inline", "softbreak"}


def parsed(markdown: str) -> list[Token]:
    """Return all tokens of CommonMark with tables, strikethrough and HTML."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    return [each for token in tokens for each in (token, *(token.children or ()))]


def kinds(markdown: str) -> set[str]:
    """Return the kinds of elements in Markdown."""
    return {re.sub("_(open|close)$", "", token.type) for token in parsed(markdown)}


def shown(markdown: str) -> str:
    """Return the text that a reader of the Markdown sees."""
    return "".join(token.content for token in parsed(markdown) if token.type in ("text", "code_inline", "fence"))


def bare_addresses(markdown: str) -> Iterator[str]:
    """Yield the texts in which Dagster's UI would find an address, or a run's log in inline code."""
    texts: list[str] = [""]
    for token in parsed(markdown):
        if token.type == "text":
            texts[-1] += token.content
        else:
            texts.append("")
    yield from (text for text in texts if BARE.search(text))
    # A run's log looks into code too.
    yield from (each.content for each in parsed(markdown) if each.type == "code_inline" and "://" in each.content)
