"""Asking: answers that grow, stop, break off, are asked for again or edited."""

import pytest

from tests.support.chat_api_fake import Script
from tests.support.chat_page import ChatPage
from tests.support.chat_texts import BASE, EXAMPLES

pytestmark = [pytest.mark.browser, pytest.mark.integration]


def test_an_answer_grows_and_is_there_after_a_reload(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.ask("count")
    page.until(lambda: page.answers() == ["one two thre"])
    page.fake.release()
    page.wait_for_answers("one two three four five six")
    assert page.questions() == ["count"]
    assert "phi-assistant 3 · since Nov 28, 2026" in page.text()

    page.reload()

    page.wait_for_answers("one two three four five six")
    assert page.questions() == ["count"]
    assert page.errors() == []


def test_an_answer_that_is_being_written_is_taken_up_after_a_reload(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.ask("count")
    page.until(page.answers)

    page.reload()
    page.until(lambda: page.answers() == ["one two thre"])
    page.fake.release()

    page.wait_for_answers("one two three four five six")
    assert len(page.fake.all_messages()) == 2


def test_another_conversation_can_be_read_while_an_answer_is_written(page: ChatPage):
    page.fake.add("Stored", [("old question", "old answer")])
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.ask("count")
    page.until(page.answers)

    page.button("Stored")
    page.wait_for_answers("old answer")
    page.fake.release()
    page.button("count")

    page.wait_for_answers("one two three four five six")


def test_stop_keeps_what_was_written_and_says_so(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.ask("count")
    page.until(page.answers)
    page.button("Stop")

    page.until(lambda: "Stopped. This is what was written until then." in page.text())
    assert page.answers() == ["one two thre"]
    page.reload()
    page.wait_for_answers("one two thre")
    assert "Stopped." in page.text()


def test_a_question_is_asked_after_the_answer_that_is_shown(page: ChatPage):
    page.open()
    page.ask("first")
    page.wait_for_answers("You asked: first")
    page.ask("second\nline")
    page.wait_for_answers("You asked: first", "You asked: second")

    first, answer, second, _ = page.fake.all_messages()
    assert (first["parent"], answer["parent"], second["parent"]) == (None, first["id"], answer["id"])
    assert second["content"] == "second\nline"


def test_an_edited_question_is_a_version_beside_the_old_one(page: ChatPage):
    page.open()
    page.ask("first")
    page.wait_for_answers("You asked: first")
    page.button("Edit")
    box = page.find(".edit-input")
    box.clear()
    box.send_keys("changed")
    page.press("ENTER")
    page.wait_for_answers("You asked: changed")
    assert page.texts(".branches > [aria-hidden]") == ["2/2"]

    page.button("Previous version")
    page.wait_for_answers("You asked: first")
    page.reload()
    page.wait_for_answers("You asked: first")
    page.button("Next version")
    page.wait_for_answers("You asked: changed")

    assert [each["parent"] for each in page.fake.all_messages() if each["role"] == "user"] == [None, None]


def test_an_edit_can_be_left_without_a_change(page: ChatPage):
    page.open()
    page.ask("first")
    page.wait_for_answers("You asked: first")
    page.button("Edit")
    page.find(".edit-input").send_keys(" and more")
    page.press("ESCAPE")
    page.until(lambda: page.questions() == ["first"])
    assert len(page.fake.all_messages()) == 2


def test_answer_again_adds_an_answer_to_the_same_question(page: ChatPage):
    page.open()
    page.fake.scripts += [Script("one answer"), Script("another answer")]
    page.ask("first")
    page.wait_for_answers("one answer")
    page.button("Answer again")
    page.wait_for_answers("another answer")
    page.button("Previous version")
    page.wait_for_answers("one answer")

    question, *answers = page.fake.all_messages()
    assert [each["parent"] for each in answers] == [question["id"]] * 2


def test_a_cut_connection_is_taken_up_where_it_broke(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six seven", pause=0.02, cut_after=2))
    page.ask("count")
    page.wait_for_answers("one two three four five six seven")

    assert [each for each in page.fake.requests if "/stream" in each and not each.endswith("after=2")] == []
    assert sum("/stream?after=2" in each for each in page.fake.requests) == 1
    assert len(page.fake.all_messages()) == 2


def test_a_browser_that_was_offline_reads_on(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True, cut_after=2))
    page.browser.set_network_conditions(offline=False, latency=0, throughput=1_000_000)
    page.ask("count")
    page.until(page.answers)
    page.browser.set_network_conditions(offline=True, latency=0, throughput=1_000_000)
    page.until(lambda: "Connecting again…" in page.text())
    page.fake.release()
    page.browser.delete_network_conditions()
    page.wait_for_answers("one two three four five six")


def test_a_question_that_failed_to_send_is_sent_again_once(page: ChatPage):
    page.open()
    page.browser.set_network_conditions(offline=True, latency=0, throughput=1_000_000)
    page.ask("important")
    page.until(lambda: "The server cannot be reached." in page.text())
    page.browser.delete_network_conditions()
    assert page.questions() == ["important"]
    assert "Not sent" in page.text()

    page.button("Send again")
    page.wait_for_answers("You asked: important")
    assert [each["content"] for each in page.fake.all_messages()] == ["important", "You asked: important"]
    assert "Not sent" not in page.text()


def test_a_question_whose_reply_was_lost_is_not_stored_twice(page: ChatPage):
    page.open()
    page.fake.lose_reply = 1
    page.ask("important")
    page.button("Send again")
    page.wait_for_answers("You asked: important")
    assert len(page.fake.all_messages()) == 2


def test_a_refusal_is_a_sentence_with_the_time_to_wait(page: ChatPage):
    page.open()
    page.fake.refuse("/messages", 429, "busy", "Another answer is being written.", 3)
    page.ask("important")
    page.until(lambda: "Another answer is being written. Try again in 3 s." in page.text())
    page.button("Send again")
    page.wait_for_answers("You asked: important")


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [(401, "signed_out", True), (503, "history_unavailable", True), (422, "refused_by_filter", False)],
)
def test_an_error_before_the_answer_keeps_the_question(page: ChatPage, status: int, code: str, again: bool):
    page.open()
    page.fake.refuse("/messages", status, code, f"Sentence of {code}.")
    page.ask("important")
    page.until(lambda: f"Sentence of {code}." in page.text())
    assert page.questions() == ["important"]
    assert bool(page._button("Send again", "")) is again
    assert bool(page._button("Sign in", "")) is (code == "signed_out")


def test_an_answer_that_the_model_broke_off_can_be_asked_for_again(page: ChatPage):
    page.open()
    page.fake.scripts += [Script("one two three", ends="cut", why="The model stopped early."), Script("whole")]
    page.ask("count")
    page.until(lambda: "The model stopped early." in page.text())
    assert page.answers() == ["one two three"]
    page.button("Answer again")
    page.wait_for_answers("whole")


def test_a_too_long_message_is_not_sent(page: ChatPage):
    page.fake.me["limits"] = {"question_bytes": 20}
    page.open()
    page.ask("more than twenty bytes of text")
    page.until(lambda: "This message is too long: 30 of 20 bytes." in page.text())
    page.press("ENTER")
    assert page.fake.all_messages() == []


def test_an_example_is_put_into_the_message_box(page: ChatPage):
    page.open()
    page.button(EXAMPLES[0])
    page.until(lambda: page.focused() == "message")
    page.press("ENTER")
    page.wait_for_answers("To reset your password:")


def test_both_models_answer_beside_each_other(page: ChatPage):
    page.open()
    page.click("label:has([value=compare])")
    page.ask(EXAMPLES[0])
    page.wait_for_answers("To reset your password:", BASE[:20])
    assert page.count(".columns > .card") == 2
    question, tuned, base = page.fake.all_messages()
    assert (tuned["parent"], base["parent"]) == (question["id"], question["id"])
    assert (tuned["model"], base["model"]) == ("tuned", "base")

    page.button("Continue with this answer")
    page.click("label:has([value=tuned])")
    page.ask("next")
    page.wait_for_answers("To reset your password:", BASE[:20], "You asked: next")
    assert page.fake.all_messages()[3]["parent"] == base["id"]

    page.button("Show one answer")
    page.wait_for_answers(BASE[:20], "You asked: next")


def test_a_stopped_comparison_does_not_ask_the_second_model(page: ChatPage):
    page.open()
    page.fake.scripts.append(Script("one two three four five six", hold=True))
    page.click("label:has([value=compare])")
    page.ask("count")
    page.until(lambda: "Waits until the first answer is finished" in page.text())
    page.button("Stop")
    page.until(lambda: "Stopped." in page.text() and page.count(".send:not(.stop)"))
    assert [each["model"] for each in page.fake.all_messages() if each["role"] == "assistant"] == ["tuned"]
    assert page.count(".columns") == 0


def test_comparing_is_not_offered_with_one_model(page: ChatPage):
    del page.fake.models[1]
    page.open()
    assert page.count(".choice") == 0
    page.ask("first")
    page.wait_for_answers("You asked: first")


def test_a_model_that_is_not_available_says_why(page: ChatPage):
    page.fake.models[0] |= {"available": False, "why_not": "The endpoint is being made."}
    page.open()
    page.until(lambda: page.count("input[value=base]:checked") == 1)
    page.fake.models[1] |= {"available": False, "why_not": "It is not deployed."}
    page.open()
    page.until(lambda: "The endpoint is being made." in page.text())
