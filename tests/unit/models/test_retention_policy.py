"""The retention policy: what is removed, and why."""

from phi_assets.models.retention_policy import DAY, Needed, Rules, Stored, decide

NOW = 1_000 * DAY
RULES = Rules(models=2, days=30, quiet_days=7)
NOTHING = Needed({}, {})


def stored(kind, digest: str, days_ago: float, *refers_to: str) -> Stored:
    return Stored(kind, digest[:12], digest, (f"/{kind}/{digest}",), 10, NOW - days_ago * DAY, refers_to)


def removed(found: list[Stored], needed: Needed = NOTHING) -> set[tuple[str, str]]:
    return {(v.stored.kind, v.stored.digest) for v in decide(found, needed, RULES, NOW) if v.remove}


def reason(found: list[Stored], digest: str, needed: Needed = NOTHING) -> str:
    (verdict,) = [v for v in decide(found, needed, RULES, NOW) if v.stored.digest == digest]
    return verdict.reason


def test_of_weights_the_newest_stay_however_old_and_the_others_go_however_new():
    found = [stored("weights", name, age) for name, age in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 400))]

    assert removed(found) == {("weights", "c"), ("weights", "d")}
    assert removed([stored("weights", "only", 400)]) == set()


def test_what_serves_stays_beside_the_newest():
    found = [stored("weights", name, age) for name, age in (("a", 1), ("b", 2), ("c", 3), ("champion" * 8, 400))]

    assert removed(found, Needed({"champion" * 8: "the champion"}, {})) == {("weights", "c")}
    assert reason(found, "champion" * 8, Needed({"champion" * 8: "the champion"}, {})) == "the champion"


def test_an_answer_keeps_a_model_s_record_and_its_dataset_but_not_its_weights():
    found = [
        *(stored("weights", name, age, f"data-{name}") for name, age in (("new", 1), ("newer", 0.5), ("old", 90))),
        *(
            stored("model", name, age, f"data-{name}")
            for name, age in (("new", 1), ("newer", 0.5), ("old", 90), ("x", 91))
        ),
        *(stored("dataset", f"data-{name}", age) for name, age in (("new", 1), ("newer", 0.5), ("old", 90), ("x", 91))),
    ]

    asked = Needed({}, {"old": "a stored answer is from it"})

    assert removed(found, asked) == {("weights", "old"), ("model", "x"), ("dataset", "data-x")}
    assert reason(found, "data-old", asked) == "model old was made from it"


def test_everything_else_goes_by_age_but_for_the_newest_of_its_kind():
    kinds = ("dataset", "replay set", "evaluation", "flow", "flow evaluation", "agent evaluation", "deployment")
    found = [stored(kind, f"{kind} {age}", age) for kind in kinds for age in (31, 40)]

    assert removed(found) == {(kind, f"{kind} 40") for kind in kinds}


def test_the_evaluation_and_the_tracked_training_of_a_kept_model_stay():
    found = [
        stored("model", "m", 1),
        *(
            stored("evaluation", name, age, of)
            for name, age, of in (("new", 1, "m"), ("of m", 90, "m"), ("y", 91, "z"))
        ),
        *(stored("tracked training", name, age, of) for name, age, of in (("r1", 90, "m"), ("r2", 91, "z"))),
    ]

    assert removed(found) == {("evaluation", "y"), ("tracked training", "r2")}


def test_a_job_s_folder_goes_by_age_even_if_it_is_the_newest():
    assert removed([stored("job folder", "j", 31)]) == {("job folder", "j")}


def test_the_folder_of_a_job_that_may_still_run_stays_whatever_the_settings_say():
    at_once = Rules(models=1, days=0, quiet_days=0)
    found = [stored("job folder", "running", 0.5), stored("job folder", "ended", 1.5)]

    assert [v.stored.digest for v in decide(found, NOTHING, at_once, NOW) if v.remove] == ["ended"]


def test_only_the_last_interrupted_training_keeps_its_checkpoints():
    found = [stored("checkpoints", "last", 1), stored("checkpoints", "before", 2)]

    assert removed(found) == {("checkpoints", "before")}
    assert removed([stored("checkpoints", "last", 31)]) == {("checkpoints", "last")}


def test_what_may_still_be_written_is_no_leftover():
    found = [stored("leftover", "now", 1 / 1000), stored("leftover", "once", 1)]

    assert removed(found) == {("leftover", "once")}
