import subprocess
import sys
from collections.abc import Callable

import pytest

from phi_assets.conversations.personal_data import mask
from phi_assets.conversations.prepare import Prepared
from tests.support.conversations import dialogue, distinct, published

KEY = "Zm9v" * 21 + "Zg=="
"""86 characters and two equals signs, as an Azure storage key has."""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+x@mail.example.com.", "Write to <EMAIL_ADDRESS>."),
        ("Pay to DE89 3704 0044 0532 0130 00 today", "Pay to <IBAN_CODE> today"),
        ("card 4111 1111 1111 1111, thanks", "card <CREDIT_CARD>, thanks"),
        ("card 5555555555554444.", "card <CREDIT_CARD>."),
        ("from 8.8.8.8:53", "from <IP_ADDRESS>:53"),
        ("from 2001:4860:4860::8888", "from <IP_ADDRESS>"),
        ("send to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "send to <CRYPTO>"),
        ("SSN 219-09-9999", "SSN <US_SSN>"),
        ("my social security number is 219 09 9999", "my social security number is <US_SSN>"),
        ("Reach me at +44 20 7946 0958.", "Reach me at <PHONE_NUMBER>."),
        ("(212) 555-2368 works", "<PHONE_NUMBER> works"),
        ("Phone: 212.555.2368", "Phone: <PHONE_NUMBER>"),
        ("call 030 901820 now", "call <PHONE_NUMBER> now"),
    ],
)
def test_personal_data_is_masked_by_its_kind(text: str, masked: str):
    assert mask(text).text == masked
    assert mask(text).secrets == ()
    assert len(mask(text).personal) == 1


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("key AKIAIOSFODNN7EXAMPLE!", "key <AWS_ACCESS_KEY>!"),
        ("aws_secret_access_key = " + "aB3/" * 10, "aws_secret_access_key = <AWS_SECRET_KEY>"),
        ("ghp_" + "a1B2" * 9, "<GITHUB_TOKEN>"),
        ("github_pat_" + "11AAA_" * 5, "<GITHUB_TOKEN>"),
        ("token eyJhbGciOiJI.eyJzdWIiOiIx.dozjgNryP4J3", "token <JSON_WEB_TOKEN>"),
        (f"AccountName=x;AccountKey={KEY};Suffix=y", "AccountName=x;AccountKey=<AZURE_STORAGE_KEY>;Suffix=y"),
        (f"the key is {KEY}", "the key is <AZURE_STORAGE_KEY>"),
        ("https://x.example/c?sv=1&sig=" + "aB3%2F" * 7, "https://x.example/c?sv=1&sig=<AZURE_SAS_SIGNATURE>"),
        ("use sk-proj-" + "a1B2" * 6, "use <API_KEY>"),
        ("use sk_live_" + "a1B2" * 5, "use <API_KEY>"),
        ("hf_" + "aBcD" * 8, "<API_KEY>"),
        ("xoxb-123456789012-abcdef", "<SLACK_TOKEN>"),
        ("Authorization: Bearer a1b2c3d4e5f6g7h8i9j0k1", "Authorization: Bearer <BEARER_TOKEN>"),
        ("postgres://app:pa55w0rd@db/x", "postgres://app:<PASSWORD>@db/x"),
        ("password=hunter22", "password=<PASSWORD>"),
        ('{"db_password": "S3cr3t!!"}', '{"db_password": "<PASSWORD>"}'),
        ("My password is Tr0ub4dor and", "My password is <PASSWORD> and"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb", "a\n<PRIVATE_KEY>\nb"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl and cut off", "<PRIVATE_KEY>"),
    ],
)  # fmt: skip
def test_secrets_are_masked_by_their_form(text: str, masked: str):
    assert mask(text).text == masked
    assert len(mask(text).secrets) == 1


@pytest.mark.parametrize(
    "text",
    [
        "In 1984 there were 1,234,567 people, 12345678 in all, or 9876543210.",
        "Order 4155550132, part 1234-5678, code 0x80070057, room 4021, PIN 0042.",
        "v2.1.3 and version 2.1.3.4 and firmware 10.2.3.4 and 1.2.3, lz4>=1.7.4.2, multicast 224.0.0.1",
        "pi is 3.14159265358979, e is 2.718281828459045",
        "2024-01-15, 2024-01-15T10:00:00Z, 12:30:45, 2023-2024, 15.01.2024, 01/02/2024",
        "epoch 1699999999 or 1699999999999, ISBN 978-3-16-148410-0, doi 10.1038/s41586-021-03819-2",
        "http://127.0.0.1:8000, 192.168.1.1, 10.0.0.1, 0.0.0.0, ::1, std::vector<int>, a::b, ab::cd",
        "@decorator, user@localhost, x = a @ b, https://example.com/page",
        "1 2 3 4 5 6 7 8 9 10 11 12, 1-2-3-4-5-6-7-8",
        "password must be long; enter your password: then click; the secret is patience",
        'password = input("password: "); api_key=os.environ["API_KEY"]; API_KEY=your_api_key_here',
        "sk-learn-is-a-nice-library-for-all, a risk-averse-and-very-careful-person",
        "token = get_token(); key: value; secret: string",
        "postgres://user:password@host/db, s3://access_key_id:secret_access_key@bucket, mysql://u:${PASSWORD}@h",
    ],
)
def test_harmless_text_is_left_alone(text: str):
    assert mask(text) == (text, (), ())


def test_several_findings_keep_the_text_between_them_and_their_order():
    found = mask("a@example.com, ghp_" + "a1B2" * 9 + ", b@example.org")
    assert found.text == "<EMAIL_ADDRESS>, <GITHUB_TOKEN>, <EMAIL_ADDRESS>"
    assert (found.secrets, found.personal) == (("GITHUB_TOKEN",), ("EMAIL_ADDRESS", "EMAIL_ADDRESS"))


def test_a_finding_deep_in_a_long_text_is_masked():
    filler = "word " * 50_000
    assert mask(f"{filler}a@example.com {filler}").text == f"{filler}<EMAIL_ADDRESS> {filler}"


MAIL = "jane.doe@example.com"
LEAK = "AKIAIOSFODNN7EXAMPLE"


def test_the_default_policy_masks_and_keeps_the_row(prepared: Callable[..., Prepared]):
    done = prepared([dialogue(f"I am {MAIL}", f"Your key {LEAK} leaked")])
    assert published(done) == [[("user", "I am <EMAIL_ADDRESS>"), ("assistant", "Your key <AWS_ACCESS_KEY> leaked")]]
    (record,) = done.quarantine
    assert (record.action, record.kind, record.reason) == ("changed", "policy", "secret_masked+personal_data_masked")
    assert done.facts["reasons"] == {"personal_data_masked": 1, "secret_masked": 1}
    assert done.facts["masked"] == {"AWS_ACCESS_KEY": 1, "EMAIL_ADDRESS": 1}


def test_the_policy_drop_drops_the_row_without_calling_it_broken(prepared: Callable[..., Prepared]):
    done = prepared([dialogue(f"I am {MAIL}", "Hi"), dialogue("Key?", LEAK), distinct(1)], personal_data="drop")
    assert len(published(done)) == 1
    assert done.facts["reasons"] == {"personal_data": 1, "secret": 1}
    assert done.facts["kinds"]["broken"] == 0


def test_the_policy_keep_changes_nothing(prepared: Callable[..., Prepared]):
    done = prepared([dialogue(f"I am {MAIL}", LEAK)], personal_data="keep")
    assert published(done) == [[("user", f"I am {MAIL}"), ("assistant", LEAK)]]
    assert not done.quarantine


@pytest.mark.parametrize("policy", ["mask", "drop", "keep"])
def test_the_quarantine_never_shows_a_secret(prepared: Callable[..., Prepared], policy: str):
    done = prepared(
        [
            {"messages": [{"role": "user", "content": f"{MAIL} {LEAK}"}, {"role": MAIL, "content": "x"}]},
            {LEAK: [{MAIL: [LEAK]}], "blob": "x" * 1_995 + " " + LEAK},
            f'{{"messages": [{{"content": "{MAIL} {LEAK}'.encode(),
            f'{{"messages": "{MAIL} \\u00e9 {LEAK}", \xff}}'.encode("latin-1"),
            dialogue(f"<|end|> {MAIL}", LEAK),
            dialogue(f"Twice {MAIL}", LEAK),
            dialogue(f"twice {MAIL}", LEAK),
            dialogue("x" * 40_000 + MAIL, LEAK),
        ],
        personal_data=policy,
    )
    assert len(done.quarantine) >= 7
    lines = b"".join(record.to_line() for record in done.quarantine).decode()
    assert "jane" not in lines
    assert "AKIA" not in lines
    assert "<EMAIL_ADDRESS>" in lines


def test_masking_needs_no_network_and_common_text_not_even_the_recognisers():
    # The audit hook sees every connection and name look-up of the interpreter, whatever library makes it.
    code = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise SystemExit(f"network: {event} {args}")
sys.addaudithook(refuse)
from phi_assets.conversations.personal_data import mask
assert mask("In 1984 the tower, built in 1889, was 300 metres high.").personal == ()
assert "presidio_analyzer" not in sys.modules
assert mask("me@example.co.uk +44 20 7946 0958").text == "<EMAIL_ADDRESS> <PHONE_NUMBER>"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
